"""A bar on stderr for what takes longer than a second, if that is a terminal. It knows counts, not what they are of."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, TypeVar

from fluxperf.clock import now_ns
from fluxperf.units import NS_PER_MS, NS_PER_S

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

T = TypeVar("T")
PATIENCE_NS = NS_PER_S
_EVERY_NS = 100 * NS_PER_MS


def track(items: Iterable[T], what: str, total: int | None = None) -> Iterator[T]:
    """The items as they come, counted on a bar; `total` where it is known."""
    with Meter(what, total) as meter:
        for item in items:
            yield item
            meter.advance(1)


@contextlib.contextmanager
def meter(what: str, total_bytes: int | None = None) -> Iterator[Callable[[int], None]]:
    """Gives a function that is told how many more bytes are done."""
    with Meter(what, total_bytes, of_bytes=True) as bar:
        yield bar.advance


class Meter:
    """A count that is shown once it has gone on for a second; a context manager.

    One that is begun while another is shown stays unseen: there is one bar.
    """

    _shown: Meter | None = None

    def __init__(
        self,
        what: str,
        total: int | None = None,
        *,
        of_bytes: bool = False,
        clock: Callable[[], int] = now_ns,
        is_terminal: Callable[[], bool] = lambda: sys.stderr.isatty(),
    ) -> None:
        self._what = what
        self._total = total
        self._of_bytes = of_bytes
        self._clock = clock
        self._is_terminal = is_terminal
        self._done = 0
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        self._next_ns = clock() + PATIENCE_NS

    def advance(self, count: int = 1) -> None:
        """So much more is done."""
        self._done += count
        now = self._clock()
        if now >= self._next_ns:
            self._next_ns = now + _EVERY_NS
            self._show()

    def _show(self) -> None:
        if self._bar is None:
            if Meter._shown is not None or not self._is_terminal():
                return
            Meter._shown = self
            self._bar = _make_bar(self._of_bytes, self._total is not None)
            self._task = self._bar.add_task(self._what, total=self._total, completed=self._done)
            self._bar.start()
        if self._task is not None:
            self._bar.update(self._task, completed=self._done, refresh=True)

    def __enter__(self) -> Meter:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            Meter._shown = None
            self._show()
            self._bar.stop()
            self._bar = None


def _make_bar(of_bytes: bool, has_total: bool) -> Progress:
    from rich import progress
    from rich.console import Console

    count = progress.DownloadColumn() if of_bytes else progress.MofNCompleteColumn()
    columns = [progress.TextColumn("{task.description}"), progress.BarColumn(bar_width=None), count]
    timing = progress.TimeRemainingColumn() if has_total else progress.TimeElapsedColumn()
    # It leaves nothing behind: what was done is in the summary. Without a thread: we say when there is news.
    console = Console(stderr=True)
    return progress.Progress(
        *columns, timing, console=console, transient=True, auto_refresh=False, redirect_stdout=False
    )
