"""aiohttp on uvloop as a measuring client: what most of them stand on. python -m bench.peer_aiohttp URL 1.1 ..."""

from __future__ import annotations

import asyncio
import sys

import aiohttp
import uvloop

from bench.peer import Load, Record, Timed, Watch


async def run(load: Load, record: Record) -> None:
    """Sends the load."""
    numbers = iter(range(load.requests))
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=None)) as session:

        async def send_in_turn() -> None:
            for number in numbers:
                watch = Watch(record)
                async with session.post(load.url, json=load.body(number)) as response:
                    async for data in response.content.iter_any():
                        watch.feed(data)

        await asyncio.gather(*(send_in_turn() for _ in range(load.streams)))


if __name__ == "__main__":
    asked, seen = Load.from_words(sys.argv[1:]), Record()
    with Timed() as timed:
        uvloop.run(run(asked, seen))
    timed.report(asked, seen)
