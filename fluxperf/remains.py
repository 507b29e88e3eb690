"""What a worker that died has left: requests that it had finished, and those that were with it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from heapq import merge
from itertools import groupby
from operator import itemgetter
from typing import Any

from fluxperf.model import Outcome, Timeline
from fluxperf.model.timeline import from_row, to_row
from fluxperf.output import RoundFiles
from fluxperf.spool import Spooled, SpoolWriter


def rescue(files: RoundFiles, worker: int) -> Iterator[Timeline]:
    """All that the worker had finished in the round. What waited for its tokens to be counted gets its row."""
    known = set()
    rows = files.rows(worker)  # missing if the worker died while it opened its connections
    for request in Spooled([rows] if rows.exists() else [], from_row):
        known.add((request.index, request.turn))
        yield request
    uncounted = files.uncounted(worker)
    if not uncounted.exists():
        return
    spool = SpoolWriter(files.rescued(worker))
    for row, *_ in Spooled[Any]([uncounted], tuple):
        request = from_row(row)
        if (request.index, request.turn) not in known:
            spool.append(request.index, request.turn, to_row(request))
            yield request
    spool.close()


def find_lost(drawn: Iterable[int], rows: Iterable[Timeline], turns: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Index and turn of the requests that were with a worker when it died, of a round that was stopped then.

    `drawn` are the sessions that were begun, ascending, `rows` all rows by index and turn, `turns` how many requests a
    session has. In one that came to no end of any kind, the turn after its last row was lost.
    """
    begun: Iterator[tuple[int, Timeline | None]] = ((index, None) for index in drawn)
    known: Iterator[tuple[int, Timeline | None]] = ((request.index, request) for request in rows)
    for index, group in groupby(merge(begun, known, key=itemgetter(0)), key=itemgetter(0)):
        done = [request for _, request in group if request is not None]
        if len(done) < turns[index] and not (done and done[-1].outcome is Outcome.CUT_OFF):
            yield index, len(done)
