"""`fluxperf report`: pages of stored results, or their tables on the terminal; and the sums of histogram logs."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from fluxperf.errors import UsageError
from fluxperf.files import write_stream, write_whole
from fluxperf.words import parse

COMMAND = "fluxperf report"
USAGE = """Makes report.html again from stored results, or one page of several runs laid over each other.

Usage:
  fluxperf report [options] DIR...
  fluxperf report (-h | --help)

DIR is the --output-dir of a run. Of one run the page is DIR/report.html; a recipe's stages get
theirs, too. Of several it is report.html in the current directory. The page holds all it needs and
asks for nothing from anywhere. It takes the Python package bokeh: pip install 'fluxperf[report]'.

Histogram logs (*.hlog, FluxPerf's or those of other tools) in the place of directories are added
up, tag by tag, as those of several hosts that measured together, and printed as a table.

Options:
  --output FILE   Where the page goes; of histogram logs, where the log of their sums goes
  --text          Print the tables, the comparison and the answer as the run did, and make no page
                  unless --output is given
  --as TOOL       Print the figures by the definitions of another tool, such as vllm or aiperf; the
                  same holds
  --quiet         Do not say where the page is
  -h --help       Show this

Exit codes: 0 done, 2 wrong usage or no results that can be read, 3 the page cannot be written.
"""
LOG = ".hlog"


@dataclass(frozen=True, slots=True)
class _Asked:
    paths: tuple[Path, ...]
    output: Path | None
    text: bool
    lens: str | None
    quiet: bool

    @property
    def only_prints(self) -> bool:
        """Whether no page is wanted."""
        return (self.text or self.lens is not None) and self.output is None


def main(words: Sequence[str]) -> int:
    """Runs `fluxperf report` with the words after `report`; returns the exit code. Raises FluxPerfError."""
    if "--help" in words or "-h" in words:
        write_stream(sys.stdout, USAGE)
        return 0
    asked = _read(words)
    logs = [path for path in asked.paths if path.suffix == LOG]
    if logs and len(logs) < len(asked.paths):
        raise UsageError(
            f"directories and histogram logs cannot be mixed: {logs[0]} is one\n{COMMAND} --help tells more"
        )
    if logs:
        _merge(asked)
    else:
        _report(asked)
    return 0


def _read(words: Sequence[str]) -> _Asked:
    given = parse(USAGE, ["report", *words], COMMAND)
    paths = tuple(Path(name) for name in given["DIR"])
    output = None if given["--output"] is None else Path(given["--output"])
    if output is not None and output.is_dir():
        raise UsageError(f"--output {output} is a directory: name a file, such as {output / 'report.html'}")
    if output is not None and not output.absolute().parent.is_dir():
        raise UsageError(f"--output {output}: there is no directory {output.parent}: make it first")
    return _Asked(paths, output, given["--text"], given["--as"], given["--quiet"])


def _report(asked: _Asked) -> None:
    from fluxperf.stored import read_run

    if asked.text or asked.lens is not None:
        for path in asked.paths:
            _print_run(path, asked)
    if asked.only_prints:
        return
    from fluxperf.presentation.page import NAME, check_library, write_page

    check_library()
    if len(asked.paths) > 1 or asked.output is not None:
        _write(asked, asked.paths, asked.output or Path(NAME))
        return
    directory = asked.paths[0] if asked.paths[0].is_dir() else asked.paths[0].parent
    for stage in read_run(asked.paths[0]).stages:
        if (directory / stage.folder / "run.json").is_file():
            write_page([directory / stage.folder], directory / stage.folder / NAME)
    _write(asked, asked.paths, directory / NAME)


def _write(asked: _Asked, paths: Sequence[Path], output: Path) -> None:
    from fluxperf.presentation.page import write_page

    write_page(paths, output)
    if not asked.quiet:
        write_stream(sys.stderr, f"fluxperf: the page: {output}\n")


def _print_run(path: Path, asked: _Asked) -> None:
    from fluxperf.presentation.text import render_run
    from fluxperf.stored import read_run

    run = read_run(path)
    if len(asked.paths) > 1:
        _print([f"Results: {path}"])
    if asked.text:
        _print(render_run(run, _columns()))
    if asked.lens is not None:
        from fluxperf.analysis.lens import apply_lens
        from fluxperf.report.lens import render_lens

        _print([render_lens(apply_lens(asked.lens, run), _columns())])


def _merge(asked: _Asked) -> None:
    """Histogram logs as one, on stdout, and as a log where one is asked for."""
    if asked.text or asked.lens is not None:
        raise UsageError(
            f"--text and --as need the directories of runs, not histogram logs\n{COMMAND} --help tells more"
        )
    from fluxperf.presentation.hlogs import merge_hlogs
    from fluxperf.report.hlog import merged_hlog
    from fluxperf.report.merged import render_merged

    if asked.output is not None and asked.output.exists():
        for path in asked.paths:
            if path.exists() and asked.output.samefile(path):
                raise UsageError(f"--output {asked.output}: is one of the logs that are merged; name another file")
    merged = merge_hlogs(asked.paths)
    _print([render_merged(merged, _columns())])
    if asked.output is not None:
        write_whole(asked.output, merged_hlog(merged))
        if not asked.quiet:
            write_stream(sys.stderr, f"fluxperf: the sums: {asked.output}\n")


def _columns() -> int | None:
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def _print(texts: Iterable[str]) -> None:
    for text in texts:
        write_stream(sys.stdout, f"{text}\n\n")
