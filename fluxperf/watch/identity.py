"""What engine the server is, and where its counters are: found out by asking, before the first round.

Everything is asked of the server itself, below the path of its API, and where --prometheus-url points.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fluxperf.fetch import Access, Answer, fetch
from fluxperf.model.cache import Reading
from fluxperf.watch.engines import ENGINES, METRICS_PAGE, Engine, is_read
from fluxperf.watch.exposition import parse
from fluxperf.watch.readings import Identity, Pages, merge_pages, recognise, started_at

TIMEOUT_S = 5.0
_STARTED_HEADER = "process-start-time-unix"  # llama.cpp
_SGLANG_PAGES = ("/get_server_info", "/server_info")
_STREAM = "text/event-stream"
_BROKEN = (500, 502, 503, 504)


@dataclass(frozen=True, slots=True)
class Page:
    """A page of metrics: its URL, and what it takes to read it."""

    url: str
    access: Access


@dataclass(frozen=True, slots=True)
class Known:
    """The server's identity, and the pages that its counters are on."""

    identity: Identity
    pages: tuple[Page, ...]

    def read(self) -> Pages:
        """Reads the pages once."""
        return merge_pages([read_page(page)[0] for page in self.pages])


def read_page(page: Page) -> tuple[Pages, Answer]:
    """One page, as far as it is of interest here, and the answer that it came in."""
    answer = fetch(page.url, page.access, timeout_s=TIMEOUT_S)
    if not answer.ok:
        return Pages(None, f"{_path(page.url)} {answer.trouble}"), answer
    try:
        scrape = parse(answer.text, answer.came_ns, is_read)
    except ValueError:
        return Pages(None, f"{_path(page.url)} is no page of Prometheus metrics"), answer
    return Pages(scrape, started=started_at(scrape, answer.headers.get(_STARTED_HEADER))), answer


def identify(wanted: str, base: str, access: Access, further: Sequence[Page] = ()) -> Known:
    """The engine that `wanted` names (auto: found out; none: not asked), and the pages that have its counters.

    `base` is the server's URL without the path of the API, `further` are pages that may be another process's.
    """
    if wanted == "none":
        return Known(Identity(None, note="nobody asked the server for its counters (--engine none)"), ())
    looks = [_look(page) for page in further]
    for path in dict.fromkeys(engine.page for engine in ENGINES.values()):
        looks.append(_look(Page(base + path, access)))
        # A server that streams an answer to everything is not asked any further.
        if looks[-1].engine is not None or looks[-1].answer.headers.get("content-type", "").startswith(_STREAM):
            break
    engine = ENGINES[wanted] if wanted != "auto" else _first([look.engine for look in looks])
    own = [look for look in looks[len(further) :] if look.engine is not None]
    theirs = {look.engine for look in own}
    pages = [look.page for look in looks[: len(further)] if look.engine is not None and look.engine not in theirs]
    pages += [look.page for look in own]
    if engine is None:
        return Known(_by_other_signs(base, access, looks), ())
    version = read_version(base, access)
    if not pages:
        return Known(Identity(engine, version, _why_none(engine, looks)), (Page(base + engine.page, access),))
    found = [look.engine for look in looks if look.engine is not None]
    note = None
    if engine not in found:
        note = f"--engine {engine.name} was given, but the page has the counters of {found[0].label}"
    return Known(Identity(engine, version, note), tuple(pages))


@dataclass(frozen=True, slots=True)
class _Look:
    """A page as it was found."""

    page: Page
    pages: Pages
    answer: Answer
    engine: Engine | None


def _look(page: Page) -> _Look:
    pages, answer = read_page(page)
    return _Look(page, pages, answer, None if pages.scrape is None else recognise(pages.scrape))


def _first(engines: Sequence[Engine | None]) -> Engine | None:
    """The one that is first in the table."""
    return next((engine for engine in ENGINES.values() if engine in engines), None)


def _by_other_signs(base: str, access: Access, looks: Sequence[_Look]) -> Identity:
    """An engine that shows no counters may still say what it is, and then there is advice to give."""
    engine, version = None, None
    if any(look.answer.headers.get("server") == "llama.cpp" for look in looks):
        engine = ENGINES["llamacpp"]
    elif (version := read_version(base, access)) is not None:
        engine = ENGINES["vllm"]
    elif any(_has_version(fetch(base + path, access, timeout_s=TIMEOUT_S)) for path in _SGLANG_PAGES):
        engine = ENGINES["sglang"]
    why = _why_none(engine, looks)
    unread = any(look.answer.status is None or look.answer.status in _BROKEN for look in looks)
    looks_like = "" if engine is None else f"it looks like {engine.label}, but "
    return Identity(None, version, looks_like + why, Reading.UNREADABLE if unread else Reading.ABSENT)


def _why_none(engine: Engine | None, looks: Sequence[_Look]) -> str:
    hint = f"; {engine.hint}" if engine is not None and engine.hint else ""
    trouble = next((look.pages.trouble for look in looks if look.pages.scrape is None), None)
    if trouble is not None:
        return f"the server shows no counters: {trouble}{hint}"
    return f"the server's {METRICS_PAGE} has no counters of a prefix cache that FluxPerf knows{hint}"


def read_version(base: str, access: Access) -> str | None:
    """What GET /version says, as vLLM and TensorRT-LLM have it."""
    answer = fetch(f"{base}/version", access, timeout_s=TIMEOUT_S)
    found = _object(answer).get("version")
    return found if isinstance(found, str) else None


def _has_version(answer: Answer) -> bool:
    return not {"version", "model_path"}.isdisjoint(_object(answer))


def _object(answer: Answer) -> dict[str, Any]:
    """The JSON object that came; empty if it is none."""
    try:
        found = json.loads(answer.body) if answer.ok else None
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _path(url: str) -> str:
    return "/" + url.partition("://")[2].partition("/")[2].partition("?")[0]
