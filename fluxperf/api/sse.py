"""`SseDecoder`: bytes of an event stream in, the data of its events out. Sans-IO; what the data mean is not its job.

By the WHATWG rules (HTML standard, 9.2.6 "Interpreting an event stream"), with one difference: an
event that the stream ends in the middle of is given by `finish`, where a browser would drop it,
because servers close the connection after the last chunk without the blank line. Only `data` is
kept: `event`, `id` and `retry` are for reconnecting browsers, and no answer needs them.
"""

from __future__ import annotations

MAX_EVENT_BYTES = 16 * 1024 * 1024

_BOM = b"\xef\xbb\xbf"
_LINE_ENDS = (b"", b"\n", b"\r")


class EventTooLong(ValueError):
    """An unfinished line or event exceeds the bound. The decoder cannot be used after it."""


class SseDecoder:
    """Decodes one event stream in linear time, holding back at most `max_event_bytes` of unfinished event.

    Lines are cut by `bytes.splitlines`: it knows the three line ends of the standard (CR, LF, CRLF)
    and no other, so that U+2028 within JSON is left alone.
    """

    __slots__ = ("_after_cr", "_at_rest", "_data_bytes", "_data_lines", "_first_line", "_line", "_max_event_bytes")

    def __init__(self, max_event_bytes: int = MAX_EVENT_BYTES) -> None:
        self._max_event_bytes = max_event_bytes
        self._line = bytearray()  # the unfinished line: it has no line end in it, so it is never scanned again
        self._data_lines: list[bytes] = []  # the values of the unfinished event's data lines
        self._data_bytes = 0  # the length of those lines, field names included
        self._after_cr = False  # an LF that comes next belongs to the line end already seen
        self._first_line = True  # no line is complete yet: a byte order mark may stand before it
        self._at_rest = False  # between two events: nothing of the above can change the next one

    def feed(self, data: bytes) -> list[bytes]:
        """The data of each event that `data` completes, several data lines joined by LF. Raises EventTooLong."""
        lines = data.splitlines()
        # By far most reads are one whole event.
        if (
            self._at_rest
            and len(lines) == 2
            and not lines[1]
            and lines[0].startswith(b"data: ")
            and len(lines[0]) <= self._max_event_bytes
        ):
            return [lines[0][6:]]
        if self._after_cr and data.startswith(b"\n"):
            del lines[0]
        return self._feed_lines(lines, data[-1:])

    def finish(self) -> list[bytes]:
        """The data of the event that the stream ended in, which may be cut short; none if there is no such event."""
        unfinished = bytes(self._line)
        self._line.clear()
        return self._interpret([unfinished, b""])

    def _feed_lines(self, lines: list[bytes], last_byte: bytes) -> list[bytes]:
        """`lines` of one read, without their ends; the last is unfinished unless `last_byte` ends it."""
        rest = b"" if last_byte in _LINE_ENDS else lines.pop()
        if lines and self._line:
            self._line += lines[0]
            lines[0] = bytes(self._line)
            self._line.clear()
        events = self._interpret(lines)
        self._line += rest
        if self._data_bytes + len(self._line) > self._max_event_bytes:
            raise self._too_long()
        if last_byte:
            self._after_cr = last_byte == b"\r"
        # A CR before does not matter here: its LF would be one more blank line, which says nothing.
        self._at_rest = not (self._line or self._data_lines or self._first_line)
        return events

    def _interpret(self, lines: list[bytes]) -> list[bytes]:
        """The events that whole `lines` complete."""
        if self._first_line and lines:
            self._first_line = False
            lines[0] = lines[0].removeprefix(_BOM)
        events = []
        data_lines = self._data_lines
        for line in lines:
            if line.startswith(b"data: "):
                data_lines.append(line[6:])
                self._data_bytes += len(line)
            elif line.startswith(b"data:") or line == b"data":
                data_lines.append(line[5:])
                self._data_bytes += len(line)
            elif not line and data_lines:
                if self._data_bytes > self._max_event_bytes:
                    raise self._too_long()
                events.append(data_lines[0] if len(data_lines) == 1 else b"\n".join(data_lines))
                data_lines.clear()
                self._data_bytes = 0
        return events

    def _too_long(self) -> EventTooLong:
        return EventTooLong(f"an event of the stream is longer than {self._max_event_bytes} bytes")
