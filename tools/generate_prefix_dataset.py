#!/usr/bin/env python3
"""The generator of prompts with controlled sharing from a clone: the same as `fluxperf-generate-prefix-dataset`."""

import pathlib
import sys

here = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(here.parent), str(here)]

from fluxperf_tools.generate_prefix_dataset import main  # noqa: E402

if __name__ == "__main__":
    sys.exit(main())
