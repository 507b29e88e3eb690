#!/usr/bin/env python3
"""The ShareGPT processor from a clone: the same as `fluxperf-process-sharegpt`."""

import pathlib
import sys

here = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(here.parent), str(here)]

from fluxperf_tools.process_sharegpt import main  # noqa: E402

if __name__ == "__main__":
    sys.exit(main())
