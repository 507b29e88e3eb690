"""What caches should make of a dataset: hit rates of two rounds, in several orders. Pure; knows no texts and no files.

All of it holds for one request at a time (concurrency 1).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from itertools import pairwise
from random import Random
from statistics import fmean
from typing import Any, TypeAlias

from fluxperf.plan.planner import PlanRequest, plan_levels
from fluxperf_tools.prefix import blocks, slots
from fluxperf_tools.prefix.blocks import BlockCache
from fluxperf_tools.prefix.slots import SlotCache
from fluxperf_tools.prefix.tree import Chain, shared_tokens

Cache: TypeAlias = BlockCache | SlotCache
Hits: TypeAlias = Callable[[Sequence[int]], Iterable[int]]
"""The cached tokens of each request, for the indices of the prompts in the order in which they are sent."""


@dataclass(frozen=True, slots=True)
class Orders:
    """In which orders the prompts are sent; round 2 sends them as round 1 did.

    The file's, the one that `fluxperf --seed` makes of it (all samples, one level), and so many that are drawn.
    """

    seed: int
    permutations: int


@dataclass(frozen=True, slots=True)
class Round:
    """One round in one order: the cached tokens of each prompt, by its place in the file."""

    cached_tokens: tuple[int, ...]
    prompt_tokens: int

    @property
    def rate(self) -> float:
        """Of all prompt tokens those that were cached, 0 to 1."""
        return sum(self.cached_tokens) / self.prompt_tokens if self.prompt_tokens else 0.0


@dataclass(frozen=True, slots=True)
class Spread:
    """Hit rates over random orders."""

    mean: float
    least: float
    most: float


@dataclass(frozen=True, slots=True)
class Forecast:
    """What one cache makes of the dataset: rounds 1 and 2. `fits` is False if a prompt is larger than the cache."""

    cache: Cache
    fits: bool
    file_order: tuple[Round, ...] = ()
    shuffled_order: tuple[Round, ...] = ()
    random_order: tuple[Spread, ...] = ()


def forecast(cache: Cache, chains: Sequence[Chain], orders: Orders) -> Forecast:
    """The hit rates of the cache, empty before round 1."""
    if not fits(cache, chains):
        return Forecast(cache, False)
    module_hits = blocks.hit_tokens if isinstance(cache, BlockCache) else slots.hit_tokens
    hits: Hits = partial(module_hits, cache, chains)  # type: ignore[arg-type]
    prompt_tokens = sum(chain.tokens for chain in chains)

    def rounds(order: Sequence[int]) -> tuple[Round, ...]:
        found = list(hits([*order, *order]))
        halves = (found[: len(order)], found[len(order) :])
        return tuple(Round(_by_index(order, half), prompt_tokens) for half in halves)

    drawn = [tuple(one.rate for one in rounds(order)) for order in _draw_orders(len(chains), orders)]
    spreads = tuple(Spread(fmean(rates), min(rates), max(rates)) for rates in zip(*drawn, strict=True))
    return Forecast(cache, True, rounds(range(len(chains))), rounds(shuffle(len(chains), orders.seed)), spreads)


def fits(cache: Cache, chains: Sequence[Chain]) -> bool:
    """Whether the cache holds every single prompt with its answer; no engine serves one that it cannot hold."""
    if isinstance(cache, SlotCache) or cache.cache_tokens is None:
        return True
    room = cache.cache_tokens // cache.block_tokens * cache.block_tokens
    return all(chain.tokens + cache.answer_tokens <= room for chain in chains)


def shuffle(prompts: int, seed: int) -> list[int]:
    """The order in which `fluxperf --seed` sends all of a dataset, at one level, in round 1."""
    (level,) = plan_levels(PlanRequest(dataset_size=prompts, concurrency=(1,), seed=seed))
    return list(level.sample)


def _draw_orders(prompts: int, orders: Orders) -> Iterator[list[int]]:
    for number in range(orders.permutations):
        order = list(range(prompts))
        Random(f"{orders.seed}/{number}").shuffle(order)  # noqa: S311 (a draw, not a secret)
        yield order


def _by_index(order: Sequence[int], values: Sequence[int]) -> tuple[int, ...]:
    placed = dict(zip(order, values, strict=True))
    return tuple(placed[index] for index in range(len(order)))


@dataclass(frozen=True, slots=True)
class Sharing:
    """What prompts really begin with alike, in tokens with the template's; None: there are no two such prompts.

    `in_group`: the least and the most of two first turns of a group; `across`: the most of two of different groups.
    """

    in_group: tuple[int, int] | None
    across: int | None

    @classmethod
    def of(cls, chains: Sequence[Chain], groups: Sequence[int]) -> Sharing:
        """From each prompt's chain and group. Neighbours in the tree's order tell it: nothing else shares more."""
        order = sorted(range(len(chains)), key=lambda index: (groups[index], chains[index].steps))
        inside = [shared_tokens(chains[one], chains[two]) for one, two in pairwise(order) if groups[one] == groups[two]]
        by_way = sorted(range(len(chains)), key=lambda index: chains[index].steps)
        # Between two neighbours of different groups; a group that lies apart in two pieces shows at their edges.
        outside = [
            shared_tokens(chains[one], chains[two]) for one, two in pairwise(by_way) if groups[one] != groups[two]
        ]
        return cls((min(inside), max(inside)) if inside else None, max(outside) if outside else None)


def describe(found: Forecast, with_prompts: bool) -> dict[str, Any]:
    """A forecast as JSON; `with_prompts`: with the cached tokens of every prompt, in the order of the file."""
    values: dict[str, Any] = asdict(found.cache)
    if not found.fits:
        return {**values, "fits": False}

    def listed(rounds: Sequence[Round]) -> dict[str, Any]:
        return {
            f"round_{number}": {
                "hit_rate": round(one.rate, 6),
                "cached_tokens": sum(one.cached_tokens),
                "prompt_tokens": one.prompt_tokens,
                **({"cached_tokens_of_prompts": list(one.cached_tokens)} if with_prompts else {}),
            }
            for number, one in enumerate(rounds, 1)
        }

    spreads = {
        f"round_{number}": {name: round(value, 6) for name, value in asdict(spread).items()}
        for number, spread in enumerate(found.random_order, 1)
    }
    return {
        **values,
        "fits": True,
        "file_order": listed(found.file_order),
        "shuffled_order": listed(found.shuffled_order),
        "random_order": spreads,
    }
