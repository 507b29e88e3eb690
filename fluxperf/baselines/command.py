"""`fluxperf baseline`: words in, what was saved or what there is on stdout, an exit code at the end."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fluxperf.errors import RunFailed, UsageError
from fluxperf.files import write_stream
from fluxperf.words import parse

if TYPE_CHECKING:
    from fluxperf.baselines.store import Baseline, Store

USAGE = """Runs that are kept to compare later ones with.

Usage:
  fluxperf baseline save NAME DIR [options]
  fluxperf baseline list [options]
  fluxperf baseline show NAME [options]
  fluxperf baseline (-h | --help)

save copies the results in DIR (an --output-dir) as baseline NAME, in the place of an earlier one of that name. list
shows all there are, show where one is from, and whether its files are still as they were saved.
`fluxperf --baseline NAME` and `fluxperf compare NAME DIR` compare with it.

  --store DIR        Where baselines are kept; default: the environment variable FLUXPERF_BASELINES, else `baselines`
  --force            Save a run that is partial, failed or invalid all the same
  -h, --help         Show this

Exit codes: 0 done, 2 wrong usage, no such baseline, or a run that is no good; 3 the store cannot be written, or a
baseline is no longer what was saved.
"""


def main(words: Sequence[str]) -> int:
    """Runs `fluxperf baseline` with the words after `baseline`; returns the exit code. Raises FluxPerfError."""
    if "--help" in words or "-h" in words:
        write_stream(sys.stdout, USAGE)
        return 0
    given = parse(USAGE, ["baseline", *words], "fluxperf baseline")
    from fluxperf.baselines.store import find_store

    store = find_store(given["--store"])
    if given["save"]:
        _print(_save(store, given))
    elif given["list"]:
        _print(_list(store))
    else:
        _show(store.find(given["NAME"]))
    return 0


def _save(store: Store, given: Mapping[str, Any]) -> Iterator[str]:
    saved, earlier = store.save(given["NAME"], Path(given["DIR"]), force=given["--force"])
    yield f"saved {saved.path}: {len(saved.files)} files of the run of {saved.run['started_at']}"
    if earlier is not None:
        yield f"in the place of the run of {earlier.run.get('started_at')}, which was saved {earlier.saved_at}"


def _list(store: Store) -> Iterator[str]:
    found = store.list()
    baselines = [one for one in found if not isinstance(one, UsageError)]
    yield from (str(one) for one in found if isinstance(one, UsageError))
    if not found:
        yield f"no baselines in {store.path}"
        return
    if not baselines:
        return
    heads = ("Name", "Run of", "Repeats", "Verdict", "Model", "Revision")
    rows = [heads, *(_row(baseline) for baseline in baselines)]
    widths = [max(len(row[nth]) for row in rows) for nth in range(len(heads))]
    for row in rows:
        yield "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()


def _row(baseline: Baseline) -> tuple[str, ...]:
    run = baseline.run
    texts = (run.get("started_at"), run.get("repeats"), run.get("verdict"), run.get("model"))
    return baseline.name, *(_one_line("-" if text is None else text) for text in texts), _revision(run, 12)


def _revision(run: Mapping[str, Any], digits: int) -> str:
    found = run.get("revision")
    if not isinstance(found, Mapping):
        return "-"
    return _one_line(str(found.get("commit"))[:digits] + (" and changes" if found.get("dirty") else ""))


def _show(baseline: Baseline) -> None:
    """Prints where it is from. Raises RunFailed if it is not what was saved."""
    changes = baseline.find_changes()
    _print(_describe(baseline, unchanged=not changes))
    if changes:
        raise RunFailed(
            "\n".join(
                [f"baseline {baseline.name} is not what was saved: save it anew", *(f"  {one}" for one in changes)]
            )
        )


def _describe(baseline: Baseline, *, unchanged: bool) -> Iterator[str]:
    run = baseline.run
    labels = run.get("labels")
    facts = {
        "baseline": baseline.name,
        "in": baseline.path,
        "saved at": f"{baseline.saved_at} by FluxPerf {baseline.fluxperf}, from {baseline.source}",
        "run of": f"{run.get('started_at')} by FluxPerf {run.get('fluxperf')}",
        "repeats": run.get("repeats"),
        "rounds": run.get("rounds"),
        "verdict": f"{run.get('verdict')}{', partial' if run.get('partial') else ''}",
        "model": run.get("model"),
        "dataset": run.get("dataset"),
        "its sha256": run.get("dataset_sha256"),
        "recipe's": run.get("recipe_sha256"),
        "revision": None if run.get("revision") is None else _revision(run, 40),
        "labels": " ".join(f"{key}={text}" for key, text in labels.items()) if isinstance(labels, Mapping) else None,
        "files": f"{len(baseline.files)}, {'as they were saved' if unchanged else 'CHANGED'}",
        "digest": baseline.digest,
    }
    for name, text in facts.items():
        if text not in (None, ""):
            yield f"{name:<12}{_one_line(text)}"


def _one_line(text: object) -> str:
    """Without anything that a terminal could obey."""
    spaced = " ".join(str(text).split())
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in spaced)


def _print(lines: Iterator[str]) -> None:
    write_stream(sys.stdout, "".join(f"{line}\n" for line in lines))
