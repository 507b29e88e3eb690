from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest

from fluxperf.compare.command import main
from fluxperf.errors import GateFailed, MeasurementInvalid, RunFailed, UsageError
from fluxperf.model import RunResult, Status, Verdict
from fluxperf.plan.gates import parse_gate
from tests.compare.runs import SLO
from tests.compare.simulated import Server, a_simulated_run, write_run

SLOWER = "ttft_ms.mean > +10%"


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the runs are: `base`, `same`, and one that is a fifth slower to the first token."""
    monkeypatch.chdir(tmp_path)
    for name, server in {"base": Server(seed=1), "same": Server(seed=2), "slow": Server(seed=3, slower=1.2)}.items():
        write_run(tmp_path / name, a_simulated_run(server))
    return tmp_path


def change(folder: Path, **changes: object) -> None:
    file = folder / "run.json"
    file.write_text(json.dumps(json.loads(file.read_text("utf-8")) | changes), "utf-8")


def test_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    assert "Nothing is sent anywhere." in capsys.readouterr().out


def test_runs_that_are_alike(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["base", "same", "--fail-on", SLOWER]) == 0
    out = capsys.readouterr().out
    assert "worse" not in out
    assert "No difference shown" in out
    assert "Gates: passed (2 gates passed)" in out


def test_a_slower_server_is_found_and_fails_the_gate(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(GateFailed) as caught:
        main(["base", "slow", "--fail-on", SLOWER, "--fail-on", "latency_ms.mean > +50%"])
    assert str(caught.value).startswith("2 of 4 gates failed:\n  ttft_ms.mean > +10% (concurrency 4, round 1): ")
    out = capsys.readouterr().out
    assert "NEW is worse: " in out
    assert "Gates: FAILED" in out


def test_quiet_is_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(GateFailed):
        main(["base", "slow", "--fail-on", SLOWER, "--quiet"])
    assert capsys.readouterr().out == ""


def test_annotations_are_on_stdout_also_if_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(GateFailed):
        main(["base", "slow", "--fail-on", SLOWER, "--quiet", "--github"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("::error title=Gate failed")
    assert all(line.startswith("::") for line in lines)


def test_files_for_ci(place: Path) -> None:
    (place / "summary.md").write_text("before\n")
    with pytest.raises(GateFailed):
        main(["base", "slow", "--fail-on", SLOWER, "--junit", "gates.xml", "--markdown", "summary.md", "--quiet"])
    assert (place / "gates.xml").read_text("utf-8").count("<failure") == 2
    assert (place / "summary.md").read_text("utf-8").startswith("before\n## FluxPerf failed: 2 of 2 gates failed")


def test_all_of_it_as_json(place: Path) -> None:
    with pytest.raises(GateFailed):
        main(["base", "slow", "--fail-on", SLOWER, "--json", "out.json", "--quiet"])
    found = json.loads((place / "out.json").read_text("utf-8"), parse_constant=pytest.fail)
    assert found["schema"] == "fluxperf.comparison/1"
    assert found["base"]["directories"] == ["base"]
    assert found["new"]["runs"] == [{"started_at": "2026-01-01T00:00:03Z", "verdict": "valid", "labels": {}}]
    assert found["summary"].startswith("NEW is worse")
    assert found["margin"] == 0.02
    assert sum(found["calls"].values()) == len(found["contrasts"])
    first = found["contrasts"][0]
    assert (first["stage"], first["concurrency"], first["round"], first["figure"]) == (None, 4, 1, "ttft_ms.mean")
    assert (first["call"], first["way"], first["counts"]) == ("worse", "paired", [60, 60])
    assert first["ratio"] == pytest.approx(first["new"] / first["base"])
    assert first["interval"][0] < first["ratio"] < first["interval"][1]
    assert [gate["outcome"] for gate in found["gates"]] == ["failed", "failed"]
    assert all(gate["gate"] == SLOWER and gate["failed"] for gate in found["gates"])


def test_bounds_that_do_not_exist_are_null(place: Path) -> None:
    write_run(place / "failing", a_simulated_run(Server(seed=4, failing=0.5)))
    assert main(["base", "failing", "--metrics", "errors", "ttft_ms.p99", "--json", "out.json", "--quiet"]) == 0
    found = json.loads((place / "out.json").read_text("utf-8"), parse_constant=pytest.fail)
    errors = next(one for one in found["contrasts"] if one["figure"] == "errors.ratio")
    assert (errors["base"], errors["ratio"], errors["interval"][1], errors["call"]) == (0, None, None, "worse")


def test_figures_are_narrowed_and_corrected_for_so_many(place: Path) -> None:
    assert main(["base", "same", "--metrics", "ttft_ms.mean", "--json", "out.json", "--quiet"]) == 0
    found = json.loads((place / "out.json").read_text("utf-8"))
    assert [one["figure"] for one in found["contrasts"]] == ["ttft_ms.mean", "ttft_ms.mean"]
    assert {one["confidence"] for one in found["contrasts"]} == {0.975}


def test_repeats(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for seed in range(11, 14):
        write_run(place / f"n{seed}", a_simulated_run(Server(seed=seed)))
        write_run(place / f"s{seed}", a_simulated_run(Server(seed=seed + 10, slower=1.3)))
    words = ["--base", "n11", "n12", "n13", "--new", "s11", "s12", "s13", "--metrics", "ttft_ms.mean"]
    assert main([*words, "--json", "out.json"]) == 0
    assert "One run a side" not in capsys.readouterr().out
    found = json.loads((place / "out.json").read_text("utf-8"))
    assert {(one["way"], one["call"], *one["counts"]) for one in found["contrasts"]} == {("repeats", "worse", 3, 3)}


def unlike(server: Server) -> RunResult:
    run = a_simulated_run(server)
    return replace(run, configuration={**run.configuration, "model": "another", "temperature": 1})


def test_unlike_runs_are_refused_with_all_differences_and_nothing_is_written(place: Path) -> None:
    write_run(place / "unlike", unlike(Server(seed=4)))
    files = ["--json", "a", "--junit", "b", "--markdown", "c"]
    with pytest.raises(UsageError) as caught:
        main(["base", "unlike", *files])
    assert str(caught.value).splitlines() == [
        "BASE and NEW cannot be compared:",
        "  model: BASE has m, NEW has another",
        "  temperature: BASE has 0, NEW has 1",
        "measure again with the same plan, or compare all the same with --allow-different",
    ]
    assert not [name for name in "abc" if (place / name).exists()]


def test_unlike_runs_can_be_compared_all_the_same(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_run(place / "unlike", unlike(Server(seed=4)))
    assert main(["base", "unlike", "--allow-different", "--markdown", "c", "--json", "a"]) == 0
    difference = "model: BASE has m, NEW has another"
    assert difference in capsys.readouterr().out
    assert difference in (place / "c").read_text("utf-8")
    assert json.loads((place / "a").read_text("utf-8"))["differences"][0] == difference


def test_an_invalid_round_is_refused(place: Path) -> None:
    file = place / "same" / "run.json"
    found = json.loads(file.read_text("utf-8"))
    found["verdict"] = found["rounds"][0]["verdict"] = {"status": "invalid", "reasons": ["stamps are late"]}
    file.write_text(json.dumps(found), "utf-8")
    with pytest.raises(UsageError, match="invalid: NEW, concurrency 4, round 1: stamps are late"):
        main(["base", "same"])
    with pytest.raises(MeasurementInvalid, match="stamps are late"):
        main(["base", "same", "--strict"])
    assert main(["base", "same", "--allow-different", "--quiet"]) == 0


def test_strict_asks_for_the_whole_runs_verdict_before_gates(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    change(place / "slow", verdict={"status": "invalid", "reasons": ["the reset did nothing"]})
    with pytest.raises(GateFailed):
        main(["base", "slow", "--fail-on", SLOWER])
    with pytest.raises(MeasurementInvalid, match="NEW: the reset did nothing"):
        main(["base", "slow", "--fail-on", SLOWER, "--strict"])
    assert "NEW is worse" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["base", "nothing"], "nothing: there is neither such a directory nor a baseline"),
        (["base", "base"], "BASE and NEW are the same run"),
        (["base", "same", "--fail-on", "concurrency=9 ttft_ms.p99 > 1"], "concurrency"),
        (["base", "same", "--fail-on", "goodput.ratio < 0.9"], "there is no goodput without objectives"),
        (["base", "same", "--metrics", "goodput"], "BASE and NEW have no figure in common"),
    ],
)
def test_what_cannot_be_done(words: list[str], says: str) -> None:
    with pytest.raises(UsageError) as caught:
        main([*words, "--quiet"])
    assert says in str(caught.value)


def test_a_round_file_that_is_missing_is_named(place: Path) -> None:
    (place / "same" / "concurrency_4_round_2.json").unlink()
    with pytest.raises(UsageError, match="concurrency_4_round_2"):
        main(["base", "same"])


def test_a_summary_that_cannot_be_written(place: Path) -> None:
    (place / "locked").mkdir()
    (place / "locked" / "file").symlink_to("/dev/full")
    with pytest.raises(RunFailed, match="cannot write"):
        main(["base", "same", "--markdown", "locked/file", "--quiet"])


def test_goodput_and_the_point(place: Path) -> None:
    for name, server in {"g1": Server(seed=5), "g2": Server(seed=6, slower=9)}.items():
        write_run(place / name, a_simulated_run(server, slo=SLO))
    gate = "goodput.ratio < 0.9"
    assert parse_gate(gate).threshold == pytest.approx(0.9)
    with pytest.raises(GateFailed):
        main(["g1", "g2", "--fail-on", gate, "--judge", "point", "--quiet", "--json", "out.json"])
    found = json.loads((place / "out.json").read_text("utf-8"))
    assert any(one["figure"] == "goodput.ratio" and one["call"] == "worse" for one in found["contrasts"])
    assert all(gate["bounds"] is None and math.isfinite(gate["value"]) for gate in found["gates"])


def test_a_verdict_is_no_difference(place: Path) -> None:
    run = a_simulated_run(Server(seed=8))
    write_run(place / "odd", replace(run, verdict=Verdict(status=Status.DEGRADED, reasons=("x",))))
    assert main(["base", "odd", "--strict", "--quiet"]) == 0
