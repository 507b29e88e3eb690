from __future__ import annotations

import trio

from fluxperf.clock import now_ns
from fluxperf.engine.attention import Attention
from fluxperf.units import NS_PER_MS
from tests.engine.scripted import in_trio

AWAY_NS = 2 * NS_PER_MS


def be_away() -> int:
    """Keeps the loop from looking; for how long."""
    began_ns = now_ns()
    while now_ns() < began_ns + AWAY_NS:
        pass
    return now_ns() - began_ns


@in_trio
async def test_a_task_that_does_not_let_go_is_noticed() -> None:
    attention = Attention()
    await trio.lowlevel.checkpoint()
    trio.lowlevel.add_instrument(attention)
    await trio.lowlevel.checkpoint()
    attention.take()
    away_ns = be_away()
    for _ in range(3):
        await trio.lowlevel.checkpoint()
    trio.lowlevel.remove_instrument(attention)
    away = attention.take()
    assert away.count >= 3
    assert (away.max or 0) >= away_ns
    assert attention.take().count == 0


@in_trio
async def test_waiting_is_not_being_away() -> None:
    attention = Attention()
    trio.lowlevel.add_instrument(attention)
    event = trio.Event()
    began_ns = now_ns()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.to_thread.run_sync, be_away)
        event.set()
    waited_ns = now_ns() - began_ns
    trio.lowlevel.remove_instrument(attention)
    away = attention.take()
    assert waited_ns >= AWAY_NS
    assert away.sum <= waited_ns - attention.slept_ns


def test_whoever_looks_by_himself_says_so() -> None:
    attention = Attention()
    woke_ns = attention.woke_ns
    attention.looked(woke_ns + 500, woke_ns + 800)
    attention.looked(woke_ns + 900, woke_ns + 950)
    away = attention.take()
    assert (away.count, away.min, away.max) == (2, 100, 500)
    assert (attention.woke_ns, attention.slept_ns) == (woke_ns + 950, 50)


def test_notes_are_counted_each_however_many() -> None:
    attention = Attention()
    at_ns = attention.woke_ns
    for _ in range(10_000):
        attention.looked(at_ns + 10, at_ns + 20)
        at_ns += 20
    assert (attention.take().count, attention.take().count) == (10_000, 0)


def test_a_look_that_does_not_wait_is_no_sleep_however_long_it_takes() -> None:
    attention = Attention()
    for timeout, sleeps in ((0.0, False), (1.0, True), (0.0, False)):
        attention.before_io_wait(timeout)
        took_ns = be_away()
        attention.after_io_wait(timeout)
        assert attention.slept_ns >= took_ns if sleeps else attention.slept_ns == 0
