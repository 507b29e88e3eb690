"""Real processes, real sockets and the real engine, against the real mock server."""

from __future__ import annotations

import os
import signal
import socket
import threading
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from fluxperf.clock import now_ns
from fluxperf.engine.connection import Address
from fluxperf.engine.dial import Route
from fluxperf.engine.orders import Outlets
from fluxperf.errors import RunFailed, ServerUnreachable
from fluxperf.launch import fork
from fluxperf.launch.fork import START_DELAY_NS, Death, forked
from fluxperf.model import Outcome

if TYPE_CHECKING:
    from tests.launch.conftest import Ground

SIX_DONE = {Outcome.LENGTH: 6}


def children() -> set[int]:
    tasks = Path("/proc/self/task").iterdir()
    return {int(pid) for task in tasks for pid in (task / "children").read_text().split()}


def sockets(process: int | str = "self") -> set[str]:
    """The sockets that a process holds, by inode."""
    links = {str(fd.readlink()) for fd in Path(f"/proc/{process}/fd").iterdir() if fd.is_symlink()}
    return {link for link in links if link.startswith("socket:")}


def descriptors() -> set[str]:
    return {fd.name for fd in Path("/proc/self/fd").iterdir()}


def ignored_signals(pid: int) -> int:
    fields = dict(line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return int(fields["SigIgn"], 16)


def test_every_worker_reports_and_keeps_its_connections(ground: Ground) -> None:
    with forked(2, ground.client, ground.shared) as team:
        for opened in ([2, 1], [0, 0]):
            ground.shared.tickets.lay_out(ground.quick)
            ground.shared.board.clear()
            gathered = team.run_round(ground.orders(2, 1), ground.watch())
            reports = gathered.reports
            assert {number: report.worker for number, report in reports.items()} == {0: 0, 1: 1}
            assert reports[0].tally.outcomes + reports[1].tally.outcomes == SIX_DONE
            assert [reports[number].audit.opened for number in (0, 1)] == opened
            assert sorted(row.index for number in (0, 1) for row in ground.rows(number)) == [*range(6)]
            assert not gathered.deaths
            assert not gathered.stopped


def test_only_workers_with_an_order_take_part(ground: Ground) -> None:
    ground.shared.tickets.lay_out(ground.quick)
    with forked(2, ground.client, ground.shared) as team:
        gathered = team.run_round(ground.orders(1), ground.watch())
    assert [*gathered.reports] == [0]


def test_all_workers_wait_for_one_instant_that_all_have_heard_of(ground: Ground) -> None:
    ground.shared.tickets.lay_out(ground.quick)
    with forked(2, ground.client, ground.shared) as team:
        begun_ns = now_ns()
        gathered = team.run_round(ground.orders(3, 3), ground.watch())
    for report in gathered.reports.values():
        assert (report.tally.first_sent_ns or 0) >= begun_ns + START_DELAY_NS


def test_a_stop_cuts_off_what_is_in_flight_and_keeps_the_rest(ground: Ground) -> None:
    with forked(2, ground.client, ground.shared) as team:
        gathered = team.run_round(ground.orders(1, 1), ground.watch(ground.is_stuck))
    assert gathered.stopped
    assert not gathered.deaths
    outcomes = gathered.reports[0].tally.outcomes + gathered.reports[1].tally.outcomes
    assert outcomes == SIX_DONE | {Outcome.CUT_OFF: 2}


def test_a_killed_worker_is_named_and_the_other_is_stopped_with_what_it_has(ground: Ground) -> None:
    before = children()
    killed: list[int] = []

    def kill_one_when_stuck() -> bool:
        if not killed and ground.is_stuck():
            killed.append(min(children() - before))
            os.kill(killed[0], signal.SIGKILL)
        return False

    with forked(2, ground.client, ground.shared) as team:
        gathered = team.run_round(ground.orders(1, 1), ground.watch(kill_one_when_stuck))
        with pytest.raises(RunFailed, match="is gone"):
            team.run_round(ground.orders(1, 1), ground.watch())
    (death,) = gathered.deaths
    assert death.pid == killed[0]
    assert str(death) == f"worker {death.worker} (pid {death.pid}) was killed by signal 9 (SIGKILL)"
    ((survivor, report),) = gathered.reports.items()
    assert {survivor, death.worker} == {0, 1}
    assert report.tally.outcomes[Outcome.CUT_OFF] == 1
    finished = [row.index for worker in (0, 1) for row in ground.rows(worker) if row.success]
    assert sorted(finished) == [*range(6)]


def test_a_worker_that_fails_ends_with_status_70_and_its_last_words(ground: Ground) -> None:
    orders = ground.orders(1, 1)
    orders[1] = replace(orders[1], outlets=Outlets(ground.folder / "no such folder" / "rows", ground.folder / "none"))
    with forked(2, ground.client, ground.shared) as team:
        gathered = team.run_round(orders, ground.watch())
    (death,) = gathered.deaths
    assert str(death).startswith(f"worker 1 (pid {death.pid}) ended with exit status 70; its last words:\n")
    assert "No such file or directory" in death.last_words
    assert "no such folder" in death.last_words
    assert [*gathered.reports] == [0]


def test_a_worker_that_died_between_rounds_is_noticed_in_the_next(ground: Ground) -> None:
    before = children()
    with forked(2, ground.client, ground.shared) as team:
        os.kill(max(children() - before), signal.SIGKILL)
        gathered = team.run_round(ground.orders(1, 1), ground.watch())
    assert [death.worker for death in gathered.deaths] == [1]


def test_a_worker_that_does_not_stop_is_killed(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fork, "STOP_TIMEOUT_NS", 0)
    monkeypatch.setattr(fork, "TICK_NS", 1_000_000)
    before = children()
    frozen: list[int] = []

    def freeze_one_when_stuck() -> bool:
        if not frozen and ground.is_stuck():
            frozen.append(min(children() - before))
            os.kill(frozen[0], signal.SIGSTOP)
        return bool(frozen)

    with forked(2, ground.client, ground.shared) as team:
        gathered = team.run_round(ground.orders(1, 1), ground.watch(freeze_one_when_stuck))
    assert frozen[0] in [death.pid for death in gathered.deaths]
    assert not children() - before


def test_a_server_that_refuses_connections_is_named(ground: Ground) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # and does not listen
        client = replace(ground.client, route=Route(Address(socket.AF_INET, unused.getsockname())))
        with (
            forked(2, client, ground.shared) as team,
            pytest.raises(ServerUnreachable, match="connection refused"),
        ):
            team.run_round(ground.orders(1, 1), ground.watch())


def test_a_stop_does_not_wait_for_connections_however_early_it_comes(ground: Ground) -> None:
    with (
        socket.create_server(("127.0.0.1", 0), backlog=0) as full,
        socket.create_connection(full.getsockname()),  # and there is no room for another
    ):
        client = replace(ground.client, route=Route(Address(socket.AF_INET, full.getsockname())))
        with forked(2, client, ground.shared) as team:
            gathered = team.run_round(ground.orders(1, 1), ground.watch(lambda: True))
    assert gathered.stopped
    assert not gathered.deaths
    assert gathered.reports.keys() == {0, 1}


def test_workers_ignore_what_a_terminal_sends(ground: Ground) -> None:
    before = children()
    ground.shared.tickets.lay_out(ground.quick)
    with forked(2, ground.client, ground.shared) as team:
        team.run_round(ground.orders(1, 1), ground.watch())  # now they have set themselves up
        workers = children() - before
        for pid in workers:
            for signum in (signal.SIGINT, signal.SIGTERM):
                assert ignored_signals(pid) & 1 << (signum - 1)
                os.kill(pid, signum)
        ground.shared.tickets.lay_out(ground.quick)
        gathered = team.run_round(ground.orders(1, 1), ground.watch())
    assert len(workers) == 2
    assert gathered.reports.keys() == {0, 1}


def test_no_worker_holds_the_pipe_of_another(ground: Ground) -> None:
    before, held_before = children(), sockets()
    ground.shared.tickets.lay_out(ground.quick)
    with forked(3, ground.client, ground.shared) as team:
        team.run_round(ground.orders(1, 1), ground.watch())
        ours = sockets() - held_before
        assert len(ours) == 3
        seen = set(ours)
        for pid in children() - before:
            theirs = sockets(pid) - held_before
            assert theirs
            assert not theirs & seen
            seen |= theirs


def test_everything_ends_with_the_block_however_that_ends(ground: Ground) -> None:
    before, held_before = children(), descriptors()

    def run() -> None:
        with forked(2, ground.client, ground.shared):
            assert len(children() - before) == 2
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run()
    assert children() == before
    assert descriptors() == held_before


def test_all_can_be_ended_this_instant(ground: Ground) -> None:
    with forked(2, ground.client, ground.shared) as team:
        team.kill()
        gathered = team.run_round(ground.orders(1, 1), ground.watch())
    assert [os.WTERMSIG(death.status) for death in gathered.deaths] == [signal.SIGKILL] * 2


def test_a_second_thread_forbids_the_fork(ground: Ground) -> None:
    before = children()
    over = threading.Event()
    thread = threading.Thread(target=over.wait)
    thread.start()
    try:
        with pytest.raises(RunFailed, match="2 threads before the fork"), forked(2, ground.client, ground.shared):
            pytest.fail("it was not forbidden")
        assert children() == before
    finally:
        over.set()
        thread.join()


@pytest.mark.parametrize(
    ("status", "words", "text"),
    [
        (9, "", "worker 0 (pid 7) was killed by signal 9 (SIGKILL)"),
        (1 << 8, "", "worker 0 (pid 7) ended with exit status 1"),
        (0, "bye", "worker 0 (pid 7) ended with exit status 0; its last words:\nbye"),
        (34, "", "worker 0 (pid 7) was killed by signal 34"),
        (11 | 128, "", "worker 0 (pid 7) was killed by signal 11 (SIGSEGV)"),  # with a core
    ],
)
def test_a_death_says_how(status: int, words: str, text: str) -> None:
    assert str(Death(0, 7, status, words)).startswith(text)
