"""Results on disk, for the tests of what is made of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.presentation.results import Made, write_results


@pytest.fixture
def results(tmp_path: Path) -> Callable[..., Path]:
    """Writes results, which may differ from the plain ones, into a directory of that name, and returns it."""

    def write(name: str = "results", **changes: Any) -> Path:
        return write_results(tmp_path / name, Made(**changes))

    return write
