"""Who sends what when: the dataset, as it is or in a seeded order, dealt out to the levels, and lanes to the workers.

Knows how many entries there are, not what is in them. Orders are mapped dataset indices, so that a plan
over millions of entries takes no memory of this process or of those that it forks.
"""

from __future__ import annotations

from collections.abc import Iterator, MutableSequence, Sequence
from dataclasses import dataclass
from itertools import chain, compress, repeat
from random import Random
from typing import Literal, TypeAlias, cast

from fluxperf.errors import UsageError
from fluxperf.mapped import mapped
from fluxperf.model import CONTROL, RoundName

FirstOrder: TypeAlias = Literal["shuffled", "file"]
Order: TypeAlias = Literal["shuffled", "same", "reversed"]

PLAIN = "plain"


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanRequest:
    """What was asked for. `num_samples` has a value for each level, one for all, or none; None: every entry."""

    dataset_size: int
    concurrency: tuple[int, ...]
    num_samples: tuple[int | None, ...] = ()
    same_samples: bool = False
    rounds: int = 2
    first_order: FirstOrder = "shuffled"
    later_order: Order = "shuffled"
    control_round: bool = False
    salted: bool = False
    seed: int = 42


@dataclass(frozen=True, slots=True)
class RoundPlan:
    """One round: the dataset indices in the order they are sent. `round` counts from 1, or is "control".

    `edition` names the form in which the prompts are sent: as they stand (`PLAIN`), or rewritten.
    """

    concurrency: int
    round: RoundName
    order: Sequence[int]
    edition: str = PLAIN


@dataclass(frozen=True, slots=True)
class LevelPlan:
    """One level: its sample (dataset indices, in the order of round 1) and its rounds, which all send that sample.

    `asked` is how many were asked for (None: all); the sample is smaller where the dataset is.
    Rounds may share an order: change none.
    """

    concurrency: int
    asked: int | None
    sample: Sequence[int]
    rounds: tuple[RoundPlan, ...]


@dataclass(frozen=True, slots=True)
class WorkerPlan:
    """One worker of `workers`, counted from 0, and how many requests it keeps in flight."""

    worker: int
    workers: int
    lanes: int


def plan_levels(request: PlanRequest) -> tuple[LevelPlan, ...]:
    """The levels in the order asked for; the same request always gives the same plan.

    The dataset, shuffled or not, is dealt out like a deck: each level takes the next of it, beginning again at
    its end, so no prompt is sent at two levels before all have been sent, and none twice in one
    level. With `same_samples` each level takes from the beginning. Raises UsageError for what
    cannot be planned: no level, a level given twice, counts that do not pair up or are below 1.
    """
    levels = pair_levels(request.concurrency, request.num_samples)
    if request.rounds < 1:
        raise UsageError(f"the rounds must be at least 1, but are {request.rounds}")
    if request.dataset_size < 1:
        raise UsageError("the dataset has no entries, so there is nothing to send")
    plans = []
    for (concurrency, asked), sample in zip(levels, _deal(request, levels), strict=True):
        rounds = tuple(_plan_rounds(sample, concurrency, request))
        plans.append(LevelPlan(concurrency, asked, sample, rounds))
    return tuple(plans)


def find_drawn(levels: Sequence[LevelPlan], dataset_size: int) -> Sequence[int]:
    """The dataset indices that any level sends, each once, ascending."""
    drawn = mapped(repeat(0, dataset_size))
    for level in levels:
        for index in level.sample:
            drawn[index] = 1
    return mapped(compress(range(dataset_size), drawn))


def deal_lanes(concurrency: int, workers: int) -> tuple[WorkerPlan, ...]:
    """The `concurrency` requests in flight, spread over at most `workers` workers that differ by one at most."""
    workers = min(workers, concurrency)
    share, rest = divmod(concurrency, workers)
    return tuple(WorkerPlan(worker, workers, share + (worker < rest)) for worker in range(workers))


def pair_levels(levels: Sequence[int], counts: Sequence[int | None]) -> list[tuple[int, int | None]]:
    """Each level's concurrency with its number of samples, None for all. Raises UsageError if they do not pair up."""
    counts = tuple(counts) or (None,)
    if not levels:
        raise UsageError("no concurrency given; give at least one level, such as --concurrency 10")
    for level in levels:
        if level < 1:
            raise UsageError(f"a concurrency must be at least 1, but is {level}")
        if levels.count(level) > 1:
            raise UsageError(f"the concurrency {level} is given more than once; its result files would be the same")
    for count in counts:
        if count is not None and count < 1:
            raise UsageError(f"a number of samples must be at least 1, but is {count}")
    if len(counts) == 1:
        counts *= len(levels)
    if len(counts) != len(levels):
        raise UsageError(
            f"{len(counts)} numbers of samples ({_listed(counts)}) for {len(levels)} levels of concurrency "
            f"({_listed(levels)}); give one for all, or one for each"
        )
    return list(zip(levels, counts, strict=True))


def _deal(request: PlanRequest, levels: Sequence[tuple[int, int | None]]) -> Iterator[memoryview[int]]:
    """Each level's sample: the next of the deck, or all of it, if more are asked for than it has."""
    size = request.dataset_size
    decks = mapped(chain(range(size), repeat(0, size)))  # twice the same, so that each sample is a slice
    if request.first_order == "shuffled":
        _shuffle(decks[:size], request.seed)
    decks[size:] = decks[:size]
    start = 0
    for _, asked in levels:
        end = start + (size if asked is None else min(asked, size))
        yield decks[start:end]
        if not request.same_samples:
            start = end % size


def _listed(values: Sequence[int | None]) -> str:
    return " ".join("all" if value is None else str(value) for value in values)


def _plan_rounds(sample: memoryview[int], concurrency: int, request: PlanRequest) -> Iterator[RoundPlan]:
    """The sample as it was drawn in round 1, then in the order asked for; once more for the control round."""
    edition = f"salted/{concurrency}" if request.salted else PLAIN
    for number in range(1, request.rounds + 1):
        order = sample if number == 1 else _later_order(sample, request, f"{concurrency}/{number}")
        yield RoundPlan(concurrency, number, order, edition)
    if request.control_round:
        order = _later_order(sample, request, f"{concurrency}/{CONTROL}")
        yield RoundPlan(concurrency, CONTROL, order, f"{CONTROL}/{concurrency}")


def _later_order(sample: memoryview[int], request: PlanRequest, place: str) -> memoryview[int]:
    if request.later_order == "same":
        return sample
    order = mapped(reversed(sample))
    if request.later_order == "shuffled":
        order[:] = sample
        _shuffle(order, f"{request.seed}/{place}")
    return order


def _shuffle(order: memoryview[int], seed: int | str) -> None:
    # A shuffle asks for a length and items that can be set, which a memoryview has.
    Random(seed).shuffle(cast(MutableSequence[int], order))  # noqa: S311 (a draw, not a secret)
