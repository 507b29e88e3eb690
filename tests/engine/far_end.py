"""The server's end of HTTP/2 connections in scripts (see `scripted`): h2 speaks, the script says what and when."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

import trio
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import DataReceived, Event, RequestReceived, StreamEnded, StreamReset
from h2.settings import SettingCodes, Settings
from hyperframe.frame import GoAwayFrame

from tests.engine.scripted import Peer, Request, Script

EVENTS = ("content-type", "text/event-stream")


@dataclass(frozen=True)
class Arrived:
    """A whole request."""

    number: int
    request: Request


class FarEnd:
    """One connection. It reads while it waits for something; `heard` is all that it was told."""

    def __init__(self, peer: Peer, settings: Mapping[SettingCodes, int]) -> None:
        self.peer = peer
        self.h2 = H2Connection(H2Configuration(client_side=False, header_encoding="utf-8"))
        self.h2.local_settings = Settings(client=False, initial_values={**settings})
        self.heard: list[Event] = []
        self.arrived: deque[Arrived] = deque()
        self._mouth = trio.Lock()
        self._heads: dict[int, bytes] = {}
        self._bodies: dict[int, bytearray] = {}

    async def greet(self) -> None:
        """Sends its settings."""
        self.h2.initiate_connection()
        await self.say()

    async def say(self) -> None:
        """Sends what h2 has to say."""
        async with self._mouth:
            data = self.h2.data_to_send()
            if data:
                await self.peer.send(data)

    async def read(self) -> bool:
        """Takes in what came; False: the client has closed."""
        data = await self.peer.stream.receive_some()
        for event in self.h2.receive_data(bytes(data)):
            self._take(event)
        if data:
            await self.say()
        return bool(data)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Reads until the condition holds, or the client has closed."""
        while not condition() and await self.read():
            pass

    async def request(self) -> Arrived | None:
        """The next request, read whole; None: the client has closed."""
        await self.until(lambda: bool(self.arrived))
        return self.arrived.popleft() if self.arrived else None

    async def requests(self, count: int) -> list[Arrived]:
        """The next so many requests."""
        await self.until(lambda: len(self.arrived) >= count)
        return [self.arrived.popleft() for _ in range(count)]

    def _take(self, event: Event) -> None:
        self.heard.append(event)
        number = getattr(event, "stream_id", None) or 0
        if isinstance(event, RequestReceived):
            fields = [(str(name), str(value)) for name, value in event.headers or ()]
            names = dict(fields)
            lines = [f"{names[':method']} {names[':path']} HTTP/2"]
            lines += [f"{name}: {value}" for name, value in fields if not name.startswith(":")]
            self._heads[number] = "\r\n".join(lines).encode()
            self._bodies[number] = bytearray()
        elif isinstance(event, DataReceived):
            self._bodies[number] += event.data or b""
            self.h2.acknowledge_received_data(event.flow_controlled_length or 0, number)
        elif isinstance(event, StreamEnded):
            request = Request(self._heads.pop(number), bytes(self._bodies.pop(number)))
            self.peer.server.requests.append(request)
            self.arrived.append(Arrived(number, request))

    @property
    def resets(self) -> dict[int, ErrorCodes | int | None]:
        """The streams that the client has reset, and why."""
        return {event.stream_id or 0: event.error_code for event in self.heard if isinstance(event, StreamReset)}

    async def begin(self, asked: Arrived, *pieces: bytes, status: int = 200) -> None:
        """An answer without its end."""
        self.h2.send_headers(asked.number, [(":status", str(status)), EVENTS])
        for piece in pieces:
            self.h2.send_data(asked.number, piece)
        await self.say()

    async def answer(self, asked: Arrived, *pieces: bytes, status: int = 200) -> None:
        """A whole answer."""
        await self.begin(asked, *pieces, status=status)
        await self.end(asked)

    async def end(self, asked: Arrived, data: bytes = b"") -> None:
        """The end of an answer."""
        self.h2.send_data(asked.number, data, end_stream=True)
        await self.say()

    async def reset(self, asked: Arrived, code: ErrorCodes) -> None:
        """Breaks an answer off."""
        self.h2.reset_stream(asked.number, code)
        await self.say()

    async def say_goodbye(self, last: int) -> None:
        """GOAWAY; h2's own would be the last that it says."""
        await self.peer.send(goaway(last))


def goaway(last: int, code: int = 0, debug: bytes = b"") -> bytes:
    """A GOAWAY by hand."""
    return GoAwayFrame(last_stream_id=last, error_code=code, additional_data=debug).serialize()


Talk = Callable[[FarEnd], Awaitable[None]]


def http2(talk: Talk, **settings: int) -> Script:
    """A script that greets with these settings and then talks HTTP/2."""

    async def script(peer: Peer) -> None:
        far = FarEnd(peer, {SettingCodes[name]: value for name, value in settings.items()})
        await far.greet()
        await talk(far)

    return script


def answering(*pieces: bytes, status: int = 200) -> Talk:
    """Answers every request alike, when it comes."""

    async def talk(far: FarEnd) -> None:
        while (asked := await far.request()) is not None:
            await far.answer(asked, *pieces, status=status)

    return talk


async def listen(far: FarEnd) -> None:
    """Answers nothing. It ends when the client closes."""
    while await far.read():
        pass
