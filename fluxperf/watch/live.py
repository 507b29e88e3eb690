"""`Block`: progress on a terminal, some lines that are redrawn in place, without a thread of its own."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from typing import IO, TYPE_CHECKING, TextIO, cast

from fluxperf.clock import now_ns
from fluxperf.files import write_stream
from fluxperf.units import NS_PER_S
from fluxperf.watch.counts import LiveCounts
from fluxperf.watch.itinerary import Itinerary, Leg
from fluxperf.watch.view import View
from fluxperf.watch.wording import (
    Facts,
    say_extent,
    say_failures,
    say_load,
    say_requests,
    say_times,
    say_tokens,
    say_wait,
)

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult
    from rich.live import Live

# Lines longer than this are hard to read, and what is no longer than the narrowest terminal survives its narrowing.
WIDEST = 120
WIDE = 100
LEAST_FOR_A_BAR = 60
BAR = 20
INDENT = "  "
# A request of which nothing has come for so long, and for twice as long as p99 of TTFT, stands out.
IDLE_NS = 2 * NS_PER_S
_CLEAR_LINE = "\r\x1b[2K"


class Screen:
    """What rich writes to. A terminal that has gone does not end the run."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self.encoding = getattr(out, "encoding", None) or "ascii"

    def write(self, text: str) -> int:
        """See `TextIO`."""
        write_stream(self._out, text)
        return len(text)

    def flush(self) -> None:
        """What is written is not kept."""


class Lines:
    """Lines with a style each, as rich prints them: nothing is wrapped, highlighted or taken for markup."""

    def __init__(self, lines: Iterable[tuple[str, str]] = ()) -> None:
        self.lines = list(lines)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        from rich.segment import Segment

        for number, (text, style) in enumerate(self.lines):
            if number:
                yield Segment.line()
            yield Segment(text, console.get_style(style) if style else None)


class Block:
    """Beside rounds it shows one line of what is done, which whoever prints something else has to take away first."""

    def __init__(
        self,
        out: TextIO,
        itinerary: Itinerary,
        clock: Callable[[], int] = now_ns,
        measure: Callable[[TextIO], tuple[int, int]] | None = None,
    ) -> None:
        self._out = out
        self._itinerary = itinerary
        self._clock = clock
        self._measure = measure or measure_terminal
        self._console: Console | None = None
        self._live: Live | None = None
        self._view: View | None = None
        self._drawn = Lines()
        self._announced = False

    def announce(self, what: str, *, long: bool = False) -> None:
        """See `Progress`."""
        if self._view is not None:
            self._draw(self._view.announce(what))
            return
        self._announced = True
        # The cursor stays visible: nobody is sure to come back here. Nor is rich loaded, which workers would inherit.
        columns, _ = self._measure(self._out)
        write_stream(self._out, f"{_CLEAR_LINE}{what[: max(columns - 5, 0)]} ...\r")

    def begin(self, leg: Leg, total: int) -> None:
        """See `Progress`."""
        from rich.live import Live

        self.give_way()
        self._view = View(leg, total, self._itinerary, self._clock)
        self._drawn = Lines()
        # stdout is somebody else's, and maybe no terminal. What is written to stderr meanwhile appears above the block.
        self._live = Live(console=self._open(), auto_refresh=False, transient=True, redirect_stdout=False)
        self._live.start()
        self._draw(self._view.facts)

    def show(self, counts: LiveCounts) -> None:
        """See `Progress`."""
        if self._view is not None:
            self._draw(self._view.look(counts))

    def end(self) -> None:
        """See `Progress`."""
        self.give_way()
        live, self._live = self._live, None
        view, self._view = self._view, None
        if view is not None:
            view.end()
        if live is not None:
            self._make_room()
            live.stop()

    def give_way(self) -> None:
        """See `Progress`."""
        if self._announced:
            self._announced = False
            write_stream(self._out, _CLEAR_LINE)

    def _open(self) -> Console:
        """As wide as the terminal is now."""
        from rich.console import Console, ConsoleDimensions

        if self._console is None:
            screen = cast(IO[str], Screen(self._out))
            self._console = Console(file=screen, force_terminal=True, force_interactive=True, highlight=False)
        self._console.size = ConsoleDimensions(*self._measure(self._out))
        return self._console

    def _draw(self, facts: Facts) -> None:
        if self._live is None:
            return
        console = self._open()
        width, height = max(min(console.width - 1, WIDEST), 1), max(console.height - 1, 1)
        lines = list(lay_out(facts, width, unicode=console.encoding.startswith("utf")))[:height]
        lines += [("", "")] * (min(len(self._drawn.lines), height) - len(lines))  # a block that shrinks would jump
        self._make_room()
        self._drawn = Lines(lines)
        self._live.update(self._drawn, refresh=True)

    def _make_room(self) -> None:
        """Clears what a terminal that was made narrower has wrapped: rich counts the lines as they were."""
        from rich.cells import cell_len
        from rich.control import Control
        from rich.segment import ControlType

        console = self._open()
        extra = sum(max(cell_len(text) - 1, 0) // console.width for text, _ in self._drawn.lines)
        if extra and wraps_anew():
            up = ((ControlType.CURSOR_UP, 1), (ControlType.ERASE_IN_LINE, 2))
            console.control(Control(ControlType.CARRIAGE_RETURN, (ControlType.ERASE_IN_LINE, 2), *up * extra))


def measure_terminal(out: TextIO) -> tuple[int, int]:
    """Columns and lines; of one that does not tell, what is usual."""
    try:
        columns, lines = os.get_terminal_size(out.fileno())
    except (OSError, ValueError):
        columns = lines = 0
    return columns or 80, lines or 24


def wraps_anew() -> bool:
    """Whether the terminal wraps its lines anew when it is made narrower. Nearly all do; xterm cuts them off."""
    return "XTERM_VERSION" not in os.environ and os.environ.get("TERM") != "linux"


def lay_out(facts: Facts, width: int, *, unicode: bool = True) -> Iterator[tuple[str, str]]:
    """Lines of at most `width` columns, each with its style; `unicode`: more than ASCII can be shown."""
    yield crop(printable(facts.title), width), "bold"
    bar = f" {draw_bar(facts.counts.over, facts.total, unicode=unicode)}" if width >= LEAST_FOR_A_BAR else ""
    yield from fill((f"{say_extent(facts)}{bar}", *say_times(facts)), width)
    load = (*say_load(facts), *say_tokens(facts.rates))
    if width >= WIDE:
        yield from fill((*load, *say_requests(facts)), width)
    else:  # so that it does not matter how long the numbers are
        yield from fill(load, width)
        yield from fill(say_requests(facts), width)
    if (failures := say_failures(facts.counts.failures)) is not None:
        yield from fill(failures.split(", "), width, "red")
    if facts.wait is not None:
        p99_ns = 0 if facts.counts.ttft_ns is None else facts.counts.ttft_ns[1]
        stands_out = facts.wait.idle_ns >= max(IDLE_NS, 2 * p99_ns)
        yield from fill(say_wait(facts.wait), width, "yellow" if stands_out else "")


def fill(phrases: Iterable[str], width: int, style: str = "") -> Iterator[tuple[str, str]]:
    """Phrases in as few lines as they fit in; none is parted, what is too long for a line is cropped."""
    line = ""
    for phrase in phrases:
        alone = crop(INDENT + phrase, width - 1)  # a comma may follow
        if line and len(line) + len(phrase) + 3 > width:
            yield line + ",", style
            line = alone
        else:
            line = f"{line}, {phrase}" if line else alone
    if line:
        yield line, style


def crop(text: str, width: int) -> str:
    """The text, or what fits of it."""
    from rich.cells import cell_len, set_cell_size

    if cell_len(text) <= width:
        return text
    return set_cell_size(text, max(width - 3, 0)) + "..."[: max(width, 0)]


def printable(text: str) -> str:
    """Without what would move the cursor."""
    return "".join(character if character.isprintable() else "?" for character in text)


def draw_bar(done: int, total: int, *, unicode: bool) -> str:
    """How far it is."""
    full, empty = "█░" if unicode else "#."
    filled = BAR * done // max(total, 1)
    return full * filled + empty * (BAR - filled)
