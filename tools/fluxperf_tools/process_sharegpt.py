"""The command that makes sessions of ShareGPT dumps. What is in a dump is the subpackage `sharegpt`'s business."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fluxperf.errors import UsageError
from fluxperf.meter import track
from fluxperf.plan.tokens import load_tokens
from fluxperf_tools.command import complain, parse, read_number, run
from fluxperf_tools.originals import spare_file, spare_files
from fluxperf_tools.reading import SUFFIXES, find_files
from fluxperf_tools.sharegpt.account import Sent, account_of_cleaning, account_of_entries, account_of_output
from fluxperf_tools.sharegpt.gathering import Gathered, Limits, gather
from fluxperf_tools.sharegpt.pool import Choice, Pool
from fluxperf_tools.summary import say
from fluxperf_tools.writing import check_output, write_jsonl

USAGE = """Makes sessions for FluxPerf of ShareGPT dumps.

Usage:
  process_sharegpt.py [options] INPUT OUTPUT
  process_sharegpt.py (-h | --help)
  process_sharegpt.py --version

INPUT is a dump (a JSON array, {"data": [...]}, JSONL, parquet, or a zip of these), or a directory
that is searched for dumps. OUTPUT gets a line for each session:
{"session_id": "...", "user_messages": ["...", ...], "assistant_messages": ["...", ...]}

Options:
  --max-sessions N    choose N sessions by the seed; with --no-shuffle the first N
  --max-turns N       cut sessions to their first N turns, after --min-turns was asked
  --min-turns N       leave out sessions with fewer turns [default: 1]
  --min-tokens N      leave out sessions whose questions have fewer tokens, taken together
  --max-tokens N      leave out sessions whose questions have more
  --tokenizer NAME    count tokens with it (a folder or file with a tokenizer.json, or a model of
                      the Hugging Face hub) instead of estimating them
  --seed N            what the choice and the order are drawn from [default: 42]
  --no-shuffle        keep the order of the dumps
  --strict            end at the first bad line or entry instead of leaving it out
  --no-clobber        do not replace OUTPUT
  -h --help           show this
  --version           show the version

Exit codes: 0 done, 2 wrong usage or nothing to use, 3 something failed.
"""
# Of what this tool writes; the rows of other people's data have others.
_OWN_KEYS = frozenset({"session_id", "user_messages", "assistant_messages"})


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit code."""
    return run(lambda: _process(sys.argv[1:] if argv is None else argv))


def _process(argv: Sequence[str]) -> int:
    given = parse(USAGE, argv)
    source, output = Path(given["INPUT"]), Path(given["OUTPUT"])
    most, seed = read_number(given, "--max-sessions", 1), read_number(given, "--seed") or 0
    choice = Choice(most, seed, shuffle=not given["--no-shuffle"])
    limits = _limits(given)
    check_output(output, given["--no-clobber"])
    sources = find_sources(source, output)
    tokens = load_tokens(given["--tokenizer"], parallel=True)
    sent = Sent(tokens)
    with Pool(_folder_above(output), choice) as pool:
        gathered = gather(sources, pool, limits, tokens, is_strict=given["--strict"])
        _complain_of(gathered)
        say([f"{source}:", *account_of_entries(gathered, pool, limits, choice), *account_of_cleaning(gathered)])
        rows = track(sent.count(pool.rows()), f"Writing {output.name}", len(pool))
        written = write_jsonl(output, rows, no_clobber=given["--no-clobber"])
    say(account_of_output(output, written, sent))
    return 0


def find_sources(source: Path, output: Path) -> list[Path]:
    """The dumps that `source` is or holds. Raises UsageError if there are none, or the only one is the output."""
    if not source.exists():
        raise UsageError(f"{source} is not there: name a dump, or a directory with dumps")
    if not source.is_dir():
        spare_file(source, output)
        return [source]
    found = find_files(source, SUFFIXES)
    if not found:
        raise UsageError(f"{source} holds no dump: no file ends in {', '.join(SUFFIXES)}")
    return spare_files(found, output, _OWN_KEYS)


def _complain_of(gathered: Gathered) -> None:
    for fault in gathered.first_faults:
        complain(f"left out: {fault}")
    if gathered.bad > len(gathered.first_faults):
        complain(f"left out: {gathered.bad - len(gathered.first_faults):,} more")


def _limits(given: Mapping[str, Any]) -> Limits:
    limits = Limits(
        read_number(given, "--min-turns", 1) or 1,
        read_number(given, "--max-turns", 1),
        read_number(given, "--min-tokens", 1),
        read_number(given, "--max-tokens", 1),
    )
    if limits.min_tokens and limits.max_tokens and limits.min_tokens > limits.max_tokens:
        raise UsageError(f"--min-tokens {limits.min_tokens} is above --max-tokens {limits.max_tokens}")
    return limits


def _folder_above(output: Path) -> Path:
    """The nearest folder that is there already: on the same disk as the output, most likely."""
    return next(folder for folder in output.absolute().parents if folder.is_dir())
