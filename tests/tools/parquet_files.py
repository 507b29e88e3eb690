"""Parquet for tests. The library is loaded with the first file: its threads would be in the way of tests that fork."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import IO, Any


def write_parquet(rows: Iterable[Mapping[str, Any]], to: Path | IO[bytes]) -> None:
    """Writes the rows as one file."""
    import pyarrow as pa
    from pyarrow import parquet

    parquet.write_table(pa.Table.from_pylist(list(rows)), to)
