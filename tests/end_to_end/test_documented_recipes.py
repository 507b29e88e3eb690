"""The recipes that stand in the documentation can be loaded as they stand there."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import pytest
import yaml

from fluxperf.plan.recipe.keys import TOP
from tests.end_to_end.command import ROOT, Fluxperf

PAGES = ("README.md", "docs/RECIPE_GUIDE.md", "docs/ENV_VAR_TESTING.md")
_BLOCK = re.compile(r"^```yaml\n(.*?)^```", re.MULTILINE | re.DOTALL)


def recipes(page: str) -> list[str]:
    """The blocks of a page that are a recipe, or a part of one, with a stage if they have none."""
    found = []
    for text in _BLOCK.findall((ROOT / page).read_text("utf-8")):
        keys = set(yaml.safe_load(text))
        if keys <= set(TOP):
            found.append(text if keys & {"stages", "suites"} else f"{text}\nstages: [{{name: only}}]\n")
    return found


@pytest.mark.parametrize("page", PAGES)
def test_recipes_of_a_page(fluxperf: Fluxperf, page: str) -> None:
    (fluxperf.place / "datasets").symlink_to(ROOT / "datasets")
    # Commands are looked for, and the mock stands in for servers that are not there.
    env = {"MODEL": "m", "MODEL_FILE": "m.gguf", "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    found = recipes(page)
    assert found
    for number, text in enumerate(found):
        (fluxperf.place / "recipe.yaml").write_text(text)
        ended = fluxperf("--recipe recipe.yaml --dataset datasets/sharegpt_clean.jsonl --mock-server --dry-run", env)
        assert ended.code == 0, f"recipe {number} of {page}: {ended.err}"
