#!/usr/bin/env python3
"""The mock LLM server from a clone: the same as `fluxperf mock`."""

import pathlib
import sys

here = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(here.parent), str(here)]

from fluxperf_mock.cli import main  # noqa: E402

if __name__ == "__main__":
    sys.exit(main())
