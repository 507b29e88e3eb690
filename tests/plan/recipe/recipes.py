"""Recipes as texts, and what they are read against."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from fluxperf.errors import UsageError
from fluxperf.plan.campaign import Campaign, StageSpec
from fluxperf.plan.recipe.load import RecipeSurroundings, load_recipe
from fluxperf_mock.settings import MockSettings, find_problem

URL = "http://127.0.0.1:8001/v1/chat/completions"
MOCK_NAMES = frozenset(field.name for field in fields(MockSettings))
LATER = frozenset({"recipe", "dry_run", "resume", "warmup", "sweep"})


class Recipes:
    """Loads recipes that stand in a working directory with a dataset."""

    def __init__(self, folder: Path, *programs: str) -> None:
        self.folder = folder
        self.bin = folder / "bin"
        self.bin.mkdir()
        for name in ("bash", "serve", *programs):
            self.add_program(self.bin / name)
        (folder / "d.jsonl").write_text('{"text": "a"}\n')
        self.environ = {"PATH": str(self.bin), "HOME": "/home/me", "EMPTY": ""}

    def add_program(self, path: Path) -> None:
        path.parent.mkdir(exist_ok=True)
        path.write_text("#!/bin/sh\n")
        path.chmod(0o755)

    def surroundings(self, **more: Any) -> RecipeSurroundings:
        facts: dict[str, Any] = {
            "environ": self.environ,
            "mock_names": MOCK_NAMES,
            "find_mock_problem": find_problem,
            "later": LATER,
        }
        return RecipeSurroundings(**(facts | more))

    def load(self, text: str | bytes, given: Mapping[str, Any] | None = None, **more: Any) -> Campaign:
        path = Path("recipe.yaml")
        path.write_bytes(text if isinstance(text, bytes) else dedent(text).encode())
        return load_recipe(path, given or {}, self.surroundings(**more))

    def stage(self, text: str, given: Mapping[str, Any] | None = None, **more: Any) -> StageSpec:
        """The one stage of a recipe."""
        (stage,) = self.load(text, given, **more).stages
        return stage

    def faults(self, text: str | bytes, given: Mapping[str, Any] | None = None, **more: Any) -> list[str]:
        with pytest.raises(UsageError) as caught:
            self.load(text, given, **more)
        return str(caught.value).splitlines()

    def with_global(self, *lines: str, stage: str = "{name: A}") -> str:
        """A recipe of one stage with these lines in its `global`, which begin in line 4."""
        own = "".join(f"  {line}\n" for line in lines)
        return f"global:\n  dataset: d.jsonl\n  endpoint: {URL}\n{own}stages:\n  - {stage}\n"
