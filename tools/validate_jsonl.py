#!/usr/bin/env python3
"""The validator of datasets from a clone: the same as `fluxperf-validate-jsonl`."""

import pathlib
import sys

here = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(here.parent), str(here)]

from fluxperf_tools.validate_jsonl import main  # noqa: E402

if __name__ == "__main__":
    sys.exit(main())
