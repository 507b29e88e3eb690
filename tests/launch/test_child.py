from __future__ import annotations

from pathlib import Path

import pytest

from fluxperf.engine.orders import Outlets, RoundOrder
from fluxperf.launch.child import order_from, order_to
from fluxperf.launch.messages import ROUND, Message, Unpacker, pack


@pytest.mark.parametrize(("transcripts", "debug_log"), [(None, None), (Path("a b.transcripts"), Path("/é/c.log"))])
def test_an_order_comes_over_the_pipe_as_it_was(transcripts: Path | None, debug_log: Path | None) -> None:
    order = RoundOrder(
        lanes=3,
        sessions=20,
        concurrency=5,
        outlets=Outlets(
            rows=Path("spool/worker_0.rows"),
            uncounted=Path("spool/worker_0.uncounted"),
            transcripts=transcripts,
            answers=transcripts,
            debug_log=debug_log,
        ),
        replayed=() if transcripts is None else (transcripts, Path("other")),
    )
    (message,) = Unpacker().feed(pack(Message(ROUND, order_to(order))))
    assert order_from(message.value) == order
