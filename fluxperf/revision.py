"""The git revision of a directory, so that a result says from which state of a project it comes."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

TIMEOUT_S = 5.0
_NO_COMMIT = "(initial)"
_NO_BRANCH = "(detached)"


def describe_revision(place: Path) -> dict[str, Any] | None:
    """Commit, branch (None: none is checked out), and whether files that git knows differ from the commit.

    None where there is no git, no repository or no commit in it, where git does not trust the repository, or if it
    takes longer than `TIMEOUT_S`.
    """
    try:
        answer = subprocess.run(
            # Which git, is the user's choice. Without locks it leaves the index alone, which others may work on.
            ["git", "--no-optional-locks", "status", "--porcelain=v2", "--branch", "--untracked-files=no"],  # noqa: S607
            cwd=place,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=TIMEOUT_S,
            check=True,
        )
    except (OSError, ValueError, subprocess.SubprocessError):
        return None
    return _read_status(answer.stdout.decode("utf-8", errors="replace"))


def _read_status(status: str) -> dict[str, Any] | None:
    """The revision in what `git status --porcelain=v2 --branch` prints: headers first, then a line for each change."""
    lines = status.splitlines()
    headers = dict(line.removeprefix("# ").split(" ", 1) for line in lines if line.startswith("# branch."))
    commit, branch = headers.get("branch.oid", _NO_COMMIT), headers.get("branch.head", _NO_BRANCH)
    if commit == _NO_COMMIT:
        return None
    return {
        "commit": commit,
        "branch": None if branch == _NO_BRANCH else branch,
        "dirty": any(not line.startswith("#") for line in lines),
    }
