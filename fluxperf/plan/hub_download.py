"""Fetches one file of a model into the hub's cache: a program of its own, since what it imports starts threads.

`python hub_download.py NAME FILE [REVISION]`. Its last line of output is a JSON object: `path`, or what went
wrong as `kinds`, the names of the exception's class and those above it, and `reason`.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

# Of the time to answer; the library tries six times.
ANSWER_TIMEOUT_S = 5


def fetch(name: str, file: str, revision: str | None) -> dict[str, Any]:
    """The file's path in the cache, or what went wrong."""
    os.environ.setdefault("HF_HUB_ETAG_TIMEOUT", str(ANSWER_TIMEOUT_S))
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    try:
        from huggingface_hub import hf_hub_download

        return {"path": hf_hub_download(name, file, revision=revision)}
    except Exception as error:
        return {"kinds": [kind.__name__ for kind in type(error).__mro__], "reason": _say(error)}


def _say(error: BaseException) -> str:
    """What was at the bottom of it: its kind and its first line."""
    while (cause := error.__cause__ or error.__context__) is not None:
        error = cause
    lines = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {lines[0]}"


if __name__ == "__main__":
    told = fetch(sys.argv[1], sys.argv[2], sys.argv[3] if len(sys.argv) > 3 else None)
    sys.stdout.write(f"\n{json.dumps(told)}\n")
