"""Fetches one file of a model into the hub's cache: a program of its own, since what it imports starts threads.

`python hub_download.py NAME FILE [REVISION]`. Its last line of output is a JSON object: `path`, or what went
wrong as `kinds`, the names of the exception's class and those above it, and `reason`.
"""

from __future__ import annotations

import json
import os
import re
import sys
from contextlib import suppress
from typing import Any

ANSWER_TIMEOUT_S = 10
# The hub has spoken: what was fetched before is no answer then.
_REFUSALS = {"RepositoryNotFoundError", "RevisionNotFoundError", "EntryNotFoundError"}


def tell(name: str, file: str, revision: str | None) -> dict[str, Any]:
    """The file's path in the cache, or what went wrong."""
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    try:
        return {"path": _fetch(name, file, revision)}
    except Exception as error:  # the outermost boundary of this program
        return {"kinds": _kinds(error), "reason": _reason(error)}


def _fetch(name: str, file: str, revision: str | None) -> str:
    from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url

    try:  # Asked once: the download would wait for a dead hub for minutes.
        get_hf_file_metadata(hf_hub_url(name, file, revision=revision), timeout=ANSWER_TIMEOUT_S)
    except Exception as error:
        if not _REFUSALS.intersection(_kinds(error)):
            with suppress(Exception):  # or else it is the hub's absence that is told
                return hf_hub_download(name, file, revision=revision, local_files_only=True)
        raise
    return hf_hub_download(name, file, revision=revision)


def _kinds(error: Exception) -> list[str]:
    return [kind.__name__ for kind in type(error).__mro__]


def _reason(error: BaseException) -> str:
    """What was at the bottom of it: its kind and its first line."""
    while (cause := error.__cause__ or error.__context__) is not None:
        error = cause
    lines = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {_without_secrets(lines[0])}"


def _without_secrets(text: str) -> str:
    """The text without the token, and without what stands before the host in a URL."""
    if token := os.environ.get("HF_TOKEN"):
        text = text.replace(token, "****")
    return re.sub(r"://[^/@\s]*@", "://****@", text)


if __name__ == "__main__":
    told = tell(sys.argv[1], sys.argv[2], sys.argv[3] if len(sys.argv) > 3 else None)
    sys.stdout.write(f"\n{json.dumps(told)}\n")
