from __future__ import annotations

from collections.abc import Callable

from fluxperf.model import RunResult
from fluxperf.report import REPORTERS


def test_every_reporter_gives_text_in_pieces(a_run: Callable[..., RunResult]) -> None:
    assert set(REPORTERS) == {"histograms.hlog", "metrics_summary.csv", "run.json"}
    for report in REPORTERS.values():
        pieces = list(report(a_run()))
        assert len(pieces) > 2
        assert "".join(pieces).encode()
