"""Writes a file whole or not at all, and text to streams that may be gone; knows nothing of what is in it."""

from __future__ import annotations

import contextlib
import os
import secrets
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TextIO

from fluxperf.errors import RunFailed

TEMPORARY = f".*.{'[0-9a-f]' * 8}.tmp"
"""What the temporary names look like, for glob(7): a process that is killed leaves one behind."""


def write_whole(path: Path, chunks: Iterable[str] | Iterable[bytes]) -> None:
    """Writes `chunks` (text as UTF-8, line ends as they are) under a temporary name beside `path`, then renames it.

    Whatever interrupts it, an exception of `chunks` or Ctrl-C included, leaves the earlier file as it
    was and no temporary one. The file gets the permissions that `open` would give it. Raises
    RunFailed where it cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        with temporary.open("xb") as file:
            for chunk in chunks:
                file.write(chunk.encode() if isinstance(chunk, str) else chunk)
        temporary.replace(path)
    except OSError as error:
        raise RunFailed(f"cannot write {path}: {error}; make room or choose another directory") from error
    finally:
        with contextlib.suppress(OSError):  # once renamed it is missing, and it may never have come to be
            temporary.unlink()


def write_stream(stream: TextIO, text: str) -> OSError | None:
    """Writes to stdout or stderr. Where that fails, nobody listens any more: further text goes nowhere.

    Returns what failed, which a closed pipe (`| head`) is not worth telling about.
    """
    try:
        stream.write(text)
        stream.flush()
    except OSError as error:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
        return error
    return None


def replace_closed_streams() -> None:
    """After `>&-` or `2>&-` output goes nowhere; otherwise what is opened next would get the stream's number."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # which gets the lowest number that is free
    for number, name in ((1, "stdout"), (2, "stderr")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, "w", closefd=False))  # noqa: SIM115 - it lives as long as we do
