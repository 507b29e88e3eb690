"""What engine the server is, and where its counters are: found out by asking, before the first round.

Everything is asked of the server itself, below the path of its API, and where --prometheus-url points.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fluxperf.fetch import Access, Answer, fetch, fetch_moved
from fluxperf.masking import mask_url
from fluxperf.model.cache import Reading
from fluxperf.watch.engines import ENGINES, METRICS_PAGE, Engine, is_read
from fluxperf.watch.exposition import parse
from fluxperf.watch.readings import Identity, Pages, merge_pages, recognise, started_at

TIMEOUT_S = 5.0
_STARTED_HEADER = "process-start-time-unix"  # llama.cpp
_SGLANG_PAGES = ("/get_server_info", "/server_info")
_STREAM = "text/event-stream"
_BROKEN = (500, 502, 503, 504)
_NO_SUCH_PAGE = (404, 405, 410, 501)
_LONGEST_VERSION = 60


@dataclass(frozen=True, slots=True)
class Page:
    """A page of metrics: its URL, and what it takes to read it."""

    url: str
    access: Access


@dataclass(frozen=True, slots=True)
class Known:
    """The server's identity, and the pages that its counters are on.

    `answered`: there are none, though the server has something where they would be.
    """

    identity: Identity
    pages: tuple[Page, ...]
    answered: bool = False

    def read(self) -> Pages:
        """Reads the pages once."""
        return merge_pages([read_page(page)[0] for page in self.pages])


def read_page(page: Page) -> tuple[Pages, Answer]:
    """One page, as far as it is of interest here, and the answer that it came in."""
    answer = fetch(page.url, page.access, timeout_s=TIMEOUT_S)
    return _read(page, answer), answer


def _read(page: Page, answer: Answer) -> Pages:
    if not answer.ok:
        return Pages(None, f"{mask_url(page.url)} {answer.trouble}")
    try:
        scrape = parse(answer.text, answer.came_ns, is_read)
    except ValueError:
        return Pages(None, f"{mask_url(page.url)} is no page of Prometheus metrics")
    return Pages(scrape, started=started_at(scrape, answer.headers.get(_STARTED_HEADER)))


def identify(wanted: str, base: str, access: Access, further: Sequence[Page] = ()) -> Known:
    """The engine that `wanted` names (auto: found out; none: not asked), and the pages that have its counters.

    `base` is the server's URL without the path of the API, `further` are pages that may be another process's.
    """
    if wanted == "none":
        return Known(Identity(None, note="nobody asked the server for its counters (--engine none)"), ())
    beside = [_look(page) for page in further]
    own = _look_around(base, access)
    seen = {engine.name for look in (*beside, *own) for engine in look.engines}
    engine = next((one for one in ENGINES.values() if one.name in seen), None) if wanted == "auto" else ENGINES[wanted]
    if engine is None:
        answered = any(look.answer.status not in _NO_SUCH_PAGE for look in own)
        return Known(_by_other_signs(base, access, own, beside), (), answered)
    version = read_version(base, access) if own[-1].goes_on else None
    if not seen:
        note, reading = _why_none(engine, own, beside)
        return Known(Identity(engine, version, note, reading), (Page(base + engine.page, access),))
    others = " and ".join(one.label for one in ENGINES.values() if one.name in seen)
    no_match = f"--engine {wanted} was given, but the server has the counters of {others}"
    return Known(Identity(engine, version, None if engine.name in seen else no_match), _pages(own, beside))


@dataclass(frozen=True, slots=True)
class _Look:
    """A page as it was found, and the engines whose metrics are on it. `asked`: the URL that led to it."""

    asked: str
    page: Page
    pages: Pages
    answer: Answer
    engines: tuple[Engine, ...]

    @property
    def goes_on(self) -> bool:
        """Whether the server is worth a further question: not if nothing comes, or a stream for whatever is asked."""
        return self.answer.status is not None and not self.answer.headers.get("content-type", "").startswith(_STREAM)

    def is_unread(self, engine: Engine | None) -> bool:
        """Whether there should be counters that could not be read, on a server of that engine (None: nobody knows)."""
        if self.pages.scrape is not None:
            return False
        status = self.answer.status
        return status is None or status in _BROKEN if engine is None else status not in _NO_SUCH_PAGE


def _look(page: Page) -> _Look:
    """Looks at a page, and from then on at where it leads to on the same server."""
    url, answer = fetch_moved(page.url, page.access, timeout_s=TIMEOUT_S)
    found = Page(url, page.access)
    pages = _read(found, answer)
    return _Look(page.url, found, pages, answer, () if pages.scrape is None else recognise(pages.scrape))


def _look_around(base: str, access: Access) -> list[_Look]:
    """The places where engines have their pages, up to the first that one is found at."""
    looks: list[_Look] = []
    for path in dict.fromkeys(engine.page for engine in ENGINES.values()):
        looks.append(_look(Page(base + path, access)))
        if looks[-1].engines or not looks[-1].goes_on:
            break
    return looks


def _pages(own: Sequence[_Look], beside: Sequence[_Look]) -> tuple[Page, ...]:
    """The pages with counters; of those beside the server's own, the ones that add an engine to it."""
    there = {engine.name for look in own for engine in look.engines}
    adding = [look.page for look in beside if any(engine.name not in there for engine in look.engines)]
    return (*adding, *(look.page for look in own if look.engines))


def _by_other_signs(base: str, access: Access, own: Sequence[_Look], beside: Sequence[_Look]) -> Identity:
    """An engine that shows no counters may still say what it is, and then there is advice to give."""
    engine, version = None, None
    if own[0].answer.headers.get("server") == "llama.cpp":
        engine = ENGINES["llamacpp"]
    elif own[-1].goes_on:
        version = read_version(base, access)
        if version is not None:
            engine = ENGINES["vllm"]
        elif any(_has_version(fetch(base + path, access, timeout_s=TIMEOUT_S)) for path in _SGLANG_PAGES):
            engine = ENGINES["sglang"]
    why, reading = _why_none(engine, own, beside)
    looks_like = "" if engine is None else f"it looks like {engine.label}, but "
    return Identity(None, version, looks_like + why, reading, engine)


def _why_none(engine: Engine | None, own: Sequence[_Look], beside: Sequence[_Look]) -> tuple[str, Reading]:
    """Why there are no counters, and in which way: by the page that could not be read, else by where they would be."""
    place = METRICS_PAGE if engine is None else engine.page
    usual = next((look for look in own if look.asked.endswith(place)), own[0])
    broken = [usual] if usual.is_unread(engine) else [look for look in beside if look.is_unread(None)]
    look = broken[0] if broken else usual
    hint = f"; {engine.hint}" if engine is not None and engine.hint else ""
    if look.pages.trouble is not None:
        why = f"the server shows no counters: {look.pages.trouble}"
    else:
        why = f"{mask_url(look.page.url)} has no counters of a prefix cache that FluxPerf knows"
    return why + hint, Reading.UNREADABLE if broken else Reading.ABSENT


def read_version(base: str, access: Access) -> str | None:
    """What GET /version says, as vLLM and TensorRT-LLM have it; None: nothing that can be shown."""
    found = _object(fetch(f"{base}/version", access, timeout_s=TIMEOUT_S)).get("version")
    return found if isinstance(found, str) and found.isprintable() and len(found) <= _LONGEST_VERSION else None


def _has_version(answer: Answer) -> bool:
    return not {"version", "model_path"}.isdisjoint(_object(answer))


def _object(answer: Answer) -> dict[str, Any]:
    """The JSON object that came; empty if it is none."""
    try:
        found = json.loads(answer.body) if answer.ok else None
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
