from __future__ import annotations

from pathlib import Path

from fluxperf.model import Outcome, Timeline
from fluxperf.model.timeline import from_row, to_row
from fluxperf.output import RoundFiles
from fluxperf.remains import find_lost, rescue
from fluxperf.spool import Spooled, SpoolWriter


def row(index: int, turn: int = 0, outcome: Outcome = Outcome.OK) -> Timeline:
    return Timeline(index=index, turn=turn, outcome=outcome)


def test_the_turn_after_the_last_one_that_is_known_is_lost() -> None:
    rows = [row(0), row(1), row(1, 1), row(2), row(2, 1, Outcome.CUT_OFF), row(4, 0, Outcome.HTTP_STATUS)]
    rows += [row(4, 1, Outcome.NOT_SENT)]
    assert list(find_lost([0, 1, 2, 3, 4], rows, [1, 3, 3, 2, 2])) == [(1, 2), (3, 0)]


def test_what_a_dead_worker_had_finished_is_there_counted_or_not(tmp_path: Path) -> None:
    files = RoundFiles(tmp_path, "concurrency_1_round_1")
    rows, uncounted = SpoolWriter(files.rows(0)), SpoolWriter(files.uncounted(0))
    rows.append(3, 0, to_row(row(3)))
    for index in (3, 4):  # it died when it had counted the first
        uncounted.append(index, 0, (to_row(row(index)), b"", None, "text"))
    rows.close()
    uncounted.close()
    assert [request.index for request in rescue(files, 0)] == [3, 4]
    assert [request.index for request in Spooled(files.all_rows(), from_row)] == [3, 4]


def test_a_worker_that_died_early_has_left_nothing(tmp_path: Path) -> None:
    assert list(rescue(RoundFiles(tmp_path, "x"), 0)) == []
