"""`python -m fluxperf`, and what bin/fluxperf runs: knows where the packages lie in a clone, and nothing else."""

import sys
from pathlib import Path

if sys.version_info < (3, 11):  # noqa: UP036 - pip checks this, but a clone can be run without pip
    sys.stderr.write("fluxperf: needs Python 3.11 or newer, this is " + sys.version.split()[0] + "\n")
    sys.exit(2)

# In a clone the mock server's package lies under mock/. It goes first: clone and mock belong together.
_MOCK = Path(__file__).resolve().parent.parent / "mock"
if (_MOCK / "fluxperf_mock").is_dir():
    sys.path.insert(0, str(_MOCK))

from fluxperf.cli import main  # noqa: E402 - needs what stands above

if __name__ == "__main__":
    sys.exit(main())
