from __future__ import annotations

from pathlib import Path

import pytest

from fluxperf.baselines.command import main
from fluxperf.errors import RunFailed, UsageError
from tests.baselines.results import write_run
from tests.report.conftest import make_run


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with the results of a run."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FLUXPERF_BASELINES", raising=False)
    environment = {"fluxperf": "0.1.0", "revision": {"commit": "5f" * 20, "branch": "main", "dirty": False}}
    write_run(tmp_path / "results", make_run(environment=environment, labels={"gpu": "H100\x1b[31m"}))
    return tmp_path


def test_save_list_and_show(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list"]) == 0
    assert capsys.readouterr().out == "no baselines in baselines\n"
    assert main(["save", "main", "results"]) == 0
    assert capsys.readouterr().out == "saved baselines/main: 5 files of the run of 2026-01-31T12:00:00Z\n"
    assert main(["list"]) == 0
    assert capsys.readouterr().out == (
        "Name  Run of                Repeats  Verdict  Model  Revision\n"
        "main  2026-01-31T12:00:00Z  1        valid    -      5f5f5f5f5f5f\n"
    )
    assert main(["show", "main"]) == 0
    shown = capsys.readouterr().out
    assert "revision    5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f\n" in shown
    assert "files       5, as they were saved\n" in shown
    assert f"from {place / 'results'}\n" in shown
    assert "labels      gpu=H100\N{REPLACEMENT CHARACTER}[31m\n" in shown


def test_saving_again_tells_what_was_there(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["save", "main", "results"])
    main(["save", "main", "results"])
    assert "in the place of the run of 2026-01-31T12:00:00Z, which was saved " in capsys.readouterr().out


def test_another_store(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    main(["save", "main", "results", "--store", "kept"])
    assert (place / "kept" / "main" / "run.json").is_file()
    monkeypatch.setenv("FLUXPERF_BASELINES", "elsewhere")
    main(["save", "main", "results"])
    assert (place / "elsewhere" / "main" / "run.json").is_file()


def test_what_has_changed_is_told(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["save", "main", "results"])
    (place / "baselines" / "main" / "run.json").write_text("{}")
    with pytest.raises(RunFailed, match=r"is not what was saved: save it anew\n  run\.json has changed"):
        main(["show", "main"])
    assert "files       5, CHANGED\n" in capsys.readouterr().out


def test_force(place: Path) -> None:
    write_run(place / "partial", make_run(partial=True))
    with pytest.raises(UsageError, match="--force saves it all the same"):
        main(["save", "main", "partial"])
    assert main(["save", "main", "partial", "--force"]) == 0


@pytest.mark.parametrize("words", [["--help"], ["save", "-h"]])
def test_help(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 0
    assert "fluxperf baseline save NAME DIR" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "fluxperf baseline --help lists the options"),
        (["keep", "main", "results"], "fluxperf baseline --help lists the options"),
        (["save", "main"], "fluxperf baseline --help lists the options"),
        (["show", "main", "--forced"], "unknown option --forced, did you mean --force?"),
        (["show", "mian"], "there is no baseline 'mian' in baselines"),
    ],
)
def test_wrong_usage(place: Path, words: list[str], says: str) -> None:
    with pytest.raises(UsageError) as caught:
        main(words)
    assert says in str(caught.value)
