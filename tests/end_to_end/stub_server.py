"""A program in the place of an LLM server: it behaves as the words of a file say, and notes what happens to it.

    python -I -S stub_server.py PLACE PORT

PLACE/mood, or the variable STUB_MOOD, has words with commas between them:

    fail       says 40 lines and ends with status 5, before it listens
    deaf       never listens
    mute       listens, and answers nothing, not even who it is
    die=N      ends with status 7 instead of answering the Nth request (from 1)
    hold=N     begins an answer to the Nth request and each after it, and does not end it
    stubborn   ignores SIGTERM
    breed      has a child and a grandchild, each in a session of its own, that ignore SIGTERM
    flood      says 4 MB before it listens
    twin       leaves the work to a child, so that connections stay when it dies itself

It appends a line of JSON to PLACE/starts for each start (pid, environ) and to PLACE/posts for each request (pid, body).
"""

from __future__ import annotations

import http.server
import json
import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any

WORDS = ("one", "two")
FLOOD_BYTES = 4 << 20


def say(text: str) -> None:
    os.write(1, f"{text}\n".encode())


def note(path: Path, **facts: Any) -> None:
    """One line, in one write, so that no reader sees half of it."""
    with path.open("ab", buffering=0) as file:
        file.write(json.dumps(facts).encode() + b"\n")


def breed() -> None:
    """Two processes that nobody waits for, out of the group and the session, that ignore what asks them to end."""
    if os.fork():
        return
    os.setsid()
    if not os.fork():
        os.setsid()
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    while True:
        signal.pause()


class Stub(http.server.ThreadingHTTPServer):
    """The server with its mood."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, place: Path, port: int, mood: dict[str, str]) -> None:
        super().__init__(("127.0.0.1", port), Exchange)
        self.place = place
        self.mood = mood
        self.lock = threading.Lock()
        self.taken = 0

    def take(self, body: Any) -> int:
        """Notes a request; its number, from 1."""
        with self.lock:
            self.taken += 1
            note(self.place / "posts", pid=os.getpid(), body=body)
            return self.taken

    def reaches(self, word: str, number: int) -> bool:
        return word in self.mood and number >= int(self.mood[word])


class Exchange(http.server.BaseHTTPRequestHandler):
    """What one client asks for."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Stub

    def do_GET(self) -> None:
        if "mute" in self.server.mood:
            while True:
                signal.pause()
        found = self.path == "/v1/models"
        body = json.dumps({"data": [{"id": "stub"}]}) if found else "there is no such page"
        self.answer(200 if found else 404, "application/json", body.encode())

    def do_POST(self) -> None:
        number = self.server.take(json.loads(self.rfile.read(int(self.headers["content-length"]))))
        if self.server.reaches("die", number):
            say("out of memory, says the stub")
            os._exit(7)
        chunks: list[Any] = [{"choices": [{"index": 0, "delta": {"content": word}}]} for word in WORDS]
        if self.server.reaches("hold", number):
            self.begin("text/event-stream", 99_999, f"data: {json.dumps(chunks[0])}\n\n".encode())
            threading.Event().wait()
        usage = {"prompt_tokens": 10, "completion_tokens": len(WORDS)}
        chunks.append({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}], "usage": usage})
        events = "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks)
        self.answer(200, "text/event-stream", f"{events}data: [DONE]\n\n".encode())

    def answer(self, status: int, content_type: str, body: bytes) -> None:
        self.begin(content_type, len(body), body, status)

    def begin(self, content_type: str, length: int, body: bytes, status: int = 200) -> None:
        head = f"HTTP/1.1 {status} -\r\ncontent-type: {content_type}\r\ncontent-length: {length}\r\n\r\n"
        self.wfile.write(head.encode() + body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class has this name
        """Says nothing."""


def main(place: Path, port: int) -> None:
    try:
        text = (place / "mood").read_text()
    except FileNotFoundError:
        text = os.environ.get("STUB_MOOD", "")
    pairs = (word.partition("=") for word in text.strip().split(",") if word)
    mood = {word: value for word, _, value in pairs}
    if "stubborn" in mood:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if "breed" in mood:
        breed()
    note(place / "starts", pid=os.getpid(), environ=dict(os.environ))
    if "fail" in mood:
        for number in range(40):
            say(f"loading part {number}")
        sys.exit(5)
    if "flood" in mood:
        os.write(1, (b"x" * 99 + b"\n") * (FLOOD_BYTES // 100))
    while "deaf" in mood:
        signal.pause()
    server = Stub(place, port, mood)
    while "twin" in mood and os.fork():
        signal.pause()
    server.serve_forever()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
