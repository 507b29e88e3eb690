"""The page of a run, and of several: what it says, in which order, and what it keeps from doing harm."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest

from fluxperf.errors import UsageError
from fluxperf.model import Comparison, RoundResult, RunResult, Stats, Status, Verdict
from fluxperf.model.contrast import Figure
from fluxperf.model.evaluation import Answer, CacheEvaluation
from fluxperf.model.gate import Against, Gate, GateOutcome, GateResult
from fluxperf.model.result import Effect
from fluxperf.report.html import Assets, Beside, Named, document, run_page, runs_page, title_of
from fluxperf.report.html.columns import Columns
from fluxperf.report.html.headline import answer_section, factor_text, interval_text

EVIL = "</script><script>alert(1)</script><img src=x onerror=alert(1)> \u202e \x07 @x{y} $name \ud800"


def page(run: RunResult, beside: Beside | None = None) -> str:
    return "".join(run_page(run, beside or Beside()))


def text_of(html: str) -> str:
    without = re.sub(r"<script.*?</script>|<style.*?</style>", "", html, flags=re.DOTALL)
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", without))


@pytest.fixture
def evaluated(
    a_run: Callable[..., RunResult],
    a_round: Callable[..., RoundResult],
    an_evaluation: Callable[..., CacheEvaluation],
    a_comparison: Callable[..., Comparison],
) -> Callable[..., RunResult]:
    """A run of two rounds with an answer; `effect` and `verdict` may differ."""

    def make(
        effect: Effect = Effect.FASTER,
        ratio: float = 0.32,
        interval: tuple[float, float] = (0.294, 0.357),
        status: Status = Status.VALID,
    ) -> RunResult:
        found = a_comparison(effect=effect, mean_ratio=ratio, ratio_ci95=interval, baseline_round=1)
        verdict = Verdict(status=status, reasons=() if status is Status.VALID else ("others used the server",))
        evaluation = an_evaluation(effect=found, verdict=verdict, answer=Answer.YES, concurrency=5, stage=None)
        rounds = tuple(a_round(round=number, summary={"verdict": Verdict(status=Status.VALID)}) for number in (1, 2))
        return replace(a_run(), rounds=rounds, evaluations=(evaluation,), verdict=verdict)

    return make


def test_the_answer_is_the_first_sentence(evaluated: Callable[..., RunResult]) -> None:
    section = text_of(answer_section(evaluated()))
    assert "Round 2 was 3.1x faster to the first token, 95 % interval 2.8 to 3.4; valid." in section


def test_what_is_invalid_has_its_reasons_first_and_no_number(evaluated: Callable[..., RunResult]) -> None:
    html = answer_section(evaluated(status=Status.INVALID))
    section = text_of(html)
    assert section.index("others used the server") < section.index("Round 2: nothing can be told")
    assert "3.1" not in section.partition("Did the cache help?")[0]
    assert 'class="headline"' not in html


def test_reservations_are_said_before_the_number(evaluated: Callable[..., RunResult]) -> None:
    html = answer_section(evaluated(status=Status.DEGRADED))
    section = text_of(html)
    assert section.index("others used the server") < section.index("3.1x faster")
    assert 'class="headline"' not in html


def test_no_difference_is_no_factor(evaluated: Callable[..., RunResult]) -> None:
    section = text_of(answer_section(evaluated(Effect.NOT_SHOWN, 0.98, (0.9, 1.1))))
    assert "no difference to the first token can be shown, 95 % interval 1.11x faster to 1.10x slower" in section
    assert "cannot be told" in text_of(answer_section(evaluated(Effect.UNKNOWN)))


@pytest.mark.parametrize(
    ("ratio", "text"), [(0.5, "2.0x faster"), (1.25, "1.25x slower"), (1.001, "as fast"), (0.01, "100x faster")]
)
def test_factors(ratio: float, text: str) -> None:
    assert factor_text(ratio) == text


def test_intervals() -> None:
    assert interval_text((0.25, 0.5)) == "2.0 to 4.0"
    assert interval_text((1.1, 1.5)) == "1.10 to 1.50"
    assert interval_text((0.8, 1.25)) == "1.25x faster to 1.25x slower"


def test_the_order_of_the_page(evaluated: Callable[..., RunResult]) -> None:
    html = page(evaluated(), Beside(commands=("fluxperf report results",)))
    places = [html.index(f'id="{name}"') for name in ("answer", "rounds", "level-0", "origin")]
    assert places == sorted(places)
    assert html.count("<h1>") == 1
    levels = [int(level) for level in re.findall(r"<h([1-6])[ >]", html)]
    assert all(later <= earlier + 1 for earlier, later in pairwise(levels))
    assert "fluxperf report results" in html


def test_numbers_of_the_table_are_those_of_run_json(
    a_run: Callable[..., RunResult], a_round: Callable[..., Any]
) -> None:
    stats = {**a_round().summary.stats, "ttft_ms": Stats(p50=1234.5678915, p99=2000.0)}
    html = page(replace(a_run(), rounds=(a_round(summary={"stats": stats}),)))
    assert '<td data-value="1234.567892">1,234.57</td><td data-value="2000.0">2,000.00</td>' in html


def test_what_comes_from_elsewhere_does_nothing(a_run: Callable[..., RunResult], a_round: Callable[..., Any]) -> None:
    result = a_round(
        configuration={"model": EVIL, "endpoint": EVIL},
        notes=(EVIL,),
        series={EVIL: ((0.0, 1.0), (0.1, 2.0))},
        summary={"examples": {"reset": EVIL}, "outcomes": {"reset": 1}, "unmeasured": {"itl_ms": EVIL}},
    )
    run = replace(
        a_run(), rounds=(result,), labels={EVIL: EVIL}, environment={EVIL: {EVIL: [EVIL]}}, recipe={"text": EVIL}
    )
    assets = Assets(library="1;", script="2;", style="")
    html = "".join(document(title_of(run), run_page(run, Beside()), assets))
    html.encode()
    assert "<script>alert" not in html
    assert "<img" not in html
    assert "\u202e" not in html
    assert len(re.findall(r"<script>", html)) == 2
    overlaid = "".join(runs_page([Named(EVIL, run, {}), Named("b", run, {})], [EVIL]))
    assert "<script>alert" not in overlaid
    assert "<img" not in overlaid


def test_the_file_forbids_whatever_is_not_in_it(a_run: Callable[..., RunResult]) -> None:
    html = "".join(document("t", [], Assets(library="a </script> b", script="c", style="")))
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', html)
    assert policy is not None
    assert "default-src &#x27;none&#x27;" in policy[1]
    assert policy[1].count("sha256-") == 2
    assert "unsafe-eval" not in policy[1]
    assert "a <\\/script> b" in html
    assert json.loads(re.search(r'id="dark-of">(.+?)</script>', html)[1])  # type: ignore[index]


def test_requests_that_cannot_be_read_are_said_to_be_missing(a_run: Callable[..., RunResult]) -> None:
    def read(result: RoundResult) -> Columns:
        raise UsageError(f"round_{result.round}.json: was it cut short?")

    text = text_of(page(a_run(), Beside(read=read)))
    assert "Missing: the requests of round 1: round_1.json: was it cut short?" in text
    assert "No plots, because requests are missing." in text


def test_a_run_without_rounds_is_a_page_too(a_run: Callable[..., RunResult]) -> None:
    run = replace(a_run(), rounds=(), comparisons=(), evaluations=(), verdict=None, partial=True)
    text = text_of(page(run))
    assert "No round has been finished" in text
    assert "The run was stopped before its end" in text


def test_gates_are_told(a_run: Callable[..., RunResult]) -> None:
    gate = Gate(
        text="ttft_ms.p99 > 10", figure=Figure("ttft_ms", "p99"), above=True, threshold=10, against=Against.VALUE
    )
    failed = GateResult(
        gate=gate, stage=None, concurrency=5, round=1, outcome=GateOutcome.FAILED, text="it is <b>312</b> ms"
    )
    text = text_of(page(replace(a_run(), gates=(failed, replace(failed, outcome=GateOutcome.PASSED)))))
    assert "1 gate of 2 failed." in text
    assert text.index("1 gate of 2 failed: which") < text.index("1 gate of 2 failed.")  # in the first card
    assert "concurrency 5, round 1 : it is &lt;b&gt;312&lt;/b&gt; ms" in text


def test_stages_have_a_section_each(a_recipe_run: Callable[..., RunResult]) -> None:
    run = a_recipe_run()
    html = page(run, Beside(pages={run.stages[0].name: "Warm-up/report.html"}))
    assert 'href="Warm-up/report.html"' in html
    text = text_of(html)
    assert "the server ended with exit status 1" in text
    assert "not run" in text
    for nth in range(3):
        assert html.count(f'id="stage-{nth}"') == 1
    assert html.index('id="stages"') < html.index('id="stage-0"') < html.index('id="level-0"')


def test_a_page_of_very_many_levels_shows_less_of_each(a_run: Callable[..., RunResult]) -> None:
    first = a_run().rounds[0]
    many = [replace(first, concurrency=level) for level in range(1, 80)]
    few = page(replace(a_run(), rounds=tuple(many[:17])))
    assert "Over time" not in few
    assert few.count("timelines are left out, because there are so many levels") == 17
    assert 'class="plot"' in few
    none = page(replace(a_run(), rounds=tuple(many)))
    assert "too many levels on this page" in none
    assert "application/json" not in none
    assert none.count("<tr>") == 80


def test_runs_are_overlaid_and_their_differences_said(a_run: Callable[..., RunResult]) -> None:
    run = a_run()
    other = replace(run, rounds=tuple(replace(one, configuration={"model": "other"}) for one in run.rounds))
    html = "".join(runs_page([Named("before", run, {}), Named("after", other, {})], ["fluxperf report a b"]))
    text = text_of(html)
    assert "The model differs." in text
    assert "before: mock; after: other" in text
    assert html.count('scope="row" class="left">before</th>') == 1 + len(run.rounds)
    assert "series-2" in html


def test_runs_that_have_no_place_in_common_say_so(a_run: Callable[..., RunResult]) -> None:
    run = a_run()
    other = replace(run, rounds=tuple(replace(one, concurrency=99) for one in run.rounds))
    html = "".join(runs_page([Named("a", run, {}), Named("b", other, {})], []))
    assert "No two runs have a stage, level and round in common" in html
