"""Histogram logs on disk, ours and those of others, as values. What a tag means is not known here."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from fluxperf.errors import UsageError
from fluxperf.model import hdr
from fluxperf.model.hlog import OURS, Exact, Interval, read_exact, read_interval

HLOG_NAME = "histograms.hlog"
_GZIP = b"\x1f\x8b"
_START = re.compile(r"#\[StartTime: *([\d.]+)")
_BASE = re.compile(r"#\[BaseTime: *([\d.]+)")
_END = re.compile(r"#\[End: (\d+) histograms\]")
_LEGENDS = ('"StartTimestamp"', '"Timestamp"', "StartTimestamp", "Timestamp")
_YEAR_S = 365 * 24 * 3600.0


def read_histograms(path: Path) -> dict[str, bytes]:
    """The histograms of a log by tag ("": no tag), each in V2 compressed encoding; several of one tag are added.

    Raises UsageError with file and line where it cannot be understood.
    """
    parts: dict[str, list[hdr.Buckets]] = {}
    for interval in read_log(path):
        parts.setdefault(interval.tag or "", []).append(interval.buckets)
    return {tag: hdr.encode(hdr.add(found)) for tag, found in parts.items()}


def read_log(path: Path) -> list[Interval]:
    """The intervals of a log, or of the `histograms.hlog` in a directory, in its order. Raises UsageError."""
    file = path / HLOG_NAME if path.is_dir() else path
    try:
        data = file.read_bytes()
    except OSError as error:
        raise UsageError(f"{file}: cannot be read: {error.strerror or error}") from None
    if data.startswith(_GZIP):
        raise UsageError(f"{file}: is compressed with gzip: unpack it first (gunzip)")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(f"{file}: is no histogram log: it is not UTF-8 at byte {error.start + 1}") from None
    reading = _Reading(file)
    intervals = list(reading.intervals(text))
    if not intervals and not reading.is_log:
        raise UsageError(f"{file}: is no histogram log: there is no line of one in it")
    if reading.is_ours and reading.promised != len(intervals):
        raise UsageError(f"{file}: was cut short: its end is missing, after {len(intervals)} histograms")
    return intervals


class _Reading:
    """What the lines so far have said about the following ones."""

    def __init__(self, file: Path) -> None:
        self.is_log = False
        self.is_ours = False
        self.promised: int | None = None
        self._file = file
        self._start_s: float | None = None
        self._base_s: float | None = None
        self._exact: Exact | None = None

    def intervals(self, text: str) -> Iterator[Interval]:
        lines = text.split("\n")
        for number, line in enumerate(lines, 1):
            stripped = line.strip()
            if stripped.startswith("#"):
                self._read_comment(stripped)
            elif stripped and not stripped.startswith(_LEGENDS):
                yield self._read_line(stripped, f"{self._file}:{number}", is_last=number == len(lines))
            elif stripped:
                self.is_log = True

    def _read_comment(self, line: str) -> None:
        self.is_log |= line.startswith("#[Histogram log format")
        self.is_ours |= line.startswith(OURS)
        self._exact = read_exact(line)
        if found := _START.match(line):
            self._start_s = _number(found[1])
        elif found := _BASE.match(line):
            self._base_s = _number(found[1])
        elif found := _END.match(line):
            self.promised = int(found[1])

    def _read_line(self, line: str, where: str, *, is_last: bool) -> Interval:
        try:
            interval = read_interval(line, self._base(line), where, self._exact)
        except hdr.NotAHistogram as error:
            hint = ": the file was cut short" if is_last else ""
            raise UsageError(f"{where}: cannot be read as a histogram: {error}{hint}") from None
        self._exact = None
        return interval

    def _base(self, line: str) -> float:
        """What times count from. Without a BaseTime they are absolute, unless they lie more than a year before
        StartTime (so the original's reader).
        """
        if self._base_s is None:
            first = line.split(",")[1 if line.startswith("Tag=") else 0 :][:1]
            at_s = _number(first[0]) if first else None
            start_s = self._start_s or 0.0
            self._base_s = start_s if at_s is not None and at_s < start_s - _YEAR_S else 0.0
        return self._base_s


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
