"""The recipes of examples/, run as a user runs them: from a clone's root, and as they are but for the ports."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.command import ROOT, Ended, Fluxperf

RECIPES = sorted(path.name for path in (ROOT / "examples").glob("recipe_*.yaml"))


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
    return port


@pytest.fixture
def clone(fluxperf: Fluxperf) -> Fluxperf:
    """The command in a directory that looks like a clone's root, into which results may be written."""
    for name in ("examples", "datasets", "mock"):
        (fluxperf.place / name).symlink_to(ROOT / name)
    return fluxperf


def run(clone: Fluxperf, recipe: str, options: str = "") -> Ended:
    env = {"PORT": str(free_port()), "MOCK_PORT": str(free_port())}
    return clone(f"--recipe examples/{recipe} {options}", env)


def read(path: Path) -> Any:
    return json.loads(path.read_text("utf-8"))


def folders(place: Path) -> set[str]:
    """The folders with a run.json of their own below a run's."""
    return {str(path.parent.relative_to(place)) for path in place.rglob("run.json")} - {"."}


def cached(place: Path, concurrency: int, number: int) -> float:
    """The share of a round's prompt tokens that came from the cache, by usage."""
    ratio: float = read(place / f"concurrency_{concurrency}_round_{number}.json")["summary"]["cached_tokens"]["ratio"]
    return ratio


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_plan_is_shown_and_nothing_is_started(clone: Fluxperf, recipe: str) -> None:
    before = set(clone.place.iterdir())
    ended = run(clone, recipe, "--dry-run")
    assert (ended.code, ended.err) == (0, "")
    assert "sharegpt_clean.jsonl" in ended.out
    assert set(clone.place.iterdir()) == before


def test_the_basic_one(clone: Fluxperf) -> None:
    ended = run(clone, "recipe_example.yaml")
    assert ended.code == 0, ended.err
    place = clone.place / "results" / "example"
    assert folders(place) == {"Low load", "High load"}
    files = {"concurrency_1_round_1.json", "concurrency_1_round_2.json", "concurrency_2_round_1.json"}
    files |= {"concurrency_2_round_2.json", "metrics_summary.csv", "histograms.hlog", "run.json"}
    assert {path.name for path in (place / "Low load").iterdir()} == files
    rows = (place / "metrics_summary.csv").read_text("utf-8-sig").splitlines()[1:]
    assert [row.split(",")[:3] for row in rows] == [
        ["Low load", "1", "1"],
        ["Low load", "1", "2"],
        ["Low load", "2", "1"],
        ["Low load", "2", "2"],
        ["High load", "8", "1"],
        ["High load", "8", "2"],
    ]
    assert read(place / "run.json")["partial"] is False
    goodput = [one["goodput"] is not None for one in read(place / "run.json")["rounds"]]
    assert goodput == [False] * 4 + [True] * 2


def test_the_one_with_rounds(clone: Fluxperf) -> None:
    ended = run(clone, "recipe_dual_round.yaml")
    assert ended.code == 0, ended.err
    place = clone.place / "results" / "dual_round"
    assert folders(place) == {"Short/One at a time", "Busy/Two levels"}
    busy = place / "Busy" / "Two levels"
    for level in (2, 4):
        assert (busy / f"concurrency_{level}_round_control.json").exists()
        assert cached(busy, level, 1) < 0.1
        assert cached(busy, level, 2) > 0.5
    evaluations = read(place / "run.json")["evaluations"]
    assert {one["stage"] for one in evaluations} == {"Short/One at a time", "Busy/Two levels"}


def test_the_one_with_environments(clone: Fluxperf) -> None:
    ended = run(clone, "recipe_env_test.yaml")
    assert ended.code == 0, ended.err
    place = clone.place / "results" / "env_test"
    assert folders(place) == {"Cache off", "Cache on"}
    assert [cached(place / "Cache off", 1, number) for number in (1, 2)] == [0, 0]
    assert cached(place / "Cache on", 1, 1) < 0.1
    assert cached(place / "Cache on", 1, 2) > 0.5
    assert "Cache off has ENABLE_PREFIX_CACHE=false" in (place / "Cache off" / "hooks.log").read_text("utf-8")
    off, on = read(place / "run.json")["stages"]
    assert off["env"] == {"ENABLE_PREFIX_CACHE": "false", "FLUXPERF_MOCK_DECODE_MS": "4"}
    assert on["env"] == {"ENABLE_PREFIX_CACHE": "true", "FLUXPERF_MOCK_DECODE_MS": "4", "HF_TOKEN": None}
    assert "Stages Side by Side" in ended.out


def test_the_one_that_restarts_a_server(clone: Fluxperf) -> None:
    ended = run(clone, "recipe_server_restart.yaml")
    assert ended.code == 0, ended.err
    place = clone.place / "results" / "server_restart"
    assert folders(place) == {"Large cache", "Small cache", "New for each level"}
    assert cached(place / "Large cache", 2, 2) > 0.5
    assert cached(place / "Small cache", 2, 2) < 0.3
    starts = [(place / name / "server.log").read_text("utf-8").count("listening on") for name in sorted(folders(place))]
    assert starts == [1, 2, 1]  # Large cache, New for each level, Small cache
    stages = read(place / "run.json")["stages"]
    assert [stage["server"]["starts"] for stage in stages] == [1, 1, 2]
    assert ["--cache-tokens 320" in stage["server"]["command"] for stage in stages] == [False, True, False]
    last = read(place / "New for each level" / "run.json")["rounds"]
    assert [one["cold"] for one in last if one["round"] == 1] == [True, True]


def test_options_beside_a_recipe(clone: Fluxperf) -> None:
    ended = run(clone, "recipe_env_test.yaml", "--num-samples 4 --rounds 1 --output-dir results/quick")
    assert ended.code == 0, ended.err
    assert "--num-samples 4 overrides num_samples 12" in ended.err
    rounds = read(clone.place / "results" / "quick" / "run.json")["rounds"]
    assert [one["total_requests"] for one in rounds] == [4, 4]


def test_sessions_with_a_large_cache_and_a_small_one(clone: Fluxperf) -> None:
    ended = run(clone, "recipe_sessions.yaml")
    assert ended.code == 0, ended.err
    place = clone.place / "results" / "sessions"
    large, small = (
        read(place / name / "concurrency_4_round_1.json")["summary"] for name in ("Large cache", "Small cache")
    )
    later = [one["turns"][1]["cached_tokens"]["ratio"] for one in (large, small)]
    assert later[0] > later[1]  # who thinks is pushed out of the small one
    assert cached(place / "Large cache", 4, 2) > 0.8
    assert (large["cold"], small["cold"]) == (True, True)
