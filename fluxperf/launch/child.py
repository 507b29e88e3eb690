"""The worker process: it listens to the parent, runs rounds, reports. When the parent is gone, so is it."""

from __future__ import annotations

import faulthandler
import gc
import os
import signal
import socket
import traceback
from collections.abc import AsyncIterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, NoReturn

import trio

from fluxperf.engine.orders import Client, Outlets, RoundOrder, Shared
from fluxperf.engine.tls import describe
from fluxperf.engine.worker import Worker, open_worker
from fluxperf.launch import messages
from fluxperf.launch.codec import WorkerReport, encode_report
from fluxperf.launch.messages import Message
from fluxperf.launch.signals import SIGNALS
from fluxperf.launch.stall import planned_stall, stand_still

EXIT_INTERNAL = 70  # EX_SOFTWARE of sysexits(3)


def run_child(number: int, pipe: socket.socket, last_words: int, parts: tuple[Client, Shared]) -> NoReturn:
    """What a forked process does until it ends; never returns. `last_words`: the descriptor that becomes its stderr."""
    status = EXIT_INTERNAL
    try:
        # Ctrl-C and a TERM to the whole group reach the parent too, and it says when to stop.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        signal.set_wakeup_fd(-1)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        os.dup2(last_words, 2)
        faulthandler.enable(file=2)
        gc.freeze()
        trio.run(_serve, number, pipe, *parts)
        status = 0
    except BaseException:
        os.write(2, traceback.format_exc().encode("utf-8", "replace"))
    finally:
        os._exit(status)


async def _serve(number: int, pipe: socket.socket, client: Client, shared: Shared) -> None:
    stream = trio.SocketStream(trio.socket.from_stdlib_socket(pipe))
    inbox, orders = trio.open_memory_channel[Message](16)
    async with trio.open_nursery() as nursery, open_worker(number, client, shared) as worker:
        nursery.start_soon(_listen, stream, worker, inbox, nursery.cancel_scope)
        if (stall := planned_stall(number)) is not None:
            nursery.start_soon(stand_still, stall)
        async for message in orders:
            if message.kind == messages.ROUND:
                await _run_round(number, worker, order_from(message.value), (stream, orders))
        nursery.cancel_scope.cancel()


async def _listen(
    stream: trio.SocketStream,
    worker: Worker,
    inbox: trio.MemorySendChannel[Message],
    everything: trio.CancelScope,
) -> None:
    """Stops the round at once when told to, puts other messages in order; ends all when the parent is gone."""
    unpacker = messages.Unpacker()
    async for data in _chunks(stream):
        for message in unpacker.feed(data):
            if message.kind == messages.STOP:
                worker.stop()
            else:
                await inbox.send(message)
    everything.cancel()


async def _chunks(stream: trio.SocketStream) -> AsyncIterator[bytes]:
    try:
        while data := await stream.receive_some():
            yield bytes(data)
    except trio.BrokenResourceError:
        return


async def _run_round(
    number: int,
    worker: Worker,
    order: RoundOrder,
    talk: tuple[trio.SocketStream, trio.MemoryReceiveChannel[Message]],
) -> None:
    stream, orders = talk

    async def start() -> int:
        await stream.send_all(messages.pack(Message(messages.READY)))
        while (message := await orders.receive()).kind != messages.GO:
            pass
        return int(message.value)

    async def await_others() -> None:
        await stream.send_all(messages.pack(Message(messages.OVER)))
        while (await orders.receive()).kind != messages.COUNT:
            pass

    try:
        await worker.warm(order.lanes)
    except (OSError, trio.TooSlowError) as error:
        text = describe(error) if isinstance(error, OSError) else "no answer in time"
        await stream.send_all(messages.pack(Message(messages.UNREACHABLE, text)))
        return
    tally, audit = await worker.run_round(order, start, await_others)
    report = WorkerReport(worker=number, tally=tally, audit=audit)
    await stream.send_all(messages.pack(Message(messages.REPORT, encode_report(report))))


def order_to(order: RoundOrder) -> dict[str, Any]:
    """A RoundOrder as plain values."""
    return {
        **asdict(order),
        "outlets": {name: None if path is None else str(path) for name, path in asdict(order.outlets).items()},
        "replayed": [str(path) for path in order.replayed],
    }


def order_from(values: dict[str, Any]) -> RoundOrder:
    """The RoundOrder that `order_to` gave."""
    outlets: dict[str, Any] = {name: path and Path(path) for name, path in values["outlets"].items()}
    replayed = tuple(map(Path, values["replayed"]))
    return RoundOrder(**{**values, "outlets": Outlets(**outlets), "replayed": replayed})
