"""Plots of single prompts in two rounds: TTFT against TTFT, and what was saved against what was cached."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fluxperf.model import RoundResult
from fluxperf.model.dose import DoseResponse
from fluxperf.report.html.chart import Chart, Floats, Mark, Missing, Rule, Scale
from fluxperf.report.html.columns import Columns, Pairs, choose, pair
from fluxperf.report.html.palette import round_colour
from fluxperf.report.html.scales import log_scale
from fluxperf.report.html.terms import round_title
from fluxperf.report.text import count, number

_HOVER_PROMPT = ("Prompt", "@index")
_HOVER_TOKENS = ("Tokens in, out", "@input{0,0}, @output{0,0}")
_HOVER_CACHED = ("Cached tokens", "@cached_before{0,0} -> @cached_after{0,0}")


@dataclass(frozen=True, slots=True)
class Paired:
    """A later round's prompts beside the first round's; `most` of them are drawn."""

    first: RoundResult
    later: RoundResult
    pairs: Pairs
    most: int

    @property
    def name(self) -> str:
        """The later round's."""
        return round_title(self.later.round)

    def shown_of(self, shown: int) -> str | None:
        """A sentence, where not all are drawn."""
        if shown >= len(self.pairs):
            return None
        return f"{shown:,} of {len(self.pairs):,} prompts shown, the extremes among them."


def pair_rounds(first: tuple[RoundResult, Columns], later: tuple[RoundResult, Columns], most: int) -> Paired:
    """The prompts that succeeded in both rounds."""
    return Paired(first[0], later[0], pair(first[1], later[1]), most)


def ttft_chart(paired: Sequence[Paired]) -> Chart | Missing:
    """Each prompt as a point: below the diagonal it was faster in the later round."""
    title = "TTFT prompt by prompt, round 1 against later rounds"
    if not any(len(one.pairs) for one in paired):
        return Missing(title, "no prompt succeeded in two rounds")
    marks, said, notes = [], [], []
    ends: list[float] = []
    for one in paired:
        before, after = one.pairs.both("ttft_ms")
        positive = np.flatnonzero((before > 0) & (after > 0))
        if not len(positive):
            continue
        before, after = before[positive], after[positive]
        places = choose([before, after, np.log(after / before)], one.most)
        shown = one.pairs.only(positive[places])
        marks.append(_points(one, shown, before[places], after[places]))
        ends += [float(before.min()), float(after.min()), float(before.max()), float(after.max())]
        faster = float(np.mean(after < before))
        ratio = number(float(np.median(after / before)), ".3g")
        said.append(f"{one.name}: {faster:.0%} of {len(one.pairs):,} prompts faster, ratio {ratio} at the median.")
        notes.append(one.shown_of(len(places)))
    least, most = min(ends, default=1.0), max(ends, default=1.0)
    return Chart(
        title=title,
        x=log_scale("TTFT in round 1, ms", least, most),
        y=log_scale("TTFT in the later round, ms", least, most),
        marks=tuple(marks),
        rules=(Rule(colour="rule", slope=1.0),),
        says=" ".join(said),
        note=" ".join(["On the dashed diagonal nothing changed; points below it were faster.", *filter(None, notes)]),
        tall=380,
    )


def _points(one: Paired, shown: Pairs, before: Floats, after: Floats) -> Mark:
    return Mark(
        shape="points",
        name=one.name,
        colour=round_colour(one.later.round),
        columns={"x": before, "y": after, **_facts(shown)},
        hover=(_HOVER_PROMPT, ("TTFT", "@x{0,0.00} -> @y{0,0.00} ms"), _HOVER_TOKENS, _HOVER_CACHED),
    )


def _facts(shown: Pairs) -> dict[str, np.ndarray]:
    """What hovering tells of prompts."""
    cached_before, cached_after = shown.both("cached_tokens")
    return {
        "index": shown.both("index")[1],
        "input": shown.both("input_tokens")[1],
        "output": shown.both("output_tokens")[1],
        "cached_before": cached_before,
        "cached_after": cached_after,
    }


def saved_chart(one: Paired, dose: DoseResponse | None) -> Chart | Missing:
    """TTFT saved against cached tokens gained, with the line that was fitted to them."""
    title = f"TTFT saved against cached tokens, {round_title(one.later.round).lower()}"
    before, after = one.pairs.both("ttft_ms")
    gained = np.subtract(*one.pairs.both("cached_tokens")[::-1])
    known = np.flatnonzero(np.isfinite(gained))
    if not len(known):
        why = "no prompt succeeded in two rounds" if not len(one.pairs) else "the server does not tell cached tokens"
        return Missing(title, why)
    if not np.any(gained[known]):
        return Missing(title, "no prompt had more cached tokens in the later round than in the first")
    gained, saved = gained[known], (before - after)[known]
    places = choose([gained, saved], one.most)
    shown = one.pairs.only(known[places])
    first, _ = shown.both("ttft_ms")
    mark = Mark(
        shape="points",
        name=one.name,
        colour=round_colour(one.later.round),
        columns={"x": gained[places], "y": saved[places], "before": first, **_facts(shown)},
        hover=(
            _HOVER_PROMPT,
            ("Saved", "@y{0,0.00} ms, @x{0,0} tokens gained"),
            ("TTFT before", "@before{0,0.00} ms"),
            _HOVER_TOKENS,
            _HOVER_CACHED,
        ),
    )
    rules, said = _dose(dose)
    return Chart(
        title=title,
        x=Scale(title="cached tokens gained"),
        y=Scale(title="TTFT saved, ms"),
        marks=(mark,),
        rules=rules,
        says=f"{count(len(known), 'prompt')}. {said}",
        note=" ".join(filter(None, [said, one.shown_of(len(places))])),
        tall=300,
    )


def _dose(dose: DoseResponse | None) -> tuple[tuple[Rule, ...], str]:
    """The fitted line, and what it says."""
    if dose is None or dose.slope_us_per_token is None or dose.intercept_ms is None:
        why = "" if dose is None or dose.why is None else f": {dose.why}"
        return (), f"No line could be fitted{why}."
    line = Rule(colour="ink", slope=dose.slope_us_per_token / 1000, intercept=dose.intercept_ms, dash="solid")
    interval = ""
    if dose.slope_ci95 is not None:
        interval = f" (95 % interval {number(dose.slope_ci95[0], '.1f')} to {number(dose.slope_ci95[1], '.1f')})"
    said = (
        f"The line: {number(dose.slope_us_per_token, '.1f')} us less for each cached token{interval}, "
        f"and {number(dose.intercept_ms, '.1f')} ms whatever was cached."
    )
    return (line,), said
