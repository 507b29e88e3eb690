"""Live progress on stderr. It is shown counts and knows nothing of where they come from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TextIO

from fluxperf.clock import now_ns
from fluxperf.files import write_stream
from fluxperf.units import NS_PER_S, ns_to_ms, ns_to_s

PLAIN_LINE_EVERY_NS = 10 * NS_PER_S
WIDTH_FOR_A_BAR = 110


@dataclass(frozen=True, slots=True)
class LiveCounts:
    """Sums over all workers since the start of the round."""

    sent: int
    done: int
    failed: int
    output_tokens: int
    ttft_ns_sum: int
    succeeded: int
    not_sent: int = 0

    @property
    def over(self) -> int:
        """Requests that nobody waits for any more."""
        return self.done + self.not_sent

    @property
    def in_flight(self) -> int:
        """Requests that were sent and are not over."""
        return self.sent - self.done

    def describe(self, elapsed_ns: int) -> str:
        """The counts in a few words."""
        words = [f"{self.in_flight} in flight"]
        if self.succeeded:
            words.append(f"{self.output_tokens / max(ns_to_s(elapsed_ns), 1e-9):,.0f} tok/s")
            words.append(f"TTFT {ns_to_ms(self.ttft_ns_sum / self.succeeded):,.1f} ms")
        if self.failed:
            words.append(f"{self.failed} failed")
        return ", ".join(words)


class Progress(Protocol):
    """Shows how far a round is."""

    def begin(self, title: str, total: int) -> None:
        """A round of `total` requests starts."""

    def show(self, counts: LiveCounts) -> None:
        """So far it is here."""

    def end(self) -> None:
        """The round is over."""


class Silence:
    """No progress."""

    def begin(self, title: str, total: int) -> None:
        """See `Progress`."""

    def show(self, counts: LiveCounts) -> None:
        """See `Progress`."""

    def end(self) -> None:
        """See `Progress`."""


class PlainLines:
    """For logs: a line at the start and now and then."""

    def __init__(self, out: TextIO, clock: Callable[[], int] = now_ns) -> None:
        self._out = out
        self._clock = clock
        self._title = ""
        self._total = 0
        self._begun_ns = self._said_ns = 0

    def begin(self, title: str, total: int) -> None:
        """See `Progress`."""
        self._title, self._total = title, total
        self._begun_ns = self._said_ns = self._clock()
        self._say(f"{title}: {total} requests")

    def show(self, counts: LiveCounts) -> None:
        """See `Progress`."""
        now = self._clock()
        if now - self._said_ns >= PLAIN_LINE_EVERY_NS:
            self._said_ns = now
            self._say(f"{self._title}: {counts.over}/{self._total}, {counts.describe(now - self._begun_ns)}")

    def end(self) -> None:
        """See `Progress`."""

    def _say(self, line: str) -> None:
        write_stream(self._out, line + "\n")


class Bar:
    """For terminals: one line that is redrawn in place, without a thread of its own."""

    def __init__(self, out: TextIO, clock: Callable[[], int] = now_ns) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, ProgressColumn, TextColumn, TimeElapsedColumn
        from rich.progress import Progress as RichProgress
        from rich.table import Column

        self._clock = clock
        self._begun_ns = 0
        console = Console(file=out)
        columns: list[ProgressColumn] = [
            TextColumn("{task.description}", table_column=Column(no_wrap=True, min_width=8)),
            MofNCompleteColumn(table_column=Column(no_wrap=True, min_width=9)),
            TimeElapsedColumn(table_column=Column(no_wrap=True, min_width=7)),
            TextColumn("{task.fields[counts]}", table_column=Column(no_wrap=True)),
        ]
        if console.width >= WIDTH_FOR_A_BAR:
            columns.insert(1, BarColumn(bar_width=20))
        self._rich = RichProgress(*columns, console=console, auto_refresh=False, transient=True)
        self._task = self._rich.add_task("", counts="", visible=False)

    def begin(self, title: str, total: int) -> None:
        """See `Progress`."""
        self._begun_ns = self._clock()
        self._rich.reset(self._task, description=title, total=total, counts="", visible=True)
        self._rich.start()
        self._rich.refresh()

    def show(self, counts: LiveCounts) -> None:
        """See `Progress`."""
        self._rich.update(self._task, completed=counts.over, counts=counts.describe(self._clock() - self._begun_ns))
        self._rich.refresh()

    def end(self) -> None:
        """See `Progress`."""
        self._rich.stop()


def choose_progress(out: TextIO, *, silent: bool) -> Progress:
    """A bar on a terminal, plain lines elsewhere, nothing if asked."""
    if silent:
        return Silence()
    return Bar(out) if out.isatty() else PlainLines(out)
