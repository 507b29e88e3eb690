from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from fluxperf import revision
from fluxperf.revision import describe_revision


def git(place: Path, *words: str) -> str:
    identity = ("-c", "user.name=A", "-c", "user.email=a@b", "-c", "commit.gpgsign=false")
    ended = subprocess.run(["git", *identity, *words], cwd=place, capture_output=True, check=True, text=True)
    return ended.stdout.strip()


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with one commit on the branch `main`."""
    for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"):
        monkeypatch.delenv(name, raising=False)
    place = tmp_path / "project"
    place.mkdir()
    git(place, "init", "--quiet", "--initial-branch=main")
    (place / "file").write_text("first", "utf-8")
    git(place, "add", "file")
    git(place, "commit", "--quiet", "--message=first")
    return place


def test_a_commit_on_a_branch(repository: Path) -> None:
    commit = git(repository, "rev-parse", "HEAD")
    assert describe_revision(repository) == {"commit": commit, "branch": "main", "dirty": False}


def test_a_directory_of_the_repository_has_its_revision_and_new_files_are_no_change(repository: Path) -> None:
    (repository / "results").mkdir()
    (repository / "results" / "run.json").write_text("{}", "utf-8")
    found = describe_revision(repository / "results")
    assert found is not None
    assert found["dirty"] is False


@pytest.mark.parametrize("staged", [False, True])
def test_a_changed_file_makes_it_dirty(repository: Path, staged: bool) -> None:
    (repository / "file").write_text("second", "utf-8")
    if staged:
        git(repository, "add", "file")
    found = describe_revision(repository)
    assert found is not None
    assert found["dirty"] is True


def test_without_a_branch(repository: Path) -> None:
    git(repository, "checkout", "--quiet", "--detach")
    found = describe_revision(repository)
    assert found is not None
    assert found["branch"] is None


def test_without_a_commit_there_is_no_revision(tmp_path: Path) -> None:
    git(tmp_path, "init", "--quiet")
    assert describe_revision(tmp_path) is None


def test_without_a_repository(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert describe_revision(tmp_path) is None
    assert capfd.readouterr() == ("", "")


def test_without_git_or_the_directory(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert describe_revision(repository / "gone") is None
    monkeypatch.setenv("PATH", str(repository))
    assert describe_revision(repository) is None


def test_a_git_that_takes_too_long(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slow = repository / "git"
    slow.write_text("#!/bin/sh\nexec /bin/sleep 60\n", "utf-8")
    slow.chmod(0o755)
    monkeypatch.setenv("PATH", str(repository))
    monkeypatch.setattr(revision, "TIMEOUT_S", 0.05)
    assert describe_revision(repository) is None
