"""Validates datasets, run as `python tests/test_jsonl_output.py FILE...`; collected by pytest, those of the project.

As a script it is `tools/validate_jsonl.py`: it ends with 1 if a line is faulty, and says which, and why.
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
if __name__ == "__main__":
    sys.path[:0] = [str(ROOT), str(ROOT / "tools")]

from fluxperf_tools.validate_jsonl import main  # noqa: E402 - the script has no other way to find it

if __name__ == "__main__":
    sys.exit(main())

import pytest  # noqa: E402 - the script shall run without it

DATASETS = sorted([*(ROOT / "datasets").glob("*.json*"), *(ROOT / "examples").glob("*dataset*.json*")])


@pytest.mark.parametrize("path", DATASETS, ids=lambda path: path.name)
@pytest.mark.parametrize("mode", ["dual_round", "multi_turn"])
def test_the_datasets_of_the_project_are_well_formed(path: Path, mode: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--mode", mode, "--all", str(path)]) == 0
    said = capsys.readouterr().out
    assert f"{path}: well-formed for --mode {mode}" in said
    assert "sends the same as" not in said


def test_there_are_some() -> None:
    assert {"sharegpt_clean.jsonl", "example_dataset.json"} <= {path.name for path in DATASETS}


def test_a_faulty_line_is_told_and_ends_with_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "output.jsonl"
    output.write_text('{"text": "fine"}\n{"text": "cut o')
    assert main([str(output)]) == 1
    assert f"{output}:2: incomplete" in capsys.readouterr().out
