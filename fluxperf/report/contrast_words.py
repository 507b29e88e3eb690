"""Comparisons of runs in words: names of figures, values, changes, and the sentences that say what came of all of them.

Reads contrasts, and makes none.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from fluxperf.metrics import BY_NAME
from fluxperf.model.contrast import Call, Contrast, Figure, Way
from fluxperf.report.text import count, number, printable, round_name

CHANGE = 0.05
"""What a reader most likely wants to know whether it would have been seen, if nothing says otherwise."""

# Figures that are called otherwise than in the table of metrics: name, unit if the name does not tell it, and what a
# value is multiplied by to have it.
_OTHERS = {
    "tokens_per_s": ("Tokens/s", "", 1),
    "requests_per_s": ("Requests/s", "", 1),
    "output_token_throughput": ("Tokens/s each", "", 1),
    "duration_s": ("Duration", "s", 1),
    "goodput": ("Goodput", "%", 100),
    "errors": ("Failures", "%", 100),
    "cached_tokens": ("Cached tokens", "%", 100),
}
_MANY = 10.0  # from this ratio on a change is a factor, not a percentage
_NOUNS = {Way.PAIRED: "pair", Way.TWO_SAMPLES: "prompt", Way.REPEATS: "run"}
_MOST_NAMES = 4
NO_INTERVAL = "-"
"""Where nothing is known of the bounds."""


def figure_name(figure: Figure, *, unit: bool = False) -> str:
    """`TTFT p50`, or `TTFT p50 (ms)` with its unit."""
    name, its_unit, _ = _describe(figure)
    parts = [name] if figure.statistic in (None, "ratio") else [name, figure.statistic]
    return " ".join([*parts, f"({its_unit})"] if unit and its_unit else parts)


def _describe(figure: Figure) -> tuple[str, str, float]:
    if figure.metric in _OTHERS:
        return _OTHERS[figure.metric]
    metric = BY_NAME[figure.metric]
    return metric.label.partition(" (")[0], metric.unit, 1


def values_text(contrast: Contrast) -> tuple[str, str]:
    """Base and new in the unit of `figure_name`, with as many digits in both as make sense of the larger one."""
    factor = _describe(contrast.figure)[2]
    values = [None if value is None else value * factor for value in (contrast.base, contrast.new)]
    largest = max((abs(value) for value in values if value is not None), default=0.0)
    decimals = 3 if largest < 0.1 else 2 if largest < 100 else 1 if largest < 1000 else 0
    base, new = (number(value, f".{decimals}f") for value in values)
    return base, new


def contrast_change(contrast: Contrast, *, unit: bool = True) -> str:
    """What `change_text` says of it; `from 0` where a ratio does not exist because there was nothing before."""
    if contrast.ratio is None and contrast.base == 0 and contrast.new:
        return "from 0"
    return change_text(contrast.ratio, unit=unit)


def change_text(ratio: float | None, *, unit: bool = True) -> str:
    """`+8.2%`; `x12` where it is ten times as much; `-` where that is not known."""
    if ratio is None or math.isnan(ratio):
        return "-"
    if ratio >= _MANY:
        return "-" if math.isinf(ratio) else f"x{ratio:.0f}" if ratio < 1e5 else f"x{ratio:.0e}"
    percent = (ratio - 1) * 100
    text = f"{percent:+.{1 if abs(percent) < 99.95 else 0}f}"
    text = "0.0" if float(text) == 0 else text
    return f"{text}%" if unit else text


def interval_text(interval: tuple[float, float] | None, *, unit: bool = True) -> str:
    """`+5.1 to +11.4%`; `above +5.1%` where it has no other bound; `-` where it has none."""
    if interval is None:
        return NO_INTERVAL
    low, high = interval
    end = "%" if unit else ""
    if not low > 0:
        return NO_INTERVAL if math.isinf(high) else f"below {_bound(high, end)}"
    if math.isinf(high):
        return f"above {_bound(low, end)}"
    if high >= _MANY:
        return f"{_bound(low, end)} to {change_text(high)}"
    return f"{change_text(low, unit=False)} to {change_text(high, unit=False)}{end}"


def _bound(ratio: float, end: str) -> str:
    return change_text(ratio) if ratio >= _MANY else f"{change_text(ratio, unit=False)}{end}"


def counts_text(contrast: Contrast) -> str:
    """What an interval stands on: `48 pairs`, `48 and 50 prompts`, `3 and 5 runs`."""
    ours, theirs = contrast.counts
    noun = _NOUNS[contrast.way] + ("" if theirs == 1 else "s")
    return f"{ours:,} {noun}" if ours == theirs else f"{ours:,} and {theirs:,} {noun}"


def place_text(contrast: Contrast) -> str:
    """`concurrency 8, round 2`, after its stage if it has a name."""
    stage = "" if contrast.stage is None else f"stage {printable(contrast.stage)}, "
    return f"{stage}concurrency {contrast.concurrency}, {round_name(contrast.round)}"


def summarize(contrasts: Sequence[Contrast], margin: float) -> str:
    """What all of it comes to, in a sentence or two. `margin`: a change below it (0.02: 2 %) is called same."""
    of = {call: [one for one in contrasts if one.call is call] for call in Call}
    worse, better, unknown = of[Call.WORSE], of[Call.BETTER], of[Call.CANNOT_TELL]
    every = count(len(contrasts), "figure")
    open_end = f", {len(unknown)} cannot be told" if unknown else ""
    if not contrasts:
        return "Nothing could be compared."
    if worse and better:
        text = f"NEW is worse in some and better in others: {len(worse)} of {every} worse, {len(better)} better"
        return f"{text}{open_end}. Worst: {_biggest(worse)}. Best: {_biggest(better)}."
    if worse or better:
        found, word = (worse, "worse") if worse else (better, "better")
        return f"NEW is {word}: {len(found)} of {every} {word}{open_end}. Biggest: {_biggest(found)}."
    if not unknown:
        return f"NEW is the same: of {every} none differs by {margin * 100:.3g}% or more."
    same = len(of[Call.SAME])
    if not same:
        return f"No difference shown: of none of {every} it can be told whether it differs. {sensitivity(contrasts)}"
    text = f"No difference shown: {same} of {every} are the same within {margin * 100:.3g}%, of {len(unknown)} it"
    return f"{text} cannot be told. {sensitivity(contrasts)}"


def _biggest(contrasts: Iterable[Contrast]) -> str:
    """The one that changed most."""
    top = max(contrasts, key=lambda one: abs(math.log(one.ratio)) if one.ratio else math.inf)
    bounds = interval_text(top.interval)
    interval = "" if bounds == NO_INTERVAL else f" ({bounds})"
    return f"{figure_name(top.figure)} at {place_text(top)}: {contrast_change(top)}{interval}"


def sensitivity(contrasts: Sequence[Contrast]) -> str:
    """In which figures a change would have been seen, wherever they were compared, and in which not."""
    change = next((one.need.change for one in contrasts if one.need is not None), CHANGE)
    seen: dict[Figure, bool] = {}
    for one in contrasts:
        seen[one.figure] = seen.get(one.figure, True) and _would_show(one, change)
    yes, no = ([figure_name(figure) for figure, shows in seen.items() if shows is wanted] for wanted in (True, False))
    start = f"A change of {change * 100:.3g}% would"
    if not yes:
        return f"{start} not have been seen in any of them."
    return f"{start} have been seen in {_listed(yes)}{f', not in {_listed(no)}' if no else ''}."


def _listed(names: Sequence[str]) -> str:
    if len(names) > _MOST_NAMES:
        return f"{', '.join(names[: _MOST_NAMES - 1])} and {len(names) - _MOST_NAMES + 1} others"
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def _would_show(contrast: Contrast, change: float) -> bool:
    """Whether there was enough of it, by what is known to be needed, or by how wide the interval is."""
    need = contrast.need
    wanted = None if need is None else need.repeats if contrast.way is Way.REPEATS else need.prompts
    if wanted is not None:
        return wanted <= min(contrast.counts)
    if contrast.interval is None or not contrast.interval[0] > 0:
        return False
    return math.log(contrast.interval[1] / contrast.interval[0]) / 2 <= math.log1p(change)


def confidence_text(contrasts: Sequence[Contrast]) -> str:
    """`Intervals at 98.3%: 95% corrected for 24 comparisons.`; empty if there is no interval."""
    found = sorted({one.confidence for one in contrasts if one.interval is not None})
    if not found:
        return ""
    shown = _percent(found[0]) if len(found) == 1 else f"{_percent(found[0])} to {_percent(found[-1])}"
    if found == [0.95]:
        return f"Intervals at {shown}%."
    return f"Intervals at {shown}%: 95% corrected for {count(len(contrasts), 'comparison')}."


def _percent(share: float) -> str:
    """With two digits after the nines."""
    decimals = 1 if share >= 1 else max(1, math.ceil(round(-math.log10(1 - share), 6)) - 1)
    return f"{share * 100:.{decimals}f}".rstrip("0").removesuffix(".")


def needs_text(contrasts: Sequence[Contrast]) -> list[str]:
    """What could not be told, why, and what would tell: a line for each reason."""
    groups: dict[str, list[Contrast]] = {}
    for one in contrasts:
        if one.call is Call.CANNOT_TELL:
            groups.setdefault(one.why or "the interval is wider than what matters", []).append(one)
    return [f"{_places(found)}: {printable(why)}{_would_tell(found)}" for why, found in groups.items()]


def _places(contrasts: Sequence[Contrast]) -> str:
    """The figures, and where: by figure where they are few, by number where they are many."""
    names = list(dict.fromkeys(figure_name(one.figure) for one in contrasts))
    places = list(dict.fromkeys(place_text(one) for one in contrasts))
    where = f" at {places[0]}" if len(places) == 1 else f" in {count(len(places), 'round')}"
    return f"{_listed(names)}{where}"


def _would_tell(contrasts: Sequence[Contrast]) -> str:
    """How much more of what there was would be enough for all of them, or that there was enough for a larger change."""
    needs = [(one.need, min(one.counts)) for one in contrasts if one.need is not None]
    prompts = [(need.prompts, had) for need, had in needs if need.prompts is not None]
    repeats = [(need.repeats, had) for need, had in needs if need.repeats is not None]
    if not prompts and not repeats:
        return ""
    change = f". A change of {needs[0][0].change * 100:.3g}% would"
    ways = []
    if any(wanted > had for wanted, had in prompts):
        ways.append(f"{_round_up(max(wanted for wanted, _ in prompts)):,} prompts a round")
    if any(wanted > had for wanted, had in repeats):
        ways.append(f"{max(wanted for wanted, _ in repeats):,} runs a side (--repeat)")
    return f"{change} be seen with about {' or '.join(ways)}" if ways else f"{change} have been seen"


def _round_up(amount: int) -> int:
    """To two digits that count: it is an estimate."""
    unit: int = 10 ** max(len(str(amount)) - 2, 0)
    return -(-amount // unit) * unit
