"""Examines a dataset as FluxPerf would read it, but to its end: all that is wrong, and what is in it.

Every entry goes through FluxPerf's own reader, so the two cannot disagree. It prints nothing.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from hashlib import blake2b, sha256
from pathlib import Path
from typing import get_args

from fluxperf.errors import DatasetError, UsageError
from fluxperf.plan import workload
from fluxperf.plan.entry import Entry, fingerprint
from fluxperf.plan.forms import Mode, decode_line, read_entry
from fluxperf.plan.tokens import Tokens

_PAIRS_KEPT = 5


@dataclass(frozen=True, slots=True)
class LineFault:
    """What is wrong in a line (from 1; None: the file as a whole)."""

    line: int | None
    what: str


@dataclass(slots=True)
class Repeats:
    """What occurs more than once. `pairs` are the first few: a place, and the one where it was first."""

    count: int = 0
    pairs: list[tuple[int, int]] = field(default_factory=list)
    _places: dict[int, int] = field(default_factory=dict)

    def note(self, digest: bytes, place: int) -> None:
        """Something with this digest is at this place, which is like no place before."""
        first = self._places.setdefault(int.from_bytes(digest[:8]), place)
        if first != place:
            self.count += 1
            if len(self.pairs) < _PAIRS_KEPT:
                self.pairs.append((place, first))


@dataclass(slots=True)
class Faults:
    """How many faults there are, and the first of them: `limit`, or all if that is None."""

    limit: int | None = None
    count: int = 0
    first: list[LineFault] = field(default_factory=list)

    def note(self, line: int | None, what: str) -> None:
        """One more."""
        self.count += 1
        if self.limit is None or len(self.first) < self.limit:
            self.first.append(LineFault(line, what))


@dataclass(slots=True)
class Findings:
    """What was found in a file. `tokens` are those of what `mode` sends of each entry, `turns` its user messages.

    Entries that have a fault are in `entries` only. `elsewhere` is what the other mode would refuse, though
    `mode` does not. Places are lines, or in a document, as its lines tell little, the numbers of entries.
    """

    path: Path
    mode: Mode
    faults: Faults
    elsewhere: Faults = field(default_factory=lambda: Faults(limit=1))
    is_document: bool = False
    entries: int = 0
    forms: Counter[str] = field(default_factory=Counter)
    tokens: array[int] = field(default_factory=lambda: array("Q"))
    turns: array[int] = field(default_factory=lambda: array("Q"))
    longest_bytes: int = 0
    longest_place: int = 0
    duplicates: Repeats = field(default_factory=Repeats)
    session_ids: Repeats = field(default_factory=Repeats)


def examine(path: Path, mode: Mode, tokens: Tokens, limit: int | None, advance: Callable[[int], None]) -> Findings:
    """Everything about the file; the first `limit` faults (None: all). `advance` is told the bytes that are done.

    Memory grows by some 200 bytes an entry, not with their length; but a JSON array is held whole, as
    FluxPerf does. Raises UsageError if the file cannot be read.
    """
    findings = Findings(path, mode, Faults(limit))
    try:
        with ExitStack() as stack:
            file = stack.enter_context(workload.open_seekable(path, stack))
            for piece in workload.pieces(path, file, sha256()):
                advance(len(piece.data))
                _examine_piece(findings, piece, tokens)
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror or error}") from None
    except DatasetError as error:  # of a document as a whole
        line, _, what = str(error).removeprefix(f"{path}:").partition(": ")
        findings.faults.note(int(line), what)
    if not findings.entries and not findings.faults.count:
        findings.faults.note(None, "no entries: give a file with one prompt or session a line")
    return findings


def _examine_piece(findings: Findings, piece: workload.Piece, tokens: Tokens) -> None:
    index = findings.entries
    findings.entries += 1
    findings.is_document = bool(piece.label)
    place = findings.entries if findings.is_document else piece.line
    size_bytes = len(piece.data.rstrip(b"\r\n"))
    if size_bytes > findings.longest_bytes:
        findings.longest_bytes, findings.longest_place = size_bytes, place
    try:
        entry = read_entry(piece.data, index, findings.mode)
    except DatasetError as error:
        findings.faults.note(piece.line, f"{piece.label}{error}")
        return
    line = decode_line(piece.data)
    form = "a string" if isinstance(line, str) else line.form or ""
    findings.forms[form] += 1
    session = entry
    for mode in get_args(Mode) if form not in ("a string", "prompt", "text") else ():
        try:
            other = entry if mode == findings.mode else read_entry(piece.data, index, mode)
            session = other if mode == "multi_turn" else session
        except DatasetError as error:
            findings.elsewhere.note(piece.line, f"{piece.label}{error}")
    findings.turns.append(len(session.turns))
    findings.tokens.append(_count_tokens(entry, tokens))
    findings.duplicates.note(fingerprint(entry), place)
    if entry.session_id is not None:
        findings.session_ids.note(blake2b(entry.session_id.encode(), digest_size=8).digest(), place)


def _count_tokens(entry: Entry, tokens: Tokens) -> int:
    texts = [message["content"] for turn in entry.turns for message in turn if message["content"]]
    return sum(tokens.count_all(texts))
