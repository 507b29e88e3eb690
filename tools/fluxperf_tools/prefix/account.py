"""What was made and what to expect of it: for people, in 80 columns, and as the document beside the dataset. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from fluxperf_tools.prefix.blocks import BlockCache
from fluxperf_tools.prefix.design import Distances, Prompt
from fluxperf_tools.prefix.options import Options
from fluxperf_tools.prefix.scales import MOCK, Template
from fluxperf_tools.prefix.slots import SlotCache
from fluxperf_tools.prefix.theory import Cache, Forecast, Round, Sharing, Spread, describe
from fluxperf_tools.prefix.tree import Chain

FORMAT = 1
MOST_LISTED_PROMPTS = 20_000
_LABEL = 29


@dataclass(frozen=True, slots=True)
class Outcome:
    """All that was made and found. `scale` is the tokenizer's name, or "estimate"; `exact`: it is none."""

    options: Options
    prompts: Sequence[Prompt]
    chains: Sequence[Chain]
    sharing: Sharing
    distances: Distances
    forecasts: Sequence[Forecast]
    scale: str
    exact: bool

    @property
    def counted(self) -> str:
        """How the tokens were counted, to stand behind a number of them."""
        return f"by {self.scale}" if self.exact else "estimated"


def tell(outcome: Outcome, size: str, replaced: bool) -> list[str]:
    """The summary; `size` is that of the file, in words."""
    return [
        *_tell_prompts(outcome, size, replaced),
        "",
        *_tell_forecasts(outcome),
        "",
        "To hold a run against it, in the order of the file in both rounds:",
        f"  {command(outcome.options)}",
    ]


def command(options: Options) -> str:
    """The run that the theory in the file's order is for."""
    words = ["fluxperf", "--dataset", str(options.output), "--endpoint", "http://localhost:8000/v1/chat/completions"]
    words += ["--concurrency", "1", "--round1-order", "file", "--no-shuffle-round2"]
    return shlex.join([*words, "--max-output-tokens", str(options.answer_tokens)])


def _tell_prompts(outcome: Outcome, size: str, replaced: bool) -> list[str]:
    options, design, distances = outcome.options, outcome.options.design, outcome.distances
    tokens = [chain.tokens for chain in outcome.chains]
    lengths = f"{min(tokens):,}" if min(tokens) == max(tokens) else f"{min(tokens):,} to {max(tokens):,}"
    turns = f", {design.turns} turns, {design.branching} ways on from each" if design.turns > 1 else ""
    lines = [
        f"{options.output}: {_count(len(tokens), 'prompt')} in {_count(design.groups, 'group')}, {size}"
        + (" (replaced)" if replaced else ""),
        f"  tokens    {lengths} a prompt, {sum(tokens):,} in all ({outcome.counted})",
        *_tell_template(options),
        f"  design    {design.shared_tokens:,} shared in a group + {design.unique_tokens:,} of its own{turns}",
        *_tell_target(outcome),
        f"  measured  {_tell_sharing(outcome.sharing)}",
    ]
    if distances.repeats:
        middle = f"{distances.middle:g}"
        lines.append(
            f"  distance  of a group's uses: {distances.least:,} to {distances.most:,} other prompts, median {middle} "
            f"({distances.middle_tokens:,.0f} tokens)"
        )
    return [*lines, f"  theory    {options.theory}"]


def _tell_template(options: Options) -> list[str]:
    """That a server will count more."""
    is_known = options.tokenizer == MOCK or options.template != Template()
    return [] if is_known else ["  template  a chat template's tokens are left out: see --template-tokens"]


def _tell_target(outcome: Outcome) -> list[str]:
    """What came of the hit rate that was wanted; the first of the caches is the one that it is for."""
    if outcome.options.target is None:
        return []
    reached = outcome.forecasts[0].file_order[0].rate
    return [f"  hit rate  {100 * reached:.1f}% of round 1, wanted {100 * outcome.options.target.hit_rate:.1f}%"]


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _tell_sharing(sharing: Sharing) -> str:
    across = "none" if not sharing.across else f"{sharing.across:,}"
    if sharing.in_group is None:
        return f"alike at the beginning: {across} across groups"
    least, most = sharing.in_group
    inside = f"{least:,}" if least == most else f"{least:,} to {most:,}"
    return f"alike at the beginning: {inside} in a group, {across} across groups"


def _tell_forecasts(outcome: Outcome) -> list[str]:
    seed = outcome.options.design.seed
    lines = [
        f"Hit rates in theory, % of prompt tokens ({outcome.counted}), one request at a time:",
        f"{'':<{_LABEL}}{'file order':>12}{f'--seed {seed}'[:14]:>15}{'random orders':>23}",
        f"{'cache':<{_LABEL}}{'round 1':>7}{'2':>5}{'round 1':>9}{'2':>6}{'round 1':>12}{'2':>11}",
    ]
    for found in outcome.forecasts:
        label = describe_cache(found.cache)
        if not found.fits:
            lines.append(f"{label:<{_LABEL}} smaller than a prompt with its answer")
            continue
        cells = [_percent(one) for one in (*found.file_order, *found.shuffled_order)]
        rates = f"{cells[0]:>6}{cells[1]:>6}{cells[2]:>9}{cells[3]:>6}"
        lines.append(f"{label:<{_LABEL}}{rates}{''.join(f'{_spread(one):>12}' for one in found.random_order)}")
    if not any(isinstance(found.cache, SlotCache) for found in outcome.forecasts):
        lines.append("llama.cpp is not simulated for so many prompts")
    return [
        *lines,
        f"--seed {seed}: shuffled as fluxperf does, without --round1-order; +-: the farthest",
    ]


def describe_cache(cache: Cache) -> str:
    """Such as "16 a block, 4,096 tokens"."""
    if isinstance(cache, BlockCache):
        room = "endless" if cache.cache_tokens is None else f"{cache.cache_tokens:,} tokens"
        return f"{cache.block_tokens:,} a block, {room}"
    if cache.unified:
        return "llama.cpp as it comes"
    return f"llama.cpp -np {cache.slots}{'' if cache.host_memory else ' --cache-ram 0'}"


def _percent(one: Round) -> str:
    return f"{100 * one.rate:.1f}"


def _spread(spread: Spread) -> str:
    """The mean, and by how much the farthest of the orders lies beside it."""
    beside = max(spread.most - spread.mean, spread.mean - spread.least)
    return f"{100 * spread.mean:.1f}" + (f" +-{100 * beside:.1f}" if beside >= 0.0005 else "")


def document(outcome: Outcome, sha256: str) -> dict[str, Any]:
    """The theory as JSON. Lists of prompts are in the order of the file: a result's `index` is a place in them."""
    options, design = outcome.options, outcome.options.design
    is_listed = len(outcome.prompts) <= MOST_LISTED_PROMPTS
    listed = [
        {"id": one.name, "tokens": chain.tokens} for one, chain in zip(outcome.prompts, outcome.chains, strict=True)
    ]
    forecasts = [describe(found, is_listed) for found in outcome.forecasts]
    return {
        "format": FORMAT,
        "dataset": options.output.name,
        "dataset_sha256": sha256,
        "command": command(options),
        "tokens_counted_by": outcome.scale,
        "tokens_are_exact": outcome.exact,
        "parameters": {
            **asdict(design),
            "corpus": None if options.corpus is None else str(options.corpus),
            "template_tokens": asdict(options.template),
            "answer_tokens": options.answer_tokens,
            "permutations": options.permutations,
            "hit_rate_wanted": options.target and options.target.hit_rate,
        },
        "concurrency": 1,
        "measured": {
            "prompt_tokens": sum(chain.tokens for chain in outcome.chains),
            "shared_in_group": outcome.sharing.in_group,
            "shared_across_groups": outcome.sharing.across,
            "repeat_distance": asdict(outcome.distances),
        },
        "block_caches": [one for one, found in zip(forecasts, outcome.forecasts, strict=True) if _is_blocks(found)],
        "llama_cpp": [one for one, found in zip(forecasts, outcome.forecasts, strict=True) if not _is_blocks(found)],
        "prompts": listed if is_listed else None,
    }


def _is_blocks(found: Forecast) -> bool:
    return isinstance(found.cache, BlockCache)
