"""`Voice`: who is told what. stdout is the report, stderr the log and the progress."""

from __future__ import annotations

import shutil
import sys

from fluxperf.files import write_stream
from fluxperf.meter import Meter
from fluxperf.plan.settings import Settings
from fluxperf.watch.itinerary import Itinerary
from fluxperf.watch.progress import Progress, Silence, choose_progress


class Voice:
    """Quiet, only errors are heard. `itinerary`: the rounds of the run, for the progress."""

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet
        self._progress: Progress = Silence()
        self.itinerary = Itinerary()

    @property
    def columns(self) -> int | None:
        """The width of the terminal on stdout; None: it is none."""
        return shutil.get_terminal_size().columns if sys.stdout.isatty() else None

    def say(self, text: str) -> None:
        """To stderr."""
        if not self._quiet:
            self._progress.give_way()
            write_stream(sys.stderr, f"fluxperf: {text}\n")

    def complain(self, text: str) -> None:
        """To stderr, also if quiet: an error after which the run goes on."""
        self._progress.give_way()
        write_stream(sys.stderr, "".join(f"fluxperf: {line}\n" for line in text.splitlines()))

    def print(self, text: str) -> None:
        """To stdout. A reader that has gone (as with `| head`) does not end the run."""
        if self._quiet or not text:
            return
        self._progress.give_way()
        error = write_stream(sys.stdout, text + "\n")
        if error is not None and not isinstance(error, BrokenPipeError):
            self.say(f"cannot write to stdout ({error.strerror}); the results are in the output directory")

    def meter(self, what: str, total: int, settings: Settings, *, of_bytes: bool = False) -> Meter:
        """A bar for what is done before the rounds, once it takes a while."""
        silent = self._quiet or settings.no_progress
        return Meter(what, total, of_bytes=of_bytes, is_terminal=lambda: not silent and sys.stderr.isatty())

    def progress(self, settings: Settings) -> Progress:
        """How progress is shown: from now on, also what is announced."""
        silent = self._quiet or settings.no_progress
        if silent == isinstance(self._progress, Silence):
            return self._progress
        self.clear()
        self._progress = choose_progress(sys.stderr, self.itinerary, silent=silent)
        return self._progress

    def announce(self, what: str, *, long: bool = False) -> None:
        """What is done now, for those who look on; it is gone with whatever is said or printed next."""
        self._progress.announce(what, long=long)

    def clear(self) -> None:
        """Nothing of what was shown stays on the screen."""
        self._progress.end()
