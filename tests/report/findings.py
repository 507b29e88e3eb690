"""Findings for the tests of what CI reads."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from fluxperf.model import CONTROL, Status, Verdict
from fluxperf.model.contrast import Call, Contrast, Figure, Need, Way
from fluxperf.model.gate import Against, Gate, GateOutcome, GateResult
from fluxperf.report.findings import Findings, Heading, Side

TTFT = Figure("ttft_ms", "p99")
CHANGE = Gate(text="ttft_ms.p99 > +10%", figure=TTFT, above=True, threshold=1.1, against=Against.BASELINE)
GOODPUT = Gate(
    text="goodput.ratio < 0.95", figure=Figure("goodput", "ratio"), above=False, threshold=0.95, against=Against.VALUE
)
WARM = Gate(
    text='stage="Low load" round2/round1 ttft_ms.p50 > 0.6',
    figure=Figure("ttft_ms", "p50"),
    above=True,
    threshold=0.6,
    against=Against.ROUND,
    round=2,
    earlier=1,
    stage="Low load",
)
NASTY = "a|b `c` <script>alert(1)</script> *d* [e](f) @team #12\n::error::%0A \x00\x1b[31m\ud800 ]]> &amp; $x$"


def make_result(**changes: Any) -> GateResult:
    """A gate against the baseline that failed."""
    plain = GateResult(
        gate=CHANGE,
        stage=None,
        concurrency=8,
        round=2,
        outcome=GateOutcome.FAILED,
        text="ttft_ms.p99 changed by +18.2% (231 -> 273 ms), with 97.5% confidence at least +12.1%; the gate is > +10%",
        value=1.182,
        bounds=(1.121, 1.246),
        confidence=0.95,
        base=231.0,
        new=273.0,
    )
    return replace(plain, **changes)


RESULTS = (
    make_result(
        round=1,
        outcome=GateOutcome.PASSED,
        text="ttft_ms.p99 changed by +1.2% (301 -> 305 ms); the gate is > +10%",
        value=1.0123,
        bounds=(0.95, 1.08),
    ),
    make_result(),
    make_result(
        gate=GOODPUT,
        outcome=GateOutcome.UNDECIDED,
        text="goodput.ratio was 0.94; < 0.95 is within noise, it may be as high as 0.98: "
        "if it stays so, about 1,200 prompts in place of 50 would decide",
        value=0.94,
        bounds=(0.87, 0.98),
        base=None,
        new=None,
    ),
    make_result(
        gate=WARM,
        stage="Low load",
        outcome=GateOutcome.ABSENT,
        text="round 2 was not measured",
        value=None,
        bounds=None,
        confidence=None,
        base=None,
        new=None,
    ),
)
HEADING = Heading(
    new=Side(
        name="results",
        verdict=Verdict(status=Status.DEGRADED, reasons=("round 2: the busiest worker used 97% of its core",)),
        facts={
            "started_at": "2026-01-31T12:00:00Z",
            "model": "my-model",
            "dataset": "datasets/chat.jsonl",
            "dataset_sha256": "7c" * 32,
            "revision": "5f" * 20 + "-dirty",
            "fluxperf": "0.1.0",
        },
    ),
    base=Side(
        name="main",
        repeats=3,
        verdict=Verdict(status=Status.VALID),
        facts={"started_at": "2026-01-30T12:00:00Z", "fluxperf": "0.1.0"},
    ),
    labels={"gpu": "H100"},
)


def make_contrast(**changes: Any) -> Contrast:
    """A figure that got worse."""
    plain = Contrast(
        stage=None,
        concurrency=8,
        round=2,
        figure=TTFT,
        lower_is_better=True,
        base=231.0,
        new=273.0,
        ratio=1.182,
        interval=(1.1, 1.27),
        confidence=0.9958,
        p_value=0.0001,
        call=Call.WORSE,
        way=Way.PAIRED,
        counts=(62, 62),
    )
    return replace(plain, **changes)


CONTRASTS = (
    make_contrast(round=1, call=Call.SAME, base=301.0, new=305.0, ratio=1.0133, interval=(0.99, 1.04)),
    make_contrast(),
    make_contrast(
        round=CONTROL,
        figure=Figure("tokens_per_s"),
        lower_is_better=False,
        base=1234.5,
        new=None,
        ratio=None,
        interval=(0.0, float("inf")),
        call=Call.CANNOT_TELL,
        why="8 prompts at a concurrency of 8 are fewer than 4 stretches of time: at least 32 are needed",
        need=Need(change=0.05, prompts=640),
    ),
)
FINDINGS = Findings(HEADING, RESULTS, CONTRASTS)


def make_many(count: int) -> Findings:
    """A gate, and a comparison, at so many levels; every third fails or is worse."""
    outcomes = (GateOutcome.FAILED, GateOutcome.PASSED, GateOutcome.UNDECIDED)
    calls = (Call.WORSE, Call.SAME, Call.BETTER)
    gates = tuple(make_result(concurrency=level + 1, outcome=outcomes[level % 3]) for level in range(count))
    contrasts = tuple(make_contrast(concurrency=level + 1, call=calls[level % 3]) for level in range(count))
    return Findings(HEADING, gates, contrasts)


def make_nasty() -> Findings:
    """Everything that somebody can name holds what no report must obey."""
    gate = replace(CHANGE, text=NASTY, stage=NASTY)
    side = Side(name=NASTY, verdict=Verdict(status=Status.INVALID, reasons=(NASTY,)), facts={"model": NASTY})
    return Findings(
        Heading(new=side, base=side, labels={NASTY: NASTY}),
        tuple(make_result(gate=gate, stage=NASTY, text=NASTY, outcome=outcome) for outcome in GateOutcome),
        (make_contrast(stage=NASTY, why=NASTY),),
    )
