#!/usr/bin/env python3
"""LongBench's converter from a clone: the same as the command fluxperf-convert-longbench."""

import pathlib
import sys

here = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(here.parent), str(here)]

from fluxperf_tools.convert_longbench import main  # noqa: E402

if __name__ == "__main__":
    sys.exit(main())
