"""`perform`: one request through httpx, from a prepared body to a concluded observer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import httpx

from fluxperf.clock import now_ns
from fluxperf.engine.observer import Observer


@dataclass(frozen=True, slots=True)
class Template:
    """What all requests of a run have in common, made by httpx once: URL and headers."""

    url: httpx.URL
    headers: httpx.Headers
    timeout_ns: int

    def request(self, body: bytes, observer: Observer) -> httpx.Request:
        """A request with this body, whose answer goes to the observer."""
        return httpx.Request(
            "POST",
            self.url,
            headers=self.headers,
            content=body,
            extensions={"sink": observer, "timeout_ns": self.timeout_ns},
        )


def make_template(url: str, headers: Mapping[str, str], timeout_ns: int) -> Template:
    """The template of requests to `url`. Headers come in the order in which they are given."""
    return Template(httpx.URL(url), httpx.Headers(headers), timeout_ns)


async def perform(client: httpx.AsyncClient, request: httpx.Request, observer: Observer) -> None:
    """Sends the request and waits for the end of its answer, whatever that is. Cancelled, it stays `cut_off`."""
    try:
        response = await client.send(request, stream=True)
        await response.aclose()
        # httpx ties the response and its stream into a cycle, which only the collector could free.
        response.stream = httpx.ByteStream(b"")
    except httpx.TransportError as error:
        observer.conclude(error)
    except BaseException:
        observer.timeline.done_ns = now_ns()
        raise
    else:
        observer.conclude(None)
