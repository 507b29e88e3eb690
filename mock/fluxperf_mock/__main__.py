"""`python -m fluxperf_mock`: the same as `fluxperf mock`."""

import sys

from fluxperf_mock.cli import main

if __name__ == "__main__":
    sys.exit(main())
