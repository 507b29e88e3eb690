"""A program that behaves as its words say, one after the other: what the tests start in place of servers and hooks."""

from __future__ import annotations

import http.server
import json
import os
import signal
import sys
from pathlib import Path
from typing import ClassVar


def say(text: str) -> None:
    os.write(1, f"{text}\n".encode())


class Answers(http.server.BaseHTTPRequestHandler):
    """Answers with one status after the other, the last one for ever."""

    statuses: ClassVar = [200]

    def do_GET(self) -> None:
        status = self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name that the base class gives
        say(f"asked for {self.path}")


def serve(port: int, statuses: str) -> None:
    Answers.statuses = [int(status) for status in statuses.split(",")]
    server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Answers)
    say(f"act listening on http://127.0.0.1:{server.server_port}")
    server.serve_forever()


def slip(path: str, *, polite: bool) -> None:
    """A process that leaves the group and the session; it writes that it was asked to end, or ignores it."""

    def say_goodbye(_signum: int, _frame: object) -> None:
        Path(path).write_text("goodbye")
        os._exit(0)

    reader, writer = os.pipe()
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            signal.signal(signal.SIGTERM, say_goodbye if polite else signal.SIG_IGN)
            signal.signal(signal.SIGHUP, signal.SIG_IGN)
            Path(path).write_text(str(os.getpid()))
            os.write(writer, b"x")
            while True:
                signal.pause()
        os._exit(0)
    os.wait()
    os.read(reader, 1)


def flood(megabytes: int) -> None:
    line = b"x" * 99 + b"\n"
    for _ in range(megabytes):
        os.write(1, line * 10_000)


def main(words: list[str]) -> None:
    while words:
        verb = words.pop(0)
        if verb == "say":
            say(words.pop(0))
        elif verb == "exit":
            os._exit(int(words.pop(0)))
        elif verb == "hang":
            while True:
                signal.pause()
        elif verb == "ignore-term":
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        elif verb == "serve":
            serve(int(words.pop(0)), words.pop(0))
        elif verb in ("slip", "slip-politely"):
            slip(words.pop(0), polite=verb == "slip-politely")
        elif verb == "flood":
            flood(int(words.pop(0)))
        elif verb == "read":  # blocks until somebody writes to the pipe of that name
            Path(words.pop(0)).read_bytes()
        elif verb == "facts":
            facts = {
                "environ": dict(os.environ),
                "cwd": str(Path.cwd()),
                "stdin": str(Path("/proc/self/fd/0").readlink()),
            }
            Path(words.pop(0)).write_text(
                json.dumps({**facts, "fds": sorted(path.name for path in Path("/proc/self/fd").iterdir())})
            )
        else:
            raise SystemExit(f"no such verb: {verb}")


if __name__ == "__main__":
    main(sys.argv[1:])
