from __future__ import annotations

from pathlib import Path

import pytest

from tests.plan.recipe.recipes import Recipes


@pytest.fixture
def recipes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Recipes:
    monkeypatch.chdir(tmp_path)
    return Recipes(tmp_path)
