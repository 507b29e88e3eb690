from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from fluxperf.analysis.evidence import Evidence
from fluxperf.analysis.merge import summarise
from fluxperf.errors import MeasurementInvalid, RunFailed
from fluxperf.ledger import Ledger, Voice
from fluxperf.model import Audit, Histogram, RoundResult, Timeline
from fluxperf.output import claim
from fluxperf.plan.settings import Settings
from fluxperf.plan.workload import Dataset
from fluxperf.provenance import Asked
from fluxperf.site import Site
from fluxperf.tally import Tally

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
        settings = Settings(dataset="d.jsonl", endpoint="http://localhost/", strict=strict)
        facts = Dummy(shown_url="u", model="m", model_from="--model", sha256="")
        facts.found = SimpleNamespace(route=SimpleNamespace(address="a"))
        asked = Asked(settings, cast(Site, facts), cast(Dataset, facts))
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
        summary = summarise(evidence, first_round=True, sent_before_at=None)
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
