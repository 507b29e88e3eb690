from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from fluxperf.analysis.evidence import Evidence
from fluxperf.analysis.merge import summarise
from fluxperf.errors import MeasurementInvalid, RunFailed
from fluxperf.ledger import Ledger
from fluxperf.model import CONTROL, Audit, Histogram, RoundResult, Timeline
from fluxperf.output import claim
from fluxperf.plan.campaign import StageSpec
from fluxperf.plan.settings import Settings
from fluxperf.plan.workload import Dataset
from fluxperf.provenance import Asked, Origin
from fluxperf.site import Site
from fluxperf.tally import Tally
from fluxperf.voice import Voice
from tests.analysis.levels import a_reset, prompts
from tests.analysis.levels import measured as a_round

MS = 1_000_000

OpenLedger = Callable[..., Ledger]
Measured = Callable[..., RoundResult]


class Dummy(SimpleNamespace):
    """Stands for the server and the dataset, of which a ledger only repeats some facts."""

    def __len__(self) -> int:
        return 1


@pytest.fixture
def open_ledger(tmp_path: Path) -> Iterator[OpenLedger]:
    output, _ = claim(tmp_path / "out", overwrite=False)

    def make(*, strict: bool) -> Ledger:
        spec = StageSpec(settings=Settings(dataset="d.jsonl", endpoint="http://localhost/", strict=strict))
        facts = Dummy(shown_url="u", model="m", model_from="--model", sha256="", secrets=())
        facts.found = SimpleNamespace(route=SimpleNamespace(address="a"))
        facts.path = tmp_path / "d.jsonl"
        site, dataset = cast(Site, facts), cast(Dataset, facts)
        asked = Asked(spec=spec, site=site, dataset=dataset, origin=Origin(started_at="t"))
        return Ledger(asked, output, Voice(quiet=False))

    yield make
    output.clean()


@pytest.fixture
def measured(a_request: Callable[..., Timeline]) -> Measured:
    """Makes a round of one request with a TTFT of 100 ms whose stamp is so late."""

    def make(late_ms: int = 0, *, success: bool = True, **changes: Any) -> RoundResult:
        tally, slack = Tally(), Histogram()
        if success:
            tally.add(a_request())
        slack.record(late_ms * MS)
        evidence = Evidence(tally=tally, audits={0: Audit(first_stamp_slack=slack)}, planned=1)
        facts: dict[str, Any] = {"stage": None, "concurrency": 1, "round": 1, "configuration": {}, "requests": ()}
        summary = summarise(evidence)
        return RoundResult(**facts | changes, summary=summary, first_sent_ns=None)

    return make


def verdict_on_disk(folder: Path) -> Any:
    return json.loads((folder / "out" / "run.json").read_text())["verdict"]


def test_an_invalid_run_is_written_and_told_before_it_fails(
    open_ledger: OpenLedger, measured: Measured, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ledger = open_ledger(strict=True)
    ledger.enter(measured())
    ledger.enter(measured(50, round=2))
    with pytest.raises(MeasurementInvalid) as caught:
        ledger.close(partial=False)
    assert caught.value.exit_code == 4
    verdict = verdict_on_disk(tmp_path)
    assert verdict["status"] == "invalid"
    assert str(caught.value).splitlines() == ["the measurement is invalid (--strict):", *verdict["reasons"]]
    assert verdict["reasons"][0].startswith("concurrency 1, round 2: TTFT p50 may be off by up to 50.00 ms (50.0%)")
    assert "\n\nVerdict: invalid:\n  Concurrency 1, round 2: invalid: TTFT" in capsys.readouterr().out


@pytest.mark.parametrize(("late_ms", "strict"), [(50, False), (5, True), (0, True)])
def test_nothing_fails_that_is_not_both_invalid_and_strict(
    open_ledger: OpenLedger, measured: Measured, late_ms: int, strict: bool
) -> None:
    ledger = open_ledger(strict=strict)
    ledger.enter(measured(late_ms))
    ledger.close(partial=False)


def test_a_run_that_was_stopped_has_its_own_exit_code(
    open_ledger: OpenLedger, measured: Measured, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ledger = open_ledger(strict=True)
    ledger.enter(measured(50))
    ledger.close(partial=True)
    assert "the run was stopped before its end" in verdict_on_disk(tmp_path)["reasons"]
    assert capsys.readouterr().out.endswith("\n  The run was stopped before its end.\n")


def test_a_run_that_was_stopped_before_its_first_round_says_so(
    open_ledger: OpenLedger, capsys: pytest.CaptureFixture[str]
) -> None:
    open_ledger(strict=False).close(partial=True)
    assert capsys.readouterr().out == "Verdict: invalid: no round was measured\n"


def test_a_run_without_a_success_failed_rather_than_measured_badly(
    open_ledger: OpenLedger, measured: Measured, tmp_path: Path
) -> None:
    ledger = open_ledger(strict=True)
    ledger.enter(measured(success=False))
    with pytest.raises(RunFailed):
        ledger.close(partial=False)
    assert verdict_on_disk(tmp_path)["status"] == "invalid"


def a_level(concurrency: int = 5) -> list[RoundResult]:
    """A level whose round 2 found the cache."""
    cold, warm = prompts(50, 200), prompts(50, 20, share=0.99, seed=2)
    return [a_round(1, cold, concurrency=concurrency), a_round(2, warm, concurrency=concurrency)]


def run_on_disk(folder: Path) -> Any:
    return json.loads((folder / "out" / "run.json").read_text())


def test_the_last_lines_are_the_answer(
    open_ledger: OpenLedger, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ledger = open_ledger(strict=True)
    for result in a_level():
        ledger.enter(result)
    ledger.close(partial=False)
    *_, comparison, verdict, answer = capsys.readouterr().out.rstrip("\n").split("\n\n")
    assert "Comparison of Rounds" in comparison
    assert verdict == "Verdict: valid: 2 rounds, nothing speaks against any of them"
    assert answer.startswith("Did the cache help?\nConcurrency 5: yes. Round 2 was faster, and ")
    (found,) = run_on_disk(tmp_path)["evaluations"]
    assert (found["answer"], found["round"]) == ("yes", 2)
    assert found["dose_response"]["why"] == "every prompt gained the same number of cached tokens"


def test_a_cache_that_cannot_be_judged_is_invalid_too(open_ledger: OpenLedger, tmp_path: Path) -> None:
    ledger = open_ledger(strict=True)
    ledger.enter(a_level()[0])
    ledger.enter(a_round(2, prompts(50, 20, share=0.99), repeats=False, reset=a_reset()))
    with pytest.raises(MeasurementInvalid, match="concurrency 5: the reset before round 2 was said to be done, but"):
        ledger.close(partial=False)
    assert verdict_on_disk(tmp_path)["status"] == "invalid"


def test_what_is_known_so_far_is_on_disk_after_each_round(open_ledger: OpenLedger, tmp_path: Path) -> None:
    ledger = open_ledger(strict=False)
    for count, result in enumerate(a_level(2) + a_level(5)):
        ledger.enter(result)
        evaluations = run_on_disk(tmp_path)["evaluations"]
        assert [found["concurrency"] for found in evaluations] == [2, 5][: (count + 1) // 2]


def test_later_rounds_are_compared_with_fresh_prompts_once_there_are_some(
    open_ledger: OpenLedger, tmp_path: Path
) -> None:
    ledger = open_ledger(strict=False)
    for result in (*a_level(), a_round(3, prompts(50, 20, share=0.99, seed=3)), a_round(CONTROL, prompts(50, 150))):
        ledger.enter(result)
    comparisons = run_on_disk(tmp_path)["comparisons"]
    compared = [(one["baseline_round"], one["round"]) for one in comparisons if one["metric"] == "ttft_ms"]
    assert compared == [(1, 2), (1, 3), (1, CONTROL), (CONTROL, 2), (CONTROL, 3)]
    assert [found["net_of_control"] for found in run_on_disk(tmp_path)["evaluations"]] == [True, True]


class Counted(list[Timeline]):
    """Requests, and how often they were read."""

    times_read = 0

    def __iter__(self) -> Iterator[Timeline]:
        self.times_read += 1
        return super().__iter__()


def test_the_requests_of_a_level_are_not_read_again_for_the_next(open_ledger: OpenLedger) -> None:
    """Of a round that found too little, to find out why, all of them are read."""
    ledger = open_ledger(strict=False)
    seen = [Counted(prompts(50, 200)), Counted(prompts(50, 200, seed=2))]
    for name, requests in enumerate(seen, 1):
        ledger.enter(replace(a_round(name, requests, concurrency=2), requests=requests))
    before = [requests.times_read for requests in seen]
    for result in a_level():
        ledger.enter(result)
    ledger.close(partial=False)
    assert [requests.times_read for requests in seen] == before
