"""A ground for real workers: the real mock server, requests that end at once or never, and where rows go."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from fluxperf.api import APIS, ChatOptions
from fluxperf.clock import now_ns
from fluxperf.engine.board import Board, Column
from fluxperf.engine.bodies import BodyWriter, Prepared, Tickets
from fluxperf.engine.exchange import make_template
from fluxperf.engine.orders import Client, Outlets, RoundOrder, Shared
from fluxperf.engine.preflight import Wishes, find_route
from fluxperf.launch.fork import Watch
from fluxperf.model import Timeline
from fluxperf.model.timeline import from_row
from fluxperf.spool import Spooled
from tests.end_to_end.servers import running_mock

TIMEOUT_NS = 20 * 10**9
QUICK = ChatOptions(model="m", max_output_tokens=1)
ENDLESS = ChatOptions(model="m", max_output_tokens=100_000, min_output_tokens=100_000)


@dataclass(slots=True)
class Ground:
    """What a team needs. `quick` and `endless` are tickets: the first end at once, the others with the test."""

    client: Client
    shared: Shared
    quick: list[int]
    endless: list[int]
    folder: Path
    wake_fd: int

    def spool(self, worker: int) -> Path:
        """Where a worker's rows go."""
        return self.folder / f"{worker}.rows"

    def outlets(self, worker: int) -> Outlets:
        """Where a worker writes."""
        return Outlets(self.spool(worker), self.folder / f"{worker}.uncounted")

    def orders(self, *lanes: int) -> dict[int, RoundOrder]:
        """The orders of workers with so many lanes each."""
        total = sum(lanes)
        return {
            worker: RoundOrder(lanes=count, sessions=total, concurrency=total, outlets=self.outlets(worker))
            for worker, count in enumerate(lanes)
        }

    def rows(self, worker: int) -> list[Timeline]:
        """What a worker wrote down."""
        return list(Spooled([self.spool(worker)], from_row))

    def watch(self, look: Callable[[], bool] = lambda: False) -> Watch:
        """A parent that asks `look` whether to stop, and gives up a round that does not end."""
        deadline_ns = now_ns() + TIMEOUT_NS

        def tick() -> None:
            assert now_ns() < deadline_ns, "the round does not come to its end"

        return Watch(tick=tick, stop_asked=look, wake_fd=self.wake_fd)

    def is_stuck(self) -> bool:
        """Whether only requests without end are left."""
        board = self.shared.board
        return board.total(Column.SENT) - board.total(Column.DONE) == len(self.endless) and not self.left()

    def left(self) -> int:
        """How many tickets nobody has drawn."""
        return len(self.quick) + len(self.endless) - len([*self.shared.tickets.drawn()])


@pytest.fixture(scope="session")
def mock_url() -> Iterator[str]:
    with running_mock() as mock:
        yield mock.url


@pytest.fixture
def wake_fd() -> Iterator[int]:
    fd = os.eventfd(0, os.EFD_NONBLOCK)
    yield fd
    os.close(fd)


@pytest.fixture
def alone() -> None:
    """Nothing may fork beside other threads: waits for idle ones that earlier tests have left to end."""
    for thread in threading.enumerate():
        if thread is not threading.current_thread():
            thread.join(TIMEOUT_NS / 1e9)


@pytest.fixture
def ground(mock_url: str, alone: None, tmp_path: Path, wake_fd: int) -> Iterator[Ground]:
    """Two workers' ground: six requests that end at once, laid out before two that do not."""
    api = APIS["chat"]
    client = Client(
        template=make_template(mock_url, {"content-type": "application/json"}, TIMEOUT_NS),
        route=find_route(mock_url, Wishes()).route,
        api=api,
        kernel_stamps=False,
    )
    writer = BodyWriter()
    tickets = [
        writer.add(
            Prepared(index, None, 1, api.encode([{"role": "user", "content": f"{index} bottles"}], options, None))
        )
        for index, options in enumerate([QUICK] * 6 + [ENDLESS] * 2)
    ]
    shared = Shared(writer.finish(), Tickets(), Board(2))
    shared.tickets.lay_out(tickets)
    yield Ground(client, shared, tickets[:6], tickets[6:], tmp_path, wake_fd)
    shared.tickets.close()
    shared.bodies.close()
