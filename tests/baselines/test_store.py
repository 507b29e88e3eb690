from __future__ import annotations

import errno
import json
import os
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from fluxperf.baselines import Store, exchange, find_store, resolve
from fluxperf.baselines.exchange import put_in_place
from fluxperf.errors import RunFailed, UsageError
from fluxperf.model import RunResult, StageState, Status, Verdict
from fluxperf.stored import find_problem, read_run
from tests.baselines.results import files, whole_recipe_run, write_run
from tests.report.conftest import make_recipe_run, make_round, make_run

ROUNDS = {"concurrency_5_round_1.json", "concurrency_5_round_2.json"}
OF_RUN = {"run.json", "metrics_summary.csv", "histograms.hlog"}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "kept" / "baselines")


def test_a_run_is_kept_as_it_was_without_bodies_and_logs(store: Store, tmp_path: Path) -> None:
    results = write_run(tmp_path / "results")
    saved, earlier = store.save("main", results)
    assert earlier is None
    assert files(store.path / "main") == OF_RUN | ROUNDS | {"baseline.json"}
    assert all((results / name).read_bytes() == (saved.path / name).read_bytes() for name in OF_RUN | ROUNDS)
    assert read_run(saved.path).started_at == read_run(results).started_at
    assert [find_problem(result) for result in read_run(saved.path).rounds] == [None, None]


def test_stages_are_kept_in_their_folders(store: Store, tmp_path: Path) -> None:
    run = whole_recipe_run()
    saved, _ = store.save("main", write_run(tmp_path / "results", run))
    assert "Warm-up/Stage_1__Low_Concurrency/concurrency_2_round_1.json" in files(saved.path)
    assert "Stress/Stage_2__Burst/run.json" in files(saved.path)
    assert not any("requests_" in name or "server.log" in name for name in files(saved.path))
    assert [find_problem(result) for result in read_run(saved.path).rounds] == [None] * len(run.rounds)


def test_where_a_baseline_is_from(store: Store, tmp_path: Path) -> None:
    run = make_run(
        configuration={"model": "m", "dataset": "d.jsonl", "dataset_sha256": "7c", "api_key_env": "KEY"},
        environment={"fluxperf": "0.0.9", "revision": {"commit": "5f", "branch": "x", "dirty": True}, "host": "h"},
    )
    saved, _ = store.save("main", write_run(tmp_path / "results", run))
    (found,) = store.list()
    assert found == saved == store.find("main")
    assert found.source == str(tmp_path / "results")
    assert found.run == {
        "started_at": "2026-01-31T12:00:00Z",
        "fluxperf": "0.0.9",
        "revision": {"commit": "5f", "branch": "x", "dirty": True},
        "model": "m",
        "dataset": "d.jsonl",
        "dataset_sha256": "7c",
        "recipe_sha256": None,
        "verdict": "valid",
        "partial": False,
        "rounds": 2,
        "repeats": 1,
        "labels": {"ref": "main"},
    }
    assert set(found.files) == OF_RUN | ROUNDS


def test_what_has_changed_since_is_found(store: Store, tmp_path: Path) -> None:
    saved, _ = store.save("main", write_run(tmp_path / "results"))
    assert saved.find_changes() == []
    (saved.path / "run.json").write_text("{}")
    (saved.path / "metrics_summary.csv").unlink()
    assert store.find("main").find_changes() == [
        "run.json has changed",
        "metrics_summary.csv cannot be read: No such file or directory",
    ]
    record = json.loads((saved.path / "baseline.json").read_text("utf-8"))
    del record["files"]["run.json"], record["files"]["metrics_summary.csv"]
    (saved.path / "baseline.json").write_text(json.dumps(record), "utf-8")
    assert store.find("main").find_changes() == ["baseline.json has changed"]


def test_a_later_run_takes_the_place_of_an_earlier_one(store: Store, tmp_path: Path) -> None:
    first = write_run(tmp_path / "first", make_run(make_round(concurrency=9)))
    second = write_run(tmp_path / "second", make_run(started_at="2026-02-01T00:00:00Z"))
    store.save("main", first)
    saved, earlier = store.save("main", second)
    assert earlier is not None
    assert (earlier.run["started_at"], saved.run["started_at"]) == ("2026-01-31T12:00:00Z", "2026-02-01T00:00:00Z")
    assert files(saved.path) == OF_RUN | ROUNDS | {"baseline.json"}
    assert {path.name for path in store.path.iterdir()} == {"main", ".lock"}


def test_without_an_exchange_it_is_moved_aside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange, "_swap", lambda one, other: False)
    for name in ("old", "new"):
        (tmp_path / name).mkdir()
        (tmp_path / name / name).touch()
    aside = put_in_place(tmp_path / "new", tmp_path / "old")
    assert files(tmp_path) == {"old/new", ".old.earlier/old"}
    assert aside == tmp_path / ".old.earlier"
    exchange.recover(tmp_path)
    assert files(tmp_path) == {"old/new"}


def test_what_a_crash_left_aside_is_put_back(store: Store, tmp_path: Path) -> None:
    results = write_run(tmp_path / "results")
    saved, _ = store.save("main", results)
    saved.path.rename(store.path / ".main.earlier")
    store.save("other", results)
    assert store.find("main").find_changes() == []
    assert {path.name for path in store.path.iterdir()} == {"main", "other", ".lock"}


def test_an_exchange_swaps_two_directories_in_one_step(tmp_path: Path) -> None:
    for name in ("old", "new"):
        (tmp_path / name).mkdir()
        (tmp_path / name / name).touch()
    if not exchange._swap(tmp_path / "new", tmp_path / "old"):
        pytest.skip("this file system cannot swap directories")
    assert files(tmp_path) == {"old/new", "new/old"}
    with pytest.raises(OSError, match="No such file") as caught:
        exchange._swap(tmp_path / "absent", tmp_path / "old")
    assert caught.value.errno == errno.ENOENT


def test_what_fails_half_way_leaves_the_earlier_one(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.save("main", write_run(tmp_path / "first"))
    later = write_run(tmp_path / "second", make_run(started_at="2026-02-01T00:00:00Z"))
    before = {name: (store.path / "main" / name).read_bytes() for name in files(store.path / "main")}

    def fail(new: Path, place: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("fluxperf.baselines.store.put_in_place", fail)
    with pytest.raises(RunFailed, match=r"cannot save baseline main .*No space left"):
        store.save("main", later)
    assert {name: (store.path / "main" / name).read_bytes() for name in files(store.path / "main")} == before
    assert {path.name for path in store.path.iterdir()} == {"main", ".lock"}


def test_what_a_crash_left_is_no_baseline_and_goes(store: Store, tmp_path: Path) -> None:
    half = store.path / ".main.0a1b2c3d.tmp"
    half.mkdir(parents=True)
    (half / "baseline.json").write_text("{}")
    assert store.list() == []
    with pytest.raises(UsageError, match="there is no baseline 'main'"):
        store.find("main")
    store.save("main", write_run(tmp_path / "results"))
    assert not half.exists()


def test_two_that_save_at_once_leave_one_that_is_whole(store: Store, tmp_path: Path) -> None:
    sources = [
        write_run(tmp_path / f"run_{number}", make_run(make_round(concurrency=number), started_at=f"run {number}"))
        for number in range(1, 5)
    ]
    threads = [threading.Thread(target=store.save, args=("main", source)) for source in sources]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = store.find("main")
    assert found.find_changes() == []
    number = found.run["started_at"].removeprefix("run ")
    assert files(found.path) == OF_RUN | {f"concurrency_{number}_round_1.json", "baseline.json"}
    assert {path.name for path in store.path.iterdir()} == {"main", ".lock"}


INVALID = Verdict(status=Status.INVALID, reasons=("round 1: worker 1 died",))


@pytest.mark.parametrize(
    ("run", "says"),
    [
        (make_run(partial=True), "it is partial"),
        (make_run(verdict=INVALID), "its measurement is invalid: round 1: worker 1 died"),
        (make_recipe_run(), "stage Stress/Stage 2: Burst is failed: the server ended with exit status 1"),
        (make_run(make_round(summary={"successful_requests": 0})), "no request succeeded at concurrency 5, round 1"),
    ],
)
def test_a_run_that_is_no_good_is_kept_only_by_force(store: Store, tmp_path: Path, run: RunResult, says: str) -> None:
    results = write_run(tmp_path / "results", run)
    with pytest.raises(UsageError) as caught:
        store.save("main", results)
    assert says in str(caught.value)
    assert "--force" in str(caught.value)
    assert store.list() == []
    assert store.save("main", results, force=True)[0].find_changes() == []


def test_a_round_that_cannot_be_read(store: Store, tmp_path: Path) -> None:
    results = write_run(tmp_path / "results")
    file = results / "concurrency_5_round_2.json"
    file.write_text(file.read_text("utf-8")[:-200], "utf-8")
    with pytest.raises(UsageError, match=r"concurrency_5_round_2\.json"):
        store.save("main", results)
    file.unlink()
    with pytest.raises(UsageError, match=r"concurrency_5_round_2\.json: cannot be read"):
        store.save("main", results)
    saved, _ = store.save("main", results, force=True)
    assert "concurrency_5_round_2.json" not in saved.files


@pytest.mark.parametrize("force", [False, True])
def test_without_rounds_there_is_nothing_to_keep(store: Store, tmp_path: Path, force: bool) -> None:
    run = replace(make_run(), rounds=(), verdict=None)
    with pytest.raises(UsageError, match="no round of it is there"):
        store.save("main", write_run(tmp_path / "results", run), force=force)


def test_no_file_from_outside_comes_in(store: Store, tmp_path: Path) -> None:
    run = whole_recipe_run()
    stages = (replace(run.stages[0], folder="../elsewhere"), run.stages[1])
    results = write_run(tmp_path / "results", replace(run, stages=stages))
    with pytest.raises(UsageError, match="which is outside of it"):
        store.save("main", results)
    with pytest.raises(UsageError, match="which is outside of it"):
        store.save("main", results, force=True)
    file = tmp_path / "linked" / "metrics_summary.csv"
    write_run(file.parent)
    file.unlink()
    file.symlink_to("/etc/hostname")
    with pytest.raises(UsageError, match="which is outside of it"):
        store.save("main", file.parent)


def test_no_run_at_all(store: Store, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such directory"):
        store.save("main", tmp_path / "absent")
    with pytest.raises(UsageError, match=r"no run\.json in it"):
        store.save("main", tmp_path)


@pytest.mark.parametrize("name", ["", ".", "..", "../x", "a/b", "-x", ".hidden", "a b", "a\n", "x" * 101, "ä"])
def test_a_name_is_no_path_and_no_option(store: Store, tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="is no name for a baseline"):
        store.save(name, write_run(tmp_path / "results"))
    with pytest.raises(UsageError, match="is no name for a baseline"):
        store.find(name)


def test_a_name_that_will_do_is_suggested(store: Store) -> None:
    with pytest.raises(UsageError, match="such as feature-x"):
        store.find("feature/x")


def test_a_store_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(RunFailed, match="cannot save baseline main in"):
        Store(tmp_path / "file").save("main", write_run(tmp_path / "results"))


@pytest.mark.parametrize(
    ("record", "says"),
    [
        ("{", "is no record of a baseline"),
        ('{"schema": "fluxperf.baseline/2"}', "this version knows fluxperf.baseline/1"),
        ('{"schema": "fluxperf.baseline/1"}', "KeyError"),
        ("[]", "is no record of a baseline"),
    ],
)
def test_a_broken_record(store: Store, tmp_path: Path, record: str, says: str) -> None:
    saved, _ = store.save("main", write_run(tmp_path / "results"))
    (saved.path / "baseline.json").write_text(record)
    with pytest.raises(UsageError, match=says):
        store.find("main")


def test_a_name_or_a_path(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    results = write_run(Path("results"))
    saved, _ = store.save("main", results)
    assert resolve("main", store) == saved.path
    assert resolve("results", store) == Path("results")
    assert resolve(str(saved.path), store) == saved.path
    (tmp_path / "main").mkdir()
    with pytest.raises(UsageError, match=r"is a baseline in .* and a directory here: write .*/main or ./main"):
        resolve("main", store)
    assert resolve("./main", store) == Path("main")
    with pytest.raises(
        UsageError, match=r"neither such a directory nor a baseline of that name in .*; did you mean main"
    ):
        resolve("mian", store)
    with pytest.raises(UsageError, match="fluxperf baseline save NAME DIR makes one"):
        resolve("main.old", Store(tmp_path / "none"))


def test_within_the_store_a_name_is_no_second_thing(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved, _ = store.save("main", write_run(tmp_path / "results"))
    monkeypatch.chdir(store.path)
    assert resolve("main", Store(Path())) == Path("main")
    assert saved.path.exists()


def test_where_the_store_is(monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_store(None, {}).path == Path("baselines")
    assert find_store(None, {"FLUXPERF_BASELINES": "/srv/b"}).path == Path("/srv/b")
    assert find_store("x", {"FLUXPERF_BASELINES": "/srv/b"}).path == Path("x")
    assert find_store(None, {"FLUXPERF_BASELINES": ""}).path == Path("baselines")
    monkeypatch.setenv("FLUXPERF_BASELINES", "/srv/b")
    assert find_store().path == Path("/srv/b")


def test_a_saved_run_of_repeats_counts_them(store: Store, tmp_path: Path) -> None:
    plain = whole_recipe_run()
    stages = tuple(
        replace(stage, repeat=number, state=StageState.COMPLETE) for number, stage in enumerate(plain.stages, 1)
    )
    saved, _ = store.save("main", write_run(tmp_path / "results", replace(plain, stages=stages)))
    assert saved.run["repeats"] == 2
    assert os.path.isdir(saved.path)  # noqa: PTH112


def test_a_broken_record_hides_no_other_baseline_and_can_be_replaced(tmp_path: Path) -> None:
    broken = tmp_path / "store" / "main"
    broken.mkdir(parents=True)
    (broken / "baseline.json").write_text("{")
    (found,) = Store(tmp_path / "store").list()
    assert isinstance(found, UsageError)
    assert "is no record of a baseline" in str(found)
