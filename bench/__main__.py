"""`make bench`, or python -m bench [NAME...]: runs the benchmarks and prints their tables. See bench/README.md."""

from __future__ import annotations

import argparse
import datetime
import json
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from bench import accuracy, memory, merge, rate, startup
from bench.rig import Rig
from bench.table import Table, render
from fluxperf import __version__
from fluxperf.calibrate.machine import choose_cores, describe_machine
from fluxperf.calibrate.server import compile_server
from fluxperf.errors import FluxPerfError

BENCHES: dict[str, Callable[[Rig], Table]] = {
    "accuracy": accuracy.measure,
    "rate": rate.measure,
    "memory": memory.measure,
    "merge": merge.measure,
    "startup": startup.measure,
}
LONG = {"memory"}  # only if it is named


def main(words: Sequence[str] | None = None) -> int:
    """Runs what the command line asks for; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m bench", description="How accurate FluxPerf is here, and what it costs."
    )
    parser.add_argument("name", nargs="*", help=f"of {', '.join(BENCHES)}; default: all but {', '.join(LONG)}")
    parser.add_argument("--repeat", type=int, default=1, metavar="N", help="measure each N times; the best counts")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results there too")
    given = parser.parse_args(words)
    if unknown := sorted(set(given.name) - set(BENCHES)):
        parser.error(f"there is no {unknown[0]}; there are {', '.join(BENCHES)}")
    names = given.name or [name for name in BENCHES if name not in LONG]
    started_at = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    machine = describe_machine()
    print(f"FluxPerf {__version__}, {started_at}, {', '.join(f'{name} {what}' for name, what in machine.items())}\n")
    tables = {}
    with tempfile.TemporaryDirectory(prefix="fluxperf-bench-") as folder:
        cores = choose_cores()
        if not cores.apart:
            print("There is one core for clients and servers: they take time from each other.\n")
        rig = Rig(Path(folder), cores, compile_server(Path(folder)), max(given.repeat, 1))
        for name in names:
            print(f"bench: measuring {name}", file=sys.stderr)
            try:
                tables[name] = BENCHES[name](rig)
            except FluxPerfError as error:
                print(f"{name}: {error}\n", file=sys.stderr)
                continue
            print(render(tables[name]), end="\n\n", flush=True)
    if given.json is not None:
        results = {name: table.to_dict() for name, table in tables.items()}
        content = {"schema": "fluxperf.bench/1", "started_at": started_at, "fluxperf": __version__, "machine": machine}
        given.json.write_text(json.dumps(content | {"results": results}, indent=1) + "\n", "utf-8")
    return 0 if len(tables) == len(names) else 1


if __name__ == "__main__":
    sys.exit(main())
