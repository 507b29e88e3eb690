"""What was written is read back: the text made of it again is the same."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from fluxperf.errors import UsageError
from fluxperf.model import Outcome
from fluxperf.report import round_file_name, round_json, run_json
from fluxperf.stored import find_problem, read_run, read_runs

GOLDEN = Path(__file__).parent.parent / "golden"
FILES = ("run.json", "concurrency_5_round_1.json")


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    """The golden results in a directory of their own."""
    for name in FILES:
        (tmp_path / name).write_bytes((GOLDEN / name).read_bytes())
    return tmp_path


def change(folder: Path, **changes: Any) -> None:
    file = folder / "run.json"
    file.write_text(json.dumps(json.loads(file.read_text("utf-8")) | changes), "utf-8")


def test_a_run_is_what_it_was(stored: Path) -> None:
    assert "".join(run_json(read_run(stored))) == (stored / "run.json").read_text("utf-8")
    assert read_run(stored / "run.json").started_at == read_run(stored).started_at


def test_a_round_is_what_it_was(stored: Path) -> None:
    file = stored / FILES[1]
    slo = {"constraints": [{"metric": "ttft_ms", "below": 300}, {"metric": "itl_ms", "below": 25}]}
    text = file.read_text("utf-8").replace('"configuration": {', f'"configuration": {{"slo":{json.dumps(slo)},', 1)
    file.write_text(text, "utf-8")
    result = next(one for one in read_run(stored).rounds if round_file_name(one) == FILES[1])
    written = json.loads((stored / FILES[1]).read_text("utf-8"))
    again = json.loads("".join(round_json(result)))
    assert again["configuration"] == written["configuration"]
    assert len(result.requests) == len(again["requests"]) == len(written["requests"])
    assert again["requests"] == written["requests"]
    assert find_problem(result) is None


def test_a_file_that_something_else_wrote_anew_is_read_too(stored: Path) -> None:
    file = stored / FILES[1]
    before = [one.outcome for one in read_run(stored).rounds[0].requests]
    file.write_text(json.dumps(json.loads(file.read_text("utf-8")), indent=2), "utf-8")
    result = read_run(stored).rounds[0]
    assert [one.outcome for one in result.requests] == before
    assert Outcome.OK in before
    assert result.configuration


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (None, "cannot be read: No such file"),
        ("", "is no JSON"),
        ('{"schema": "fluxperf.round/1"}', "ends in the middle"),
        ('{"a": 1}', "has no requests in it"),
        ("[]", "is no round file"),
        ('{"schema": "fluxperf.round/1",\n"requests": [\n{"index": 1},\n{"ind', "request 0 cannot be understood"),
    ],
)
def test_a_broken_round_file_is_told_when_it_is_looked_into(stored: Path, text: str | None, says: str) -> None:
    file = stored / FILES[1]
    if text is None:
        file.unlink()
    else:
        file.write_text(text, "utf-8")
    result = read_run(stored).rounds[0]
    problem = find_problem(result)
    assert problem is not None
    assert problem.startswith(str(file))
    assert says in problem


def test_a_round_file_that_was_cut_short_gives_what_stands_before(stored: Path) -> None:
    file = stored / FILES[1]
    file.write_text(file.read_text("utf-8")[:-200], "utf-8")
    requests = iter(read_run(stored).rounds[0].requests)
    assert next(requests).index == 0
    with pytest.raises(UsageError, match="was it cut short"):
        list(requests)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (None, "there is no run.json in it: name the --output-dir of a run"),
        ("{", "is no JSON"),
        ("{}", "is no run.json of FluxPerf"),
        ('{"schema": "fluxperf.run/9"}', "use a newer FluxPerf"),
        ('{"schema": "fluxperf.run/1"}', "cannot be understood"),
    ],
)
def test_what_is_no_result_is_told(tmp_path: Path, text: str | None, says: str) -> None:
    if text is not None:
        (tmp_path / "run.json").write_text(text, "utf-8")
    with pytest.raises(UsageError, match=says):
        read_run(tmp_path)
    with pytest.raises(UsageError, match="no such directory"):
        read_run(tmp_path / "nowhere")


def test_what_an_older_version_did_not_write_is_empty(stored: Path) -> None:
    entry = json.loads((stored / "run.json").read_text("utf-8"))["rounds"][0]
    older = {
        name: entry[name]
        for name in (
            *("stage", "concurrency", "round", "file", "total_requests", "successful_requests", "failed_requests"),
            *("duration_s", "ttft_ms"),
        )
    }
    change(stored, rounds=[older], evaluations=[], comparisons=[])
    summary = read_run(stored).rounds[0].summary
    assert summary.stats["ttft_ms"].p50 == entry["ttft_ms"]["p50"]
    assert summary.stats["itl_ms"].p50 is None
    assert (summary.audit, summary.cache, summary.verdict) == (None, None, None)


def test_repeats_are_runs_of_their_own(stored: Path) -> None:
    entry = json.loads((stored / "run.json").read_text("utf-8"))["rounds"][0]
    titles = ("repeat 1/Short", "repeat 1/Long", "repeat 2/Short", "repeat 2/Long")
    stages = [
        {
            "name": title,
            "folder": title,
            "repeat": int(title[7]),
            "state": "complete" if title != titles[3] else "partial",
        }
        for title in titles
    ]
    change(stored, stages=stages, rounds=[entry | {"stage": title} for title in titles], comparisons=[], evaluations=[])
    first, second = read_runs([stored])
    assert [one.stage for one in first.rounds] == [one.stage for one in second.rounds] == ["Short", "Long"]
    assert [stage.name for stage in first.stages] == ["Short", "Long"]
    assert (first.partial, second.partial) == (False, True)


def test_repeats_of_a_run_without_a_recipe_have_no_stage(stored: Path) -> None:
    entry = json.loads((stored / "run.json").read_text("utf-8"))["rounds"][0]
    titles = ("repeat 1", "repeat 2")
    stages = [
        {"name": title, "folder": title, "repeat": number, "state": "complete", "configuration": {"seed": number}}
        for number, title in enumerate(titles, 1)
    ]
    change(stored, stages=stages, rounds=[entry | {"stage": title} for title in titles], comparisons=[], evaluations=[])
    runs = read_runs([stored])
    assert [[one.stage for one in run.rounds] for run in runs] == [[None], [None]]
    assert [run.configuration["seed"] for run in runs] == [1, 2]
    assert not any(run.stages for run in runs)
