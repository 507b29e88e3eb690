"""A local HTTP server of the shape of the Hugging Face hub, for real clients: HF_ENDPOINT is its `url`.

It has what huggingface_hub and datasets ask for when they load files: HEAD and GET of
`/datasets/REPO/resolve/REVISION/PATH` (models without `datasets/`), with the headers that the hub
sends, ranges, and its errors with their codes; and the API's revision, tree and dataset pages.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

MAIN = "main"
PARQUET = "refs/convert/parquet"


@dataclass
class Stored:
    """A file on the hub. `breaks` answers with it end half way; a `status` refuses it.

    One that is `large` is elsewhere, as files of Git LFS are: the hub redirects to another host.
    """

    data: bytes
    is_large: bool = False
    breaks: int = 0
    stalls: bool = False
    status: int | None = None
    get_status: int | None = None

    @property
    def etag(self) -> str:
        return hashlib.sha1(self.data).hexdigest()


@dataclass
class Hub:
    """What the server has, and what it was asked for (`GET /path`). A repository is `datasets/owner/name` or a model.

    `moved` leads from one to another, `refuses` gives the status for all of one, `headers` go with each refusal.
    """

    files: dict[tuple[str, str, str], Stored] = field(default_factory=dict)
    moved: dict[str, str] = field(default_factory=dict)
    refuses: dict[str, int] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    has_api: bool = True
    sends_codes: bool = True
    sends_commit: bool = True
    token: str | None = None
    asked: list[str] = field(default_factory=list)
    tokens: list[str | None] = field(default_factory=list)
    url: str = ""
    gate: threading.Event = field(default_factory=threading.Event)

    def add(self, repository: str, path: str, data: bytes, revision: str = MAIN, **how: Any) -> Stored:
        """Puts a file there; `repository` is of datasets if it does not begin with `models/`."""
        name = repository.removeprefix("models/") if repository.startswith("models/") else f"datasets/{repository}"
        stored = self.files[name, revision, path] = Stored(data, **how)
        return stored

    def commit(self, repository: str, revision: str) -> str:
        """The commit that a revision stands for: another for each content."""
        content = "".join(
            f"{path}{one.etag}" for (*of, path), one in sorted(self.files.items()) if of == [repository, revision]
        )
        return hashlib.sha1(f"{repository}@{revision}{content}".encode()).hexdigest()

    def find_revision(self, repository: str, revision: str) -> str | None:
        """The branch of that name, or whose commit it is."""
        known = {of for name, of, _ in self.files if name == repository}
        return next((one for one in known if revision in (one, self.commit(repository, one))), None)


@contextmanager
def serve(hub: Hub) -> Iterator[Hub]:
    """Serves it on a free port of this machine within the block."""
    handler = type("Handler", (_Handler,), {"hub": hub})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=[0.01], daemon=True)
    thread.start()
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield hub
    finally:
        hub.gate.set()
        server.shutdown()
        server.server_close()
        thread.join()


_ELSEWHERE = "/elsewhere/"
_RESOLVE = re.compile(r"/(?P<repository>(?:datasets/)?[^/]+/[^/]+)/resolve/(?P<revision>[^/]+)/(?P<path>.+)")
_API = re.compile(
    r"/api/(?P<kind>datasets|models)/(?P<name>[^/]+/[^/]+)(?:/(?P<what>revision|tree)/(?P<revision>[^/]+))?(?P<rest>/.*)?"
)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub

    def log_message(self, *_: object) -> None: ...

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        path = urlsplit(self.path).path
        self.hub.asked.append(f"{self.command} {unquote(path)}")
        authorization = self.headers.get("Authorization")
        self.hub.tokens.append(authorization)
        if self.hub.token is not None and authorization not in (None, f"Bearer {self.hub.token}"):
            self._refuse(401, "", "Invalid credentials in Authorization header")
        elif path.startswith(_ELSEWHERE):
            stored = next(one for one in self.hub.files.values() if one.etag == path.removeprefix(_ELSEWHERE))
            self._send(stored, None)
        elif found := _RESOLVE.fullmatch(path):
            self._resolve(found["repository"], unquote(found["revision"]), unquote(found["path"]))
        elif (found := _API.fullmatch(path)) and self.hub.has_api:
            self._api(found)
        else:
            self._refuse(404, "", "Sorry, we can't find the page you are looking for.")

    def _resolve(self, repository: str, revision: str, path: str) -> None:
        if self._is_refused(repository):
            return
        branch = self.hub.find_revision(repository, revision)
        if branch is None:
            self._refuse(404, "RevisionNotFound", f"Invalid rev id: {revision}")
            return
        commit = self.hub.commit(repository, branch)
        stored = self.hub.files.get((repository, branch, path))
        if stored is None:
            self._refuse(404, "EntryNotFound", "Entry not found", commit)
        elif stored.status or (stored.get_status and self.command == "GET"):
            self._refuse(stored.status or stored.get_status or 500, "", "as the test wants it", commit)
        elif stored.is_large:
            location = f"{self.hub.url.replace('127.0.0.1', 'localhost')}{_ELSEWHERE}{stored.etag}"
            linked = {"X-Linked-Etag": f'"{stored.etag}"', "X-Linked-Size": str(len(stored.data))}
            self._begin(302, {"Location": location, "X-Repo-Commit": commit, "Content-Length": "0", **linked})
        else:
            self._send(stored, commit)

    def _is_refused(self, repository: str) -> bool:
        """Whether an answer was sent since the repository is elsewhere, refused, or not there."""
        if repository in self.hub.moved:
            target = self.path.replace(repository, self.hub.moved[repository], 1)
            self._begin(307, {"Location": target, "Content-Length": "0"})
        elif repository in self.hub.refuses:
            status = self.hub.refuses[repository]
            self._refuse(status, "GatedRepo" if status == 403 else "", f"status {status}")
        elif repository not in {name for name, _, _ in self.hub.files}:
            self._refuse(401, "RepoNotFound", "Repository not found")
        else:
            return False
        return True

    def _send(self, stored: Stored, commit: str | None) -> None:
        data, status, headers = stored.data, 200, {}
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range") or "")
        if wanted:
            first, last = int(wanted[1]), int(wanted[2] or len(data) - 1)
            headers["Content-Range"] = f"bytes {first}-{last}/{len(data)}"
            data, status = data[first : last + 1], 206
        headers |= {"Content-Length": str(len(data)), "ETag": f'"{stored.etag}"', "Accept-Ranges": "bytes"}
        if commit and self.hub.sends_commit:
            headers["X-Repo-Commit"] = commit
        self._begin(status, headers)
        if self.command == "HEAD":
            return
        if stored.stalls:
            self.hub.gate.wait()
        if stored.breaks:
            stored.breaks -= 1
            data = data[: len(data) // 2]
            self.close_connection = True
        self.wfile.write(data)

    def _api(self, found: re.Match[str]) -> None:
        repository = f"datasets/{found['name']}" if found["kind"] == "datasets" else found["name"]
        if self._is_refused(repository):
            return
        revision = unquote(found["revision"] or MAIN)
        branch = self.hub.find_revision(repository, revision)
        if branch is None:
            self._refuse(404, "RevisionNotFound", f"Invalid rev id: {revision}")
            return
        under = unquote(found["rest"] or "").strip("/")
        stored = {path: one for (*of, path), one in self.hub.files.items() if of == [repository, branch]}
        if found["what"] == "tree":
            shown = [
                {"type": "file", "path": path, "size": len(one.data), "oid": one.etag}
                for path, one in sorted(stored.items())
                if path.startswith(f"{under}/") or not under
            ]
            self._send_json(shown)
        else:
            siblings = [{"rfilename": path} for path in sorted(stored)]
            sha = self.hub.commit(repository, branch)
            self._send_json({"id": found["name"], "sha": sha, "siblings": siblings, "private": False, "tags": []})

    def _send_json(self, value: Any) -> None:
        data = json.dumps(value).encode()
        self._begin(200, {"Content-Type": "application/json", "Content-Length": str(len(data))})
        if self.command == "GET":
            self.wfile.write(data)

    def _refuse(self, status: int, code: str, message: str, commit: str | None = None) -> None:
        headers = dict(self.hub.headers)
        if self.hub.sends_codes:
            headers |= {"X-Error-Message": message} | ({"X-Error-Code": code} if code else {})
        if commit and self.hub.sends_commit:
            headers["X-Repo-Commit"] = commit
        self._begin(status, {**headers, "Content-Length": str(len(message))})
        if self.command == "GET":
            self.wfile.write(message.encode())

    def _begin(self, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
