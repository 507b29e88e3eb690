"""`fluxperf compare`: what to compare in, the answer on stdout, files for CI, and an exit code.

Everything that can be refused is, before anything is written.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from fluxperf.compare.usage import USAGE
from fluxperf.files import write_stream


def main(words: Sequence[str]) -> int:
    """Runs `fluxperf compare` with the words after `compare`; returns the exit code. Raises FluxPerfError."""
    if "--help" in words or "-h" in words:
        write_stream(sys.stdout, USAGE)
        return 0
    from fluxperf.baselines import resolve
    from fluxperf.compare.asked import read_asked
    from fluxperf.compare.comparison import compare
    from fluxperf.compare.publication import publish
    from fluxperf.plan.gate_checks import find_doubts

    asked = read_asked(words)
    for doubt in find_doubts(asked.gates):
        write_stream(sys.stderr, f"fluxperf: {doubt}\n")
    publish(asked, compare(asked, resolve))
    return 0
