"""`Texts`: texts in an unlinked temporary file, each to be read again by its place. Knows nothing of what they are."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from fluxperf.errors import RunFailed

_BUFFER_BYTES = 1 << 20


class Texts:
    """Texts are added, then read in any order. A context manager; raises RunFailed where the disk says no."""

    def __init__(self, folder: Path) -> None:
        """The file is on the file system of `folder`, where what becomes of the texts has to fit as well."""
        self._folder = folder
        self._end = 0
        try:
            self._file = tempfile.TemporaryFile(dir=folder, prefix=".fluxperf-", buffering=_BUFFER_BYTES)  # noqa: SIM115
        except OSError as error:
            raise self._failed(error) from error

    def add(self, text: str) -> tuple[int, int]:
        """Where the text begins in the file, and its length there, in bytes."""
        data = text.encode("utf-8", "surrogatepass")
        try:
            self._file.write(data)
        except OSError as error:
            raise self._failed(error) from error
        place = self._end
        self._end += len(data)
        return place, len(data)

    def finish(self) -> None:
        """To be called between the last `add` and the first `read`."""
        try:
            self._file.flush()
        except OSError as error:
            raise self._failed(error) from error

    def read(self, place: int, size: int) -> str:
        """The text that `add` put there."""
        return os.pread(self._file.fileno(), size, place).decode("utf-8", "surrogatepass")

    def _failed(self, error: OSError) -> RunFailed:
        return RunFailed(
            f"cannot write a temporary file in {self._folder}: {error.strerror or error}; "
            "make room, or let --output be on another disk"
        )

    def __enter__(self) -> Texts:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._file.close()
        except OSError as error:  # what was not yet written, of texts that nobody wants any more
            del error
