from __future__ import annotations

from typing import Any

import msgpack
import pytest

from fluxperf.errors import RunFailed
from fluxperf.launch.codec import SCHEMA, WorkerReport, decode_report, encode_report
from fluxperf.model import Audit, Constraint, Outcome, Slo, Timeline
from fluxperf.tally import Tally

SLO = Slo((Constraint("ttft_ms", below=5),))
MS = 1_000_000


def tally_of_three() -> Tally:
    """A success that misses the SLO, a failure and one that was cut off."""
    tally = Tally(SLO)
    success = Timeline(
        index=0,
        outcome=Outcome.OK,
        sent_ns=0,
        first_output_ns=7 * MS,
        last_output_ns=9 * MS,
        end_ns=10 * MS,
        done_ns=10 * MS,
        output_events=3,
        prompt_tokens=8,
        cached_tokens=4,
    )
    tally.add(success, [MS, MS])
    tally.add(Timeline(index=1, outcome=Outcome.RESET, sent_ns=1, done_ns=2, error="reset ☃"))
    tally.add(Timeline(index=2, outcome=Outcome.CUT_OFF))
    return tally


def test_a_report_comes_back_as_it_was() -> None:
    audit = Audit(reads=4, voided_stamps=5, opened=6, cpu_ns=7)
    audit.receive_lag.record(8)
    report = WorkerReport(worker=3, tally=tally_of_three(), audit=audit)
    found = decode_report(encode_report(report), SLO)
    assert found.tally.to_state() == report.tally.to_state()
    assert found.tally.slo == SLO
    assert (found.worker, found.audit) == (3, audit)


def test_decoded_tallies_still_merge() -> None:
    report = WorkerReport(worker=0, tally=tally_of_three())
    merged = decode_report(encode_report(report)).tally
    merged.merge(decode_report(encode_report(report)).tally)
    assert merged.outcomes == {Outcome.OK: 2, Outcome.RESET: 2, Outcome.CUT_OFF: 2}
    assert merged.missed == {"ttft_ms": 2}


@pytest.mark.parametrize("state", [{"schema": "fluxperf.worker_report/1"}, {"worker": 0}, [SCHEMA], None])
def test_any_other_schema_is_refused(state: Any) -> None:
    with pytest.raises(RunFailed, match=f"this is '{SCHEMA}'"):
        decode_report(msgpack.packb(state))
