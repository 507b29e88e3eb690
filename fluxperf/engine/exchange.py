"""`perform`: one request through httpx, from a prepared body to a concluded observer."""

from __future__ import annotations

from collections.abc import Mapping

import httpx

from fluxperf.clock import now_ns
from fluxperf.engine.observer import Observer
from fluxperf.engine.transport import Client

MAX_HEADS = 4096


class Template:
    """What all requests of a run have in common, made by httpx once: URL and headers."""

    __slots__ = ("_first", "_heads", "_timeout_ns")

    def __init__(self, first: httpx.Request, timeout_ns: int) -> None:
        self._first = first
        self._timeout_ns = timeout_ns
        self._heads: dict[int, httpx.Headers] = {}  # by the length of the body, on which they depend

    def request(self, body: bytes, observer: Observer) -> httpx.Request:
        """A request with this body, whose answer goes to the observer."""
        # Given a stream, httpx takes the headers as they are: a fifth of the time that `content=` takes.
        return httpx.Request(
            "POST",
            self._first.url,
            headers=self._heads.get(len(body)) or self._make_head(len(body)),
            stream=httpx.ByteStream(body),
            extensions={"sink": observer, "timeout_ns": self._timeout_ns, "body": body},
        )

    def _make_head(self, length: int) -> httpx.Headers:
        if len(self._heads) >= MAX_HEADS:
            self._heads.clear()
        head = self._heads[length] = httpx.Headers(self._first.headers)
        head["Content-Length"] = str(length)
        return head


def make_template(url: str, headers: Mapping[str, str], timeout_ns: int) -> Template:
    """The template of requests to `url`. Headers come in the order in which they are given.

    A user and password in the URL are sent as Basic authentication, in place of any other.
    """
    first = httpx.Request("POST", url, headers=dict(headers), content=b"{}")
    if first.url.userinfo:
        first = next(httpx.BasicAuth(first.url.username, first.url.password).sync_auth_flow(first))
    return Template(first, timeout_ns)


async def perform(client: Client, request: httpx.Request, observer: Observer) -> None:
    """Sends the request and waits for the end of its answer, whatever that is. Cancelled, it stays `cut_off`."""
    try:
        await client.send(request, stream=True)
    except httpx.TransportError as error:
        observer.conclude(error)
    except BaseException:
        observer.timeline.done_ns = now_ns()
        raise
    else:
        observer.conclude(None)
