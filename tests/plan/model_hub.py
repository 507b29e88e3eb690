"""A hub of models on loopback: the answers of the Hugging Face hub to who fetches a single file.

Small files are redirected to a cached copy whose path has the commit in it; what is wrong stands in X-Error-Code.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

COMMIT = "1234567890abcdef1234567890abcdef12345678"
MODELS = {"org/good", "org/gated", "org/bare", "org/broken"}


class ModelHub:
    """`files` are those of org/good, at the revisions main, v1 and their commit. What was asked for is `requests`."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.requests: list[tuple[str, str, str | None]] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    @contextmanager
    def serving(self) -> Iterator[ModelHub]:
        thread = Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            thread.join()
            self._server.server_close()

    def answer(self, path: str) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body for a path without a query."""
        cached = f"/api/resolve-cache/models/org/good/{COMMIT}/"
        if path.startswith(cached):
            return self._file(path.removeprefix(cached))
        name, _, rest = path[1:].partition("/resolve/")
        revision, _, file = rest.partition("/")
        if name not in MODELS:
            return 401, {"X-Error-Code": "RepoNotFound", "X-Error-Message": "Invalid username or password."}, b""
        if name == "org/gated":
            return 403, {"X-Error-Code": "GatedRepo", "X-Error-Message": "Access to model is restricted."}, b""
        if name == "org/broken":
            return 400, {"X-Error-Message": "the hub has a bad day"}, b""
        if revision not in ("main", "v1", COMMIT):
            return 404, {"X-Error-Code": "RevisionNotFound", "X-Error-Message": "Invalid rev id"}, b""
        if name == "org/bare" or file not in self.files:
            return 404, {"X-Error-Code": "EntryNotFound", "X-Error-Message": "Entry not found"}, b""
        return 307, {"Location": f"{cached}{file}", **self._marks(file)}, b""

    def _file(self, name: str) -> tuple[int, dict[str, str], bytes]:
        return 200, self._marks(name), self.files[name]

    def _marks(self, name: str) -> dict[str, str]:
        data = self.files[name]
        etag = f'"{hashlib.sha1(data, usedforsecurity=False).hexdigest()}"'
        return {"X-Repo-Commit": COMMIT, "X-Linked-Size": str(len(data)), "X-Linked-Etag": etag, "ETag": etag}

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_HEAD(self) -> None:
                self._answer(with_body=False)

            def do_GET(self) -> None:
                self._answer(with_body=True)

            def _answer(self, *, with_body: bool) -> None:
                path = self.path.partition("?")[0]
                hub.requests.append((self.command, path, self.headers.get("Authorization")))
                status, headers, body = hub.answer(path)
                self.send_response(status)
                for name, value in (headers | {"Content-Length": str(len(body))}).items():
                    self.send_header(name, value)
                self.end_headers()
                if with_body:
                    self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                """Nothing is said."""

        return Handler
