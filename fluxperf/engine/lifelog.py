"""`LifeLog`: the files of `--debug` and `--debug-verbose`: each request's life in a line, or with every payload."""

from __future__ import annotations

import os
import re
from pathlib import Path

from fluxperf.engine.observer import Observer
from fluxperf.model import Timeline
from fluxperf.units import ns_to_ms, ns_to_s


class LifeLog:
    """Appends a line a finished request to `path`; with `payloads`, also a file a session in the folder of that name.

    Several workers may append to one file: each line is one write. Bodies are written, headers (which
    hold the API key) are not.
    """

    def __init__(self, path: Path, *, payloads: bool) -> None:
        self._path = path
        self._folder = path.with_suffix("") if payloads else None
        if self._folder is not None:
            self._folder.mkdir(parents=True, exist_ok=True)

    def write(self, observer: Observer, body: bytes) -> None:
        """Writes down a request that is over."""
        line = life_line(observer.timeline)
        _append(self._path, line)
        if self._folder is not None:
            name = observer.timeline.session_id or f"index_{observer.timeline.index}"
            path = self._folder / f"{re.sub(r'[^A-Za-z0-9._-]', '_', name)[:100]}.log"
            transcript = observer.transcript
            payloads = (transcript.payloads if transcript else None) or []
            sent_ns = observer.timeline.sent_ns or 0
            events = [
                f"  +{ns_to_ms(at - sent_ns):.3f} ms {data.decode('utf-8', 'replace')}\n" for at, data in payloads
            ]
            _append(path, "".join([line, f"  > {body.decode('utf-8', 'replace')}\n", *events]))


def life_line(request: Timeline) -> str:
    """One line: which request, when it was sent (monotonic, s), and how long after that each thing happened (ms)."""

    def after(stamp_ns: int | None) -> str:
        known = stamp_ns is not None and request.sent_ns is not None
        return f"{ns_to_ms(stamp_ns - request.sent_ns):.3f}" if known else "-"  # type: ignore[operator]

    sent = "-" if request.sent_ns is None else f"{ns_to_s(request.sent_ns):.6f}"
    facts = {
        "index": request.index,
        "session": request.session_id and repr(request.session_id)[1:-1],  # whatever is in it, on one line
        "turn": request.turn,
        "worker": request.worker,
        "connect_ms": f"{ns_to_ms(request.connect_ns):.3f}",
        "sent_s": sent,
        "first_byte_ms": after(request.first_byte_ns),
        "first_output_ms": after(request.first_output_ns),
        "last_output_ms": after(request.last_output_ns),
        "end_ms": after(request.end_ns),
        "events": request.output_events,
        "status": request.status,
        "outcome": request.outcome,
        "resent": request.resent,
    }
    words = [f"{name}={value}" for name, value in facts.items() if value is not None]
    return " ".join(words) + (f" error={request.error!r}" if request.error else "") + "\n"


def _append(path: Path, text: str) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)
    try:
        os.write(fd, text.encode("utf-8", "replace"))
    finally:
        os.close(fd)
