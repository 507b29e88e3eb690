"""`Record` and `Fault`: what comes out of a file of public data, and the `Place` where it stood. Knows no files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Place:
    """Where something was found. `path` of a zip's member is `data.zip/data/x.jsonl`; `line` and `entry` are from 1."""

    path: str
    line: int | None = None
    entry: int | None = None

    def __str__(self) -> str:
        if self.line is not None:
            return f"{self.path}:{self.line}"
        return self.path if self.entry is None else f"{self.path}: entry {self.entry}"


@dataclass(frozen=True, slots=True)
class Record:
    """A value decoded from JSON, or a row of parquet as an object."""

    value: Any
    place: Place


@dataclass(frozen=True, slots=True)
class Fault:
    """What cannot be read or used, and why: words that go on after the place and a colon."""

    place: Place
    what: str

    def __str__(self) -> str:
        return f"{self.place}: {self.what}"
