from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluxperf.analysis.figures import FIGURES as FIGURES_COMPARED
from fluxperf.errors import UsageError
from fluxperf.model import CONTROL
from fluxperf.model.contrast import Figure
from fluxperf.model.gate import Against, Gate
from fluxperf.plan.gates import LOWER_IS_BETTER, METRICS, parse_gate, parse_gates

FIGURES = [Figure(metric, one) for metric, known in METRICS.items() for one in known or (None,)]
P99 = Figure("ttft_ms", "p99")


@pytest.mark.parametrize(
    ("text", "gate"),
    [
        ("ttft_ms.p99 > +10%", {"figure": P99, "above": True, "threshold": 1.1, "against": Against.BASELINE}),
        ("ttft_ms.p99>+ 10 %", {"figure": P99, "above": True, "threshold": 1.1, "against": Against.BASELINE}),
        (
            "tokens_per_s < -2.5%",
            {"figure": Figure("tokens_per_s"), "above": False, "threshold": 0.975, "against": Against.BASELINE},
        ),
        (
            "goodput.ratio < 0.95",
            {"figure": Figure("goodput", "ratio"), "above": False, "threshold": 0.95, "against": Against.VALUE},
        ),
        ("ttft_ms.p99 > 250 ms", {"figure": P99, "above": True, "threshold": 250, "against": Against.VALUE}),
        ("ttft_ms.p99 > 2.5e2", {"figure": P99, "above": True, "threshold": 250, "against": Against.VALUE}),
        (
            "round2/round1 ttft_ms.mean > 0.6",
            {
                "figure": Figure("ttft_ms", "mean"),
                "above": True,
                "threshold": 0.6,
                "against": Against.ROUND,
                "round": 2,
                "earlier": 1,
            },
        ),
        (
            "stage='a \"b' control ttft_ms.p99 > 1 concurrency = 8",
            {
                "figure": P99,
                "above": True,
                "threshold": 1,
                "against": Against.VALUE,
                "round": CONTROL,
                "concurrency": 8,
                "stage": 'a "b',
            },
        ),
    ],
)
def test_what_is_written(text: str, gate: dict[str, object]) -> None:
    assert parse_gate(text) == Gate(text=text, **gate)  # type: ignore[arg-type]


def test_what_is_exactly_at_the_threshold_counts_with_an_equals_sign() -> None:
    above, below = parse_gate("ttft_ms.p99 >= 250"), parse_gate("goodput.ratio <= 0.95")
    assert above.threshold == math.nextafter(250, 0) < 250
    assert below.threshold == math.nextafter(0.95, 1) > 0.95


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "is empty; a gate looks like 'ttft_ms.p99 > +10%'"),
        (" \n", "is empty"),
        ("ttft.p99 > 250", "there is no metric 'ttft'; did you mean ttft_ms.p99?"),
        ("TTFT_MS.P99 > 250", "did you mean ttft_ms.p99?"),
        ("tokens_per_sec < 5", "did you mean tokens_per_s?"),
        ("colour > 5", "there is no metric 'colour'; known are ttft_ms, "),
        ("ttft_ms.p99 > 10%", "write +10% for a change against the baseline, or 0.1 for a share or a ratio"),
        ("ttft_ms.p99 > +5", "'+5': write +5% for a change against the baseline, or 5 for 5 ms"),
        ("ttft_ms.p99 > -5", "ttft_ms.p99 is never negative; write -5%"),
        ("errors.ratio > +0.1", "or 0.1 for the share itself"),
        ("p99(ttft) > 5", "write ttft_ms.p99 for p99(ttft)"),
        ("ttft_ms.p99 == 5", "== is none of >, >=, < and <="),
        ("ttft_ms.p99 = 5", "= is none of >, >=, < and <="),
        ("tokens_per_s=5", "= is none of >, >=, < and <="),
        ("ttft_ms.p99 != 5", "!= is none of"),
        ("ttft_ms.p99 => 5", "=> is none of"),
        ("ttft_ms.p999 > 5", "ttft_ms has no 'p999': there are ttft_ms.mean, ttft_ms.avg, ttft_ms.p50"),
        ("ttft_ms.max > 5", "take p99"),
        ("ttft_ms > 5", "ttft_ms needs a statistic: ttft_ms.mean, "),
        ("goodput < 0.9", "goodput needs a statistic: goodput.ratio"),
        ("tokens_per_s.p50 < 5", "tokens_per_s has no statistics: write tokens_per_s alone"),
        ("wait_ms.p99 > 5", "take ttft_ms"),
        ("chunk_gap_ms.mean > 5", "chunk_gap_ms has no 'mean': there are chunk_gap_ms.avg, "),
        ("ttft_ms.p99", "does not say when it fails: add > or < and a threshold, such as 'ttft_ms.p99 > +10%'"),
        ("ttft_ms.p99 >", "has no threshold"),
        ("> 5", "has nothing before >"),
        ("ttft_ms.p99 > nan", "'nan' is no number"),
        ("ttft_ms.p99 > inf", "'inf' is no number"),
        ("ttft_ms.p99 > 1e999", "is too large a number"),
        ("ttft_ms.p99 > 0,95", "write 0.95 or 1000, with a point"),
        ("ttft_ms.p99 > 1_000", "is no number"),
        ("ttft_ms.p99 > 0.25s", "'s' is not its unit: ttft_ms.p99 is in ms; write the number alone"),
        ("goodput.ratio < 1x", "goodput.ratio is a share from 0 to 1"),
        ("ttft_ms.p99 \N{FULLWIDTH GREATER-THAN SIGN} 5", "write >"),
        ("ttft_ms.p99 \u2265 5", "write >="),
        ("ttft_ms.p99 > \N{MINUS SIGN}5%", "write -"),
        ("ttft_ms.p99 > \N{FULLWIDTH DIGIT TWO}5", "write 2"),
        ("ttft_ms.p99 > \N{ARABIC-INDIC DIGIT TWO}", "is no number"),
        ("ttft_ms.p99 < -150%", "nothing falls by more than 100 %"),
        ("round 2 ttft_ms.p50 > 5", "write round2, in one word"),
        ("ttft_ms.p50 round2 > 5", "comes before the figure: 'round2 ttft_ms.p50 ...'"),
        ("rnd2 ttft_ms.p50 > 5", "'rnd2' narrows nothing down; did you mean round2?"),
        ("fast ttft_ms.p50 > 5", "a round is round1, round2 or control"),
        ("round1 round2 ttft_ms.p50 > 5", "names rounds twice; a ratio of two is round2/round1"),
        ("round0 ttft_ms.p50 > 5", "rounds count from 1"),
        ("round2/round2 ttft_ms.p50 > 5", "two different rounds are compared"),
        ("round3/round2/round1 ttft_ms.p50 > 5", "two different rounds are compared"),
        ("round2/round1 ttft_ms.p50 > +10%", "is a plain number, such as 1.1"),
        ("round2 > 5", "names no figure"),
        ("stage=Low load ttft_ms.p50 > 5", "put a stage's name with spaces in quotes"),
        ("stage='x ttft_ms.p50 > 5", "is a quote not closed?"),
        ("stage=a stage=b ttft_ms.p50 > 5", "stage= is given twice"),
        ("concurency=8 ttft_ms.p50 > 5", "did you mean concurrency=8?"),
        ("colour=8 ttft_ms.p50 > 5", "known are concurrency=N and stage=NAME"),
        ("concurrency=0 ttft_ms.p50 > 5", "takes one whole number of at least 1"),
        ("concurrency=8,16 ttft_ms.p50 > 5", "takes one whole number"),
        ("ttft_ms.p50 > 1 and itl_ms.p50 < 2", "more than one comparison in it: give each condition as a gate"),
        ("250 < ttft_ms.p99", "there is no metric '250'"),
    ],
)
def test_what_is_wrong_is_told(text: str, says: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_gate(text)
    assert says in str(caught.value)
    assert str(caught.value).startswith(f"gate {text!r}: ")


def test_a_long_text_is_not_repeated_whole() -> None:
    with pytest.raises(UsageError) as caught:
        parse_gate("x" * 10_000)
    assert len(str(caught.value)) < 500


def test_several_gates_are_there_once_and_their_faults_together() -> None:
    assert len(parse_gates(["errors.ratio > 0", "errors.ratio > 0", "errors.ratio > 0.1"])) == 2
    with pytest.raises(UsageError) as caught:
        parse_gates(["a", "errors.ratio > 0", "b"])
    assert [line.split(":")[0] for line in str(caught.value).splitlines()] == ["gate 'a'", "gate 'b'"]


rounds = st.one_of(st.integers(1, 9999), st.just(CONTROL))


@st.composite
def gates(draw: st.DrawFn) -> Gate:
    """A gate and its text, in one of the ways in which it can be written."""
    against = draw(st.sampled_from(Against))
    above, figure = draw(st.booleans()), draw(st.sampled_from(FIGURES))
    later = draw(rounds) if against is Against.ROUND else draw(st.none() | rounds)
    earlier = draw(rounds.filter(lambda one: one != later)) if against is Against.ROUND else None
    concurrency = draw(st.none() | st.integers(1, 100_000))
    stage = draw(st.none() | st.text(st.characters(exclude_categories=["Cs"]), max_size=20))
    number = draw(st.decimals(0, 10**6, places=3))
    threshold = float(1 + number / 100) if against is Against.BASELINE else float(number)
    shown = f"+{number}%" if against is Against.BASELINE else f"{number:f}"
    words = [f"concurrency={concurrency}"] if concurrency else []
    words += [f"stage={draw(st.sampled_from(quoted(stage)))}"] if stage is not None else []
    words += ["/".join(word(name) for name in (later, earlier) if name is not None)] if later is not None else []
    text = " ".join([*words, str(figure), ">" if above else "<", shown])
    return Gate(
        text=text,
        figure=figure,
        above=above,
        threshold=threshold,
        against=against,
        round=later,
        earlier=earlier,
        concurrency=concurrency,
        stage=stage,
    )


def word(name: int | str) -> str:
    return CONTROL if name == CONTROL else f"round{name}"


def quoted(text: str) -> list[str]:
    """The ways in which a name can be written."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return [f'"{escaped}"', *([f"'{text}'"] if "'" not in text else [])]


def test_gates_are_about_the_figures_that_are_compared() -> None:
    assert {name: row.statistics for name, row in FIGURES_COMPARED.items()} == METRICS
    assert {name for name, row in FIGURES_COMPARED.items() if row.lower_is_better} == LOWER_IS_BETTER


@given(gates())
def test_a_gate_is_read_as_it_was_written(gate: Gate) -> None:
    assert parse_gate(gate.text) == gate


@given(gates())
def test_spaces_around_the_comparison_are_not_needed(gate: Gate) -> None:
    head, operator, tail = gate.text.rpartition(" > " if gate.above else " < ")
    tight = parse_gate(f"{head}{operator.strip()}{tail}")
    assert (tight.threshold, tight.figure, tight.stage) == (gate.threshold, gate.figure, gate.stage)


@given(st.text(max_size=60) | st.text("rount_ms.p9control/=<>+%-0123456789'\" ", max_size=60))
def test_any_text_is_a_gate_or_a_fault_of_one_line(text: str) -> None:
    said = ""
    try:
        parse_gate(text)
    except UsageError as error:
        said = str(error)
    assert "\n" not in said


def test_a_stage_may_be_named_in_any_script() -> None:
    name = "Nächtlich \N{FULLWIDTH GREATER-THAN SIGN} \u2265 😀"
    assert parse_gate(f"stage={json.dumps(name, ensure_ascii=False)} errors.ratio > 0").stage == name
