from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from fluxperf.errors import UsageError
from fluxperf.output import OutputDirectory, claim

ROOT = Path(__file__).resolve().parent.parent
STARTED = "2026-01-31T12:00:00Z"
IN_USE = {".spool": None, ".spool/lock": b""}

Snapshot = dict[str, bytes | None]
LeaveRun = Callable[..., Snapshot]
Claim = Callable[..., tuple[OutputDirectory, str | None]]


def snapshot(folder: Path) -> Snapshot:
    """Every path below the folder, with the content of files."""
    return {str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


@pytest.fixture
def claimed() -> Iterator[Claim]:
    """Claims a directory until the test is over."""
    with ExitStack() as stack:

        def claim_and_clean(path: Path, *, overwrite: bool = False) -> tuple[OutputDirectory, str | None]:
            output, said = claim(path, overwrite=overwrite)
            stack.callback(output.clean)
            return output, said

        yield claim_and_clean


@pytest.fixture
def leave_run() -> LeaveRun:
    """Leaves what an earlier run would, and a note that is the user's own; returns the snapshot."""

    def leave(folder: Path, started_at: object = STARTED) -> Snapshot:
        folder.mkdir(parents=True)
        (folder / "run.json").write_text(json.dumps({"started_at": started_at}))
        (folder / "concurrency_5_round_1.json").write_text("{}")
        (folder / "notes.txt").write_text("mine")
        return snapshot(folder)

    return leave


def test_a_new_directory_is_made_with_its_parents(tmp_path: Path, claimed: Claim) -> None:
    output, said = claimed(tmp_path / "a" / "b")
    assert said is None
    assert output.path == tmp_path / "a" / "b"
    assert output.spool.is_dir()
    output.write_lines("lines.jsonl", ["1", "é"])
    output.clean()
    assert snapshot(tmp_path / "a") == {"b": None, "b/lines.jsonl": "1\né\n".encode()}


def test_an_earlier_run_is_renamed_by_its_start(tmp_path: Path, leave_run: LeaveRun, claimed: Claim) -> None:
    earlier = leave_run(tmp_path / "results")
    _, said = claimed(tmp_path / "results")
    moved = tmp_path / f"results.{STARTED}"
    assert said == f"the earlier run in {tmp_path / 'results'} is now {moved}"
    assert snapshot(moved) == earlier
    assert snapshot(tmp_path / "results") == IN_USE


def test_a_name_that_is_taken_is_not_taken_again(tmp_path: Path, leave_run: LeaveRun, claimed: Claim) -> None:
    for _ in range(3):
        leave_run(tmp_path / "results")
        output, _ = claimed(tmp_path / "results")
        output.clean()
        output.path.rmdir()
    assert {path.name for path in tmp_path.iterdir()} == {f"results.{STARTED}{suffix}" for suffix in ("", ".2", ".3")}


@pytest.mark.parametrize("started_at", ["a/b", "../c"])
def test_no_start_leads_the_run_elsewhere(tmp_path: Path, leave_run: LeaveRun, started_at: str, claimed: Claim) -> None:
    leave_run(tmp_path / "results", started_at)
    claimed(tmp_path / "results")
    assert {path.name for path in tmp_path.iterdir()} == {"results", f"results.{started_at.replace('/', '_')}"}


@pytest.mark.parametrize("run_json", ["", "[]", "{}", "\udcff"])
def test_a_run_that_does_not_tell_its_start_is_moved_all_the_same(
    tmp_path: Path, run_json: str, claimed: Claim
) -> None:
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "run.json").write_bytes(run_json.encode("utf-8", "surrogateescape"))
    claimed(tmp_path / "results")
    assert {path.name for path in tmp_path.iterdir()} == {"results", "results.earlier"}


@pytest.mark.parametrize(
    "name",
    ["metrics_summary.csv", "concurrency_5_round_2.json", "requests_concurrency_5_round_1.jsonl", ".spool/x.rows"],
)
def test_the_remains_of_a_run_that_was_killed_are_moved_too(tmp_path: Path, name: str, claimed: Claim) -> None:
    path = tmp_path / "results" / name
    path.parent.mkdir(parents=True)
    path.write_text("x")
    claimed(tmp_path / "results")
    assert (tmp_path / "results.earlier" / name).read_text() == "x"


def test_a_directory_without_a_run_is_left_as_it_is(tmp_path: Path, claimed: Claim) -> None:
    (tmp_path / "results" / "deeper").mkdir(parents=True)
    for name in ("notes.txt", "runs.json", "deeper/run.json"):
        (tmp_path / "results" / name).write_text("mine")
    before = snapshot(tmp_path)
    output, said = claimed(tmp_path / "results")
    output.clean()
    assert said is None
    assert snapshot(tmp_path) == before


def test_overwrite_takes_the_runs_files_and_no_others(tmp_path: Path, leave_run: LeaveRun, claimed: Claim) -> None:
    leave_run(tmp_path / "results")
    (tmp_path / "results" / ".spool").mkdir()
    (tmp_path / "results" / ".spool" / "old.rows").write_text("x")
    _, said = claimed(tmp_path / "results", overwrite=True)
    assert said == f"replacing the earlier run in {tmp_path / 'results'}"
    assert snapshot(tmp_path / "results") == IN_USE | {"notes.txt": b"mine"}


def test_a_link_stays_a_link_to_a_place_of_its_own(tmp_path: Path, leave_run: LeaveRun, claimed: Claim) -> None:
    earlier = leave_run(tmp_path / "disk" / "runs")
    link = tmp_path / "results"
    link.symlink_to(tmp_path / "disk" / "runs")
    output, _ = claimed(link)
    output.write_lines("new", [])
    assert snapshot(tmp_path / "disk" / f"runs.{STARTED}") == earlier
    assert link.is_symlink()
    assert snapshot(link) == IN_USE | {"new": b""}


def test_a_link_to_nothing_yet_is_followed(tmp_path: Path, claimed: Claim) -> None:
    (tmp_path / "results").symlink_to(tmp_path / "disk" / "runs")
    claimed(tmp_path / "results")
    assert (tmp_path / "disk" / "runs" / ".spool").is_dir()


@pytest.mark.parametrize("name", [".", "../results", "deeper/.."])
def test_of_the_working_directory_only_the_files_of_the_earlier_run_are_moved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, leave_run: LeaveRun, name: str, claimed: Claim
) -> None:
    leave_run(tmp_path / "results")
    (tmp_path / "results" / "deeper").mkdir()
    earlier = snapshot(tmp_path / "results")
    monkeypatch.chdir(tmp_path / "results")
    output, _ = claimed(Path(name))
    output.write_lines("new", [])
    others = {"deeper": earlier.pop("deeper"), "notes.txt": earlier.pop("notes.txt")}
    assert snapshot(tmp_path / f"results.{STARTED}") == earlier
    assert snapshot(tmp_path / "results") == IN_USE | others | {"new": b""}


@pytest.mark.parametrize("name", ["file", "file/below", "file/far/below", "loop", "loop/below"])
def test_what_is_no_directory_is_named_and_nothing_touched(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("mine")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    before = snapshot(tmp_path)
    with pytest.raises(UsageError) as caught:
        claim(tmp_path / name, overwrite=False)
    assert str(caught.value).startswith(f"--output-dir {tmp_path / name} cannot be written to: ")
    assert str(caught.value).endswith("; choose another directory")
    assert snapshot(tmp_path) == before


def test_an_earlier_run_that_cannot_be_moved_stays_as_it_was(tmp_path: Path, leave_run: LeaveRun) -> None:
    leave_run(tmp_path / "results", started_at="x" * 300)  # longer than a name may be
    before = snapshot(tmp_path)
    with pytest.raises(UsageError, match="cannot be written to: File name too long"):
        claim(tmp_path / "results", overwrite=False)
    assert snapshot(tmp_path) == before


def test_where_not_even_root_may_write() -> None:
    with pytest.raises(UsageError, match="--output-dir /sys/results cannot be written to: "):
        claim(Path("/sys/results"), overwrite=False)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
@pytest.mark.parametrize("locked", [".", "results"])
def test_without_permission_nothing_is_touched(tmp_path: Path, leave_run: LeaveRun, locked: str) -> None:
    leave_run(tmp_path / "results")
    before = snapshot(tmp_path)
    (tmp_path / locked).chmod(0o555)
    with pytest.raises(UsageError, match="cannot be written to: "):
        claim(tmp_path / "results", overwrite=False)
    (tmp_path / locked).chmod(0o755)
    assert snapshot(tmp_path) == before


def test_a_directory_that_a_run_writes_to_is_left_alone(tmp_path: Path, claimed: Claim) -> None:
    output, _ = claimed(tmp_path / "results")
    output.write_lines("run.json", ["{}"])
    (tmp_path / "link").symlink_to("results")
    before = snapshot(tmp_path)
    for path in (tmp_path / "results", tmp_path / "link"):
        for overwrite in (False, True):
            with pytest.raises(UsageError, match="is in use by another run: wait for it or choose another"):
                claim(path, overwrite=overwrite)
    assert snapshot(tmp_path) == before
    output.clean()
    claimed(tmp_path / "results")


def test_a_run_that_was_killed_leaves_no_lock(tmp_path: Path, claimed: Claim) -> None:
    code = "import sys, pathlib, fluxperf.output as o; kept = o.claim(pathlib.Path(sys.argv[1]), overwrite=False)"
    subprocess.run([sys.executable, "-c", code, tmp_path / "results"], cwd=ROOT, check=True, timeout=30)
    assert snapshot(tmp_path / "results") == IN_USE
    claimed(tmp_path / "results")
    assert snapshot(tmp_path / "results.earlier") == IN_USE
