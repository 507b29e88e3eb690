"""`fluxperf compare` as its users run it: on results that runs have left, and on stored ones that were made up."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.compare.simulated import Server, a_simulated_run, write_run
from tests.end_to_end.command import Fluxperf
from tests.end_to_end.servers import running_mock

PROMPTS = 48
FAST = ("--prefill-tokens-per-s", "1e6", "--decode-ms", "1", "--overhead-ms", "10", "--jitter", "0.01")
SLOW = (*FAST[:-4], "--overhead-ms", "30", "--jitter", "0.01")


@pytest.fixture(scope="module")
def measured(shared_fluxperf: Fluxperf) -> Iterator[Fluxperf]:
    """Real runs: `a`, and `slow` of a server that takes three times as long to begin with."""
    shared_fluxperf.write_prompts(PROMPTS)
    line = "--dataset prompts.jsonl --concurrency 2 --max-output-tokens 4 --quiet"
    with ExitStack() as stack:
        for name, options in {"a": FAST, "slow": SLOW}.items():
            mock = stack.enter_context(running_mock(*options))
            ended = shared_fluxperf(f"{line} --endpoint {mock.url} --output-dir {name} --label build={name}")
            assert ended.code == 0, ended.err
        yield shared_fluxperf


def read(path: Path) -> Any:
    return json.loads(path.read_text("utf-8"))


def test_what_runs_have_left_is_compared(measured: Fluxperf) -> None:
    # A machine that is busy may make a round invalid, which is not what is asked here.
    ended = measured("compare a slow --allow-different --json out.json")
    assert ended.code == 0, ended.err
    assert "label build: BASE has a, NEW has slow" in ended.out
    found = read(measured.place / "out.json")
    rounds = [read(measured.place / name / "run.json")["rounds"] for name in ("a", "slow")]
    medians = [one for one in found["contrasts"] if one["figure"] == "ttft_ms.p50"]
    assert [(one["base"], one["new"]) for one in medians] == [
        (base["ttft_ms"]["p50"], new["ttft_ms"]["p50"]) for base, new in zip(*rounds, strict=True)
    ]
    means = [one for one in found["contrasts"] if one["figure"] == "ttft_ms.mean"]
    assert [(one["way"], one["counts"]) for one in means] == 2 * [("paired", [PROMPTS, PROMPTS])]
    assert all(one["ratio"] > 1.5 for one in means)


@pytest.fixture
def stored(fluxperf: Fluxperf) -> Fluxperf:
    """Stored runs: two that are alike, one of a slower server, and one of another kind."""
    servers = {"base": Server(seed=1), "new": Server(seed=2), "slow": Server(seed=4, slower=1.3)}
    for name, server in servers.items():
        write_run(fluxperf.place / name, a_simulated_run(server))
    other = a_simulated_run(Server(seed=3), prompts=30)
    write_run(fluxperf.place / "other", replace(other, configuration={**other.configuration, "mode": "multi_turn"}))
    return fluxperf


def test_servers_that_are_alike(stored: Fluxperf) -> None:
    ended = stored("compare base new --fail-on 'ttft_ms.mean > +10%' --strict")
    assert ended.code == 0, ended.err
    assert "No difference shown" in ended.out
    assert "Gates: passed (2 gates passed)" in ended.out


def test_a_server_that_became_slower(stored: Fluxperf) -> None:
    ended = stored("compare base slow --fail-on 'ttft_ms.mean > +10%' --junit g.xml --markdown g.md --github")
    assert ended.code == 1
    assert ended.out.splitlines()[3].startswith("NEW is worse: ")
    assert "2 of 2 gates failed" in ended.err
    assert "::error title=Gate failed" in ended.out
    assert "<failure" in (stored.place / "g.xml").read_text("utf-8")
    assert "FluxPerf failed" in (stored.place / "g.md").read_text("utf-8")


def test_a_server_that_became_faster(stored: Fluxperf) -> None:
    ended = stored("compare slow base --metrics ttft_ms.mean")
    assert ended.code == 0
    assert ended.out.splitlines()[3].startswith("NEW is better: 2 of 2 figures better.")


def test_unlike_runs_are_refused(stored: Fluxperf) -> None:
    ended = stored("compare base other")
    assert (ended.code, ended.out) == (2, "")
    assert "mode: BASE has dual_round, NEW has multi_turn" in ended.err
    assert "prompts: BASE has 60, NEW has 30" in ended.err
    ended = stored("compare base other --allow-different")
    assert ended.code == 0, ended.err
    assert "Unlike runs, compared all the same" in ended.out


def test_an_interrupted_run_is_refused(stored: Fluxperf) -> None:
    write_run(stored.place / "cut", replace(a_simulated_run(Server(seed=9)), partial=True))
    ended = stored("compare base cut --json never.json")
    assert (ended.code, ended.out) == (2, "")
    assert "partial: NEW was stopped before its end" in ended.err
    assert not (stored.place / "never.json").exists()


def test_a_run_with_repeats_counts_as_so_many(fluxperf: Fluxperf) -> None:
    fluxperf.write_prompts(8)
    line = "--mock-server --dataset prompts.jsonl --concurrency 2 --max-output-tokens 2 --quiet --repeat 2"
    for name in ("first", "second"):
        ended = fluxperf(f"{line} --output-dir {name}")
        assert ended.code == 0, ended.err
    ended = fluxperf("compare first second --allow-different --metrics ttft_ms.mean --json out.json")
    assert ended.code == 0, ended.err
    found = read(fluxperf.place / "out.json")
    assert [len(found[side]["runs"]) for side in ("base", "new")] == [2, 2]
    assert {(one["way"], *one["counts"]) for one in found["contrasts"]} == {("repeats", 2, 2)}
    ended = fluxperf("compare first/repeat_1 second/repeat_2 --allow-different --metrics ttft_ms.mean")
    assert ended.code == 0, ended.err
    assert "8 pairs" in ended.out


def test_baselines_are_named(stored: Fluxperf) -> None:
    assert stored("baseline save main base").code == 0
    ended = stored("compare main new")
    assert ended.code == 0, ended.err
    assert "No difference shown" in ended.out


def test_a_reader_that_goes_away_changes_nothing(stored: Fluxperf) -> None:
    running = stored.start("compare base new --json out.json")
    assert running.process.stdout is not None
    running.process.stdout.close()
    assert running.process.wait(20) == 0
    assert (stored.place / "out.json").exists()


def test_help(fluxperf: Fluxperf) -> None:
    ended = fluxperf("compare --help")
    assert (ended.code, ended.err) == (0, "")
    assert "fluxperf compare BASE NEW" in ended.out
