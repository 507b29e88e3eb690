"""The command that validates datasets. What is wrong with one is `validation`'s business, how it is said is here."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast, get_args

from fluxperf.errors import UsageError
from fluxperf.meter import meter
from fluxperf.plan.forms import Mode
from fluxperf.plan.tokens import Tokens, load_tokens
from fluxperf_tools.command import parse, run
from fluxperf_tools.summary import align, counted, say, sized
from fluxperf_tools.validation import Findings, Repeats, examine
from fluxperf_tools.validation_figures import spread

USAGE = """Checks whether FluxPerf can read datasets, and says what is in them.

Usage:
  validate_jsonl.py [options] FILE...
  validate_jsonl.py (-h | --help)
  validate_jsonl.py --version

Every entry of each FILE (JSONL, a JSON array, or {"data": [...]}) is read as fluxperf would
read it. Faults are printed as FILE:LINE: WHAT, then a summary.

Options:
  --mode MODE         dual_round or multi_turn: as which mode would send them [default: dual_round]
  --tokenizer NAME    count tokens with it (a folder or file with a tokenizer.json, or a model of
                      the Hugging Face hub) instead of estimating them
  --all               print all faults, not only the first 20
  --json              print what was found as JSON
  -h --help           show this
  --version           show the version

Exit codes: 0 all is well, 1 there are faults, 2 wrong usage or no such file, 3 something failed.
"""
SHOWN = 20


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit code."""
    return run(lambda: _validate(sys.argv[1:] if argv is None else argv))


def _validate(argv: Sequence[str]) -> int:
    given = parse(USAGE, argv)
    mode = cast("Mode", given["--mode"])
    if mode not in get_args(Mode):
        raise UsageError(f"--mode must be {' or '.join(get_args(Mode))}, but is {mode!r}")
    paths = [Path(name) for name in given["FILE"]]
    for path in paths:
        if not path.exists() or path.is_dir():
            raise UsageError(f"{path} is {'a directory' if path.is_dir() else 'not there'}: name a file")
    tokens = load_tokens(given["--tokenizer"], parallel=True)
    reports = []
    faults = 0
    for path in paths:
        with meter(f"Reading {path.name}", path.stat().st_size or None) as advance:
            findings = examine(path, mode, tokens, None if given["--all"] else SHOWN, advance)
        faults += findings.faults.count
        if given["--json"]:
            reports.append(_as_json(findings, tokens))
        else:
            say([*([""] if path is not paths[0] else []), *_lines(findings, tokens)])
    if given["--json"]:
        say([json.dumps(reports, ensure_ascii=False, indent=2)])
    return 1 if faults else 0


def _lines(findings: Findings, tokens: Tokens) -> Iterator[str]:
    """The faults, and the summary of a file."""
    path, faults = findings.path, findings.faults
    for fault in faults.first:
        yield f"{path}{'' if fault.line is None else f':{fault.line}'}: {fault.what}"
    if faults.count > len(faults.first):
        yield f"{path}: and {counted(faults.count - len(faults.first), 'more fault')} (--all shows them)"
    verdict = f"{counted(faults.count, 'fault')}: cannot be read" if faults.count else "well-formed"
    yield f"{path}: {verdict} for --mode {findings.mode}"
    yield from align(list(_table(findings, tokens)))


def _table(findings: Findings, tokens: Tokens) -> Iterator[tuple[str, str]]:
    yield "entries", f"{findings.entries:,}{_forms(findings)}"
    if turns := spread(findings.turns):
        yield "turns of a session", f"{turns}; {turns.total:,} in all"
    if counts := spread(findings.tokens):
        yield "tokens of an entry", f"{counts}"
        yield "", f"{counts.total:,} in all ({_label(tokens)})"
    unit = "entry" if findings.is_document else "line"
    if findings.longest_bytes:
        yield f"longest {unit}", f"{unit} {findings.longest_place:,}, {sized(findings.longest_bytes)}"
    yield from _repeats("duplicates", findings.duplicates, unit, "that sends the same as one before it")
    yield from _repeats("repeated ids", findings.session_ids, unit, "with a session id that was there before")
    if findings.elsewhere.count:
        other = next(mode for mode in get_args(Mode) if mode != findings.mode)
        first = findings.elsewhere.first[0]
        yield f"not for {other}", f"{counted(findings.elsewhere.count, 'entry', 'entries')}, the first:"
        yield "", f"line {first.line}: {first.what}"


def _forms(findings: Findings) -> str:
    forms = ", ".join(f"{count:,} {form}" for form, count in findings.forms.most_common())
    return f" ({forms})" if forms else ""


def _label(tokens: Tokens) -> str:
    return f"by {tokens.name}" if tokens.exact else "estimated"


def _repeats(name: str, repeats: Repeats, unit: str, what: str) -> Iterator[tuple[str, str]]:
    if not repeats.count:
        yield name, "none"
        return
    pairs = ", ".join(f"{place:,} as {first:,}" for place, first in repeats.pairs)
    yield name, f"{counted(repeats.count, 'entry', 'entries')} {what}:"
    yield "", f"{unit} {pairs}{', ...' if repeats.count > len(repeats.pairs) else ''}"


def _as_json(findings: Findings, tokens: Tokens) -> dict[str, Any]:
    turns, counts = spread(findings.turns), spread(findings.tokens)
    return {
        "file": str(findings.path),
        "mode": findings.mode,
        "is_well_formed": not findings.faults.count,
        "faults": findings.faults.count,
        "first_faults": [asdict(fault) for fault in findings.faults.first],
        "faults_of_the_other_mode": findings.elsewhere.count,
        "entries": findings.entries,
        "forms": dict(findings.forms),
        "turns": asdict(turns) if turns else None,
        "tokens": {"counted_by": tokens.name, "is_exact": tokens.exact, **(asdict(counts) if counts else {})},
        "longest_bytes": findings.longest_bytes,
        "longest_at": findings.longest_place,
        "places_are": "entries" if findings.is_document else "lines",
        "duplicates": findings.duplicates.count,
        "first_duplicates": findings.duplicates.pairs,
        "repeated_session_ids": findings.session_ids.count,
        "first_repeated_session_ids": findings.session_ids.pairs,
    }
