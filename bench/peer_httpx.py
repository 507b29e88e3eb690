"""httpx on trio, both as they come, as a measuring client. python -m bench.peer_httpx URL 1.1|2 ..."""

from __future__ import annotations

import sys

import httpx
import trio

from bench.peer import Load, Record, Timed, Watch


async def run(load: Load, record: Record) -> None:
    """Sends the load."""
    numbers = iter(range(load.requests))
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
    h2 = load.http == "2"
    async with httpx.AsyncClient(http1=not h2, http2=h2, limits=limits, timeout=None, trust_env=False) as client:

        async def send_in_turn() -> None:
            for number in numbers:
                watch = Watch(record)
                async with client.stream("POST", load.url, json=load.body(number)) as response:
                    async for data in response.aiter_raw():
                        watch.feed(data)

        async with trio.open_nursery() as nursery:
            for _ in range(load.streams):
                nursery.start_soon(send_in_turn)


if __name__ == "__main__":
    asked, seen = Load.from_words(sys.argv[1:]), Record()
    with Timed() as timed:
        trio.run(run, asked, seen)
    timed.report(asked, seen)
