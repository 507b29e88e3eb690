"""Whole campaigns: stages, each with its environment, server and hooks, and what is written and said of them."""

from __future__ import annotations

import hashlib
import re
import socket
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.command import ROOT, Ended, Fluxperf, fluxperf_in
from tests.end_to_end.servers import Mock, Serve
from tests.end_to_end.stub import Stub, free_port, read_json, states, write_recipe

TOKEN = "hf_seventeen_horses"

# Two suites with stages of one name; a server that is the mock, started by a command, whose own words say its pid.
FULL = """
# how the cache fares
global:
  dataset: prompts.jsonl
  endpoint: http://127.0.0.1:{port}/v1/chat/completions
  concurrency: 1
  num_samples: 4
  max_output_tokens: 4
  output_dir: out
  output: copies/all.json
  label: {{campaign: horses}}
server:
  command: echo $$ > server.pid; exec {python} {mocker} --port {port}
  shell: true
  ready: {{url: /health}}
  ready_timeout_s: 20
  stop_timeout_s: 5
hooks:
  before_stage: env > "$FLUXPERF_OUTPUT_DIR/before.env"
  before_round:
    - env > "$FLUXPERF_OUTPUT_DIR/$FLUXPERF_CONCURRENCY.$FLUXPERF_ROUND.env"
    - tr '\\0' '\\n' < /proc/$(cat server.pid)/environ > "$FLUXPERF_OUTPUT_DIR/server.env"
  after_stage: env > "$FLUXPERF_OUTPUT_DIR/after.env"
suites:
  - name: Day
    stages:
      - name: "Plain: as it is"
        concurrency: [1, 2]
        control_round: true
      - name: Coloured
        env: {{COLOUR: red, COUNT: 3, ON: true, TOWN: null, MY_TOKEN: {token}, FLUXPERF_MOCK_DECODE_MS: 0.5}}
        output: copies/coloured.json
  - name: Night
    stages:
      - name: Coloured
        env: {{COLOUR: "${{SHADE:-dark}} blue"}}
"""
TITLES = ["Day/Plain: as it is", "Day/Coloured", "Night/Coloured"]
FOLDERS = ["Day/Plain_ as it is", "Day/Coloured", "Night/Coloured"]


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The whole of it, run once."""
    with fluxperf_in(tmp_path_factory.mktemp("full")) as fluxperf:
        fluxperf.write_prompts(20)
        words = {
            "python": sys.executable,
            "mocker": ROOT / "mock" / "llm_mocker.py",
            "port": free_port(),
            "token": TOKEN,
        }
        (fluxperf.place / "full.yaml").write_text(FULL.format(**words))
        line = "--recipe full.yaml --num-samples 3 --max-output-tokens 3 --workers 1"
        ended = fluxperf(line, {"TOWN": "Ulm", "COLOUR": "grey", "SHADE": "pale"})
        assert ended.code == 0, ended.err
        yield fluxperf, ended


def read_env(path: Path) -> dict[str, str]:
    lines = path.read_text().splitlines()
    return {name: text for name, equals, text in (line.partition("=") for line in lines) if equals}


@pytest.mark.parametrize("name", ["before.env", "1.1.env", "1.2.env", "after.env", "server.env"])
def test_the_environment_of_a_stage_is_seen_by_its_hooks_and_server_and_is_gone_after_it(
    full: tuple[Fluxperf, Ended], name: str
) -> None:
    plain, coloured, night = (read_env(full[0].out / folder / name) for folder in FOLDERS)
    assert (plain["COLOUR"], plain["TOWN"]) == ("grey", "Ulm")
    assert {key: coloured.get(key) for key in ("COLOUR", "COUNT", "ON", "TOWN", "MY_TOKEN")} == {
        "COLOUR": "red",
        "COUNT": "3",
        "ON": "true",
        "TOWN": None,
        "MY_TOKEN": TOKEN,
    }
    assert (night["COLOUR"], night["TOWN"]) == ("pale blue", "Ulm")
    assert not {"COUNT", "ON", "MY_TOKEN", "FLUXPERF_MOCK_DECODE_MS"} & {*plain, *night}


def test_hooks_are_told_where_the_campaign_stands(full: tuple[Fluxperf, Ended]) -> None:
    place = full[0].out / FOLDERS[0]
    names = ("STAGE", "CONCURRENCY", "ROUND", "OUTPUT_DIR")
    told = {
        path.name: tuple(read_env(path)[f"FLUXPERF_{name}"] for name in names)
        for path in place.glob("*.env")
        if path.name != "server.env"
    }
    stage = "Plain: as it is"
    of_rounds = {
        f"{level}.{name}.env": (stage, str(level), name, str(place))
        for level in (1, 2)
        for name in ("1", "2", "control")
    }
    assert told == {
        "before.env": (stage, "", "", str(place)),
        "after.env": (stage, "", "", str(place)),
        **of_rounds,
    }


def test_every_stage_has_its_folder_and_the_campaign_the_files_over_all(full: tuple[Fluxperf, Ended]) -> None:
    fluxperf, _ = full
    usual = {
        "run.json",
        "metrics_summary.csv",
        "histograms.hlog",
        "server.log",
        "hooks.log",
        "before.env",
        "after.env",
        "server.env",
    }
    for folder in FOLDERS:
        files = {path.name for path in (fluxperf.out / folder).iterdir()}
        rounds = {name for name in files if name.startswith("concurrency_")}
        assert files - rounds - {name for name in files if re.match(r"\d", name)} == usual
        assert len(rounds) == (6 if folder == FOLDERS[0] else 2)
        of_stage = read_json(fluxperf.out / folder / "run.json")
        assert (of_stage["partial"], len(of_stage["rounds"])) == (False, len(rounds))
    run = fluxperf.run_json()
    assert {path.name for path in fluxperf.out.iterdir()} == {
        "run.json",
        "metrics_summary.csv",
        "histograms.hlog",
        "Day",
        "Night",
    }
    for summary in run["rounds"]:
        assert read_json(fluxperf.out / summary["file"])["summary"]["total_requests"] == 3
    assert [(row["stage"], row["concurrency"], row["round"]) for row in fluxperf.csv_rows()] == [
        (one["stage"], str(one["concurrency"]), str(one["round"])) for one in run["rounds"]
    ]
    assert list(dict.fromkeys(one["stage"] for one in run["rounds"])) == TITLES


def test_run_json_tells_of_all_stages(full: tuple[Fluxperf, Ended]) -> None:
    run = full[0].run_json()
    assert (run["schema"], run["partial"], run["labels"]) == ("fluxperf.run/1", False, {"campaign": "horses"})
    assert [(one["name"], one["folder"], one["state"], one["error"]) for one in run["stages"]] == [
        (title, folder, "complete", None) for title, folder in zip(TITLES, FOLDERS, strict=True)
    ]
    times = [time for one in run["stages"] for time in (one["started_at"], one["ended_at"])]
    assert [run["started_at"], *times, run["ended_at"]] == sorted([run["started_at"], *times, run["ended_at"]])
    assert run["stages"][1]["env"] == {
        "COLOUR": "red",
        "COUNT": "3",
        "ON": "true",
        "TOWN": None,
        "MY_TOKEN": "****",
        "FLUXPERF_MOCK_DECODE_MS": "0.5",
    }
    assert [one["server"]["starts"] for one in run["stages"]] == [1, 1, 1]
    assert {(one["stage"], one["concurrency"]) for one in run["evaluations"]} == {
        (TITLES[0], 1),
        (TITLES[0], 2),
        (TITLES[1], 1),
        (TITLES[2], 1),
    }
    assert {one["stage"] for one in run["comparisons"]} == set(TITLES)
    assert run["verdict"]["status"] in ("valid", "degraded", "invalid")


def test_run_json_tells_where_it_comes_from(full: tuple[Fluxperf, Ended]) -> None:
    fluxperf, _ = full
    run = fluxperf.run_json()
    environment = run["environment"]
    assert {"fluxperf", "python", "libraries", "host", "revision", "working_directory"} <= environment.keys()
    assert {"cpu", "cores", "kernel", "container"} <= environment["host"].keys()
    assert environment["revision"] is None or "commit" in environment["revision"]
    recipe = (fluxperf.place / "full.yaml").read_bytes()
    assert run["recipe"]["path"] == "full.yaml"
    assert run["recipe"]["sha256"] == hashlib.sha256(recipe).hexdigest()
    assert run["recipe"]["text"] == recipe.decode().replace(TOKEN, "****")
    for stage in run["stages"]:
        settings, server = stage["configuration"], stage["server"]
        data = (fluxperf.place / "prompts.jsonl").read_bytes()
        assert settings["dataset_sha256"] == hashlib.sha256(data).hexdigest()
        assert settings["seed"] == 42
        assert "llm_mocker.py --port" in server["command"]
        assert server["answers"]["models"]["data"][0]["id"] == "fluxperf-mock"
        assert "version" in server["answers"]["version"]
        assert Path(server["log"]).exists()
        assert stage["verdict"]["status"] in ("valid", "degraded", "invalid")


def test_copies_are_what_they_are_copies_of(full: tuple[Fluxperf, Ended]) -> None:
    fluxperf, _ = full
    copies = fluxperf.place / "copies"
    assert read_json(copies / "all.json") == fluxperf.run_json()
    assert read_json(copies / "coloured.json") == read_json(fluxperf.out / "Day" / "Coloured" / "run.json")
    assert len(list(copies.iterdir())) == 2


def test_titles_head_the_tables_and_a_table_closes(full: tuple[Fluxperf, Ended]) -> None:
    out = full[1].out
    for title in TITLES:
        assert f"Stage: {title} | Concurrency: 1 | Round 2 Performance Metrics" in out
    closing = out.split("Stages Side by Side")[1]
    assert [closing.count(title) for title in TITLES] == [1, 1, 1]
    assert re.findall(r"\d+/\d+", closing) == ["9/9", "9/9", "6/6", "6/6"]


def test_what_the_command_line_overrides_is_said_and_written(full: tuple[Fluxperf, Ended]) -> None:
    fluxperf, ended = full
    for text in ("--num-samples 3 overrides num_samples 4", "--max-output-tokens 3 overrides max_output_tokens 4"):
        assert f"fluxperf: {text}\n" in ended.err
        assert text in fluxperf.run_json()["configuration"]["overrides"]
    assert "--workers" not in ended.err


def test_no_secret_is_on_disk_but_where_the_user_put_it(full: tuple[Fluxperf, Ended]) -> None:
    fluxperf, ended = full
    assert TOKEN not in ended.out + ended.err
    holders = {path.name for path in fluxperf.place.rglob("*") if path.is_file() and TOKEN in path.read_text("latin-1")}
    assert holders == {"full.yaml", "before.env", "after.env", "1.1.env", "1.2.env", "server.env"}


def test_a_dry_run_shows_all_of_it_and_does_nothing(full: tuple[Fluxperf, Ended]) -> None:
    fluxperf, _ = full
    before = sorted(path for path in fluxperf.place.rglob("*"))
    ended = fluxperf("--recipe full.yaml --dry-run --output-dir elsewhere")
    assert ended.code == 0, ended.err
    for title in TITLES:
        assert title in ended.out
    for text in ("llm_mocker.py", "COLOUR=red", "TOWN unset", "MY_TOKEN=****", "before.env", "/health", "40 requests"):
        assert text in ended.out, text
    assert TOKEN not in ended.out
    assert sorted(path for path in fluxperf.place.rglob("*")) == before


def test_a_dry_run_without_a_recipe(fluxperf: Fluxperf, serve: Serve) -> None:
    server = serve(lambda exchange: exchange.stream("a"))
    fluxperf.write_prompts(5)
    ended = fluxperf.measure(server.url, "--dry-run --concurrency 1 2 --num-samples 2")
    assert ended.code == 0, ended.err
    assert "8 requests" in ended.out
    assert (server.connections, server.bodies) == (0, [])
    assert not fluxperf.out.exists()


@pytest.fixture
def stub(tmp_path: Path) -> Stub:
    return Stub.at(tmp_path)


def write_failing(fluxperf: Fluxperf, stub: Stub, **more: Any) -> None:
    """Three stages, of which the middle one's server cannot start."""
    fluxperf.write_prompts(4)
    stages = [{"name": "one"}, {"name": "two", "env": {"STUB_MOOD": "fail"}}, {"name": "three"}]
    shared = {"endpoint": stub.url, "concurrency": 2}
    write_recipe(fluxperf, {"global": shared, "server": stub.block(), "stages": stages, **more})


def test_after_a_failure_the_next_stage_is_run_if_that_is_wanted(fluxperf: Fluxperf, stub: Stub) -> None:
    write_failing(fluxperf, stub, continue_on_error=True)
    ended = fluxperf("--recipe recipe.yaml")
    assert ended.code == 3
    assert ended.err.splitlines()[-1] == "fluxperf: 1 of 3 stages failed: two"
    assert "stage two failed: the server died: exit status 5" in ended.err
    assert ended.err.count("loading part 39") == 1
    run = fluxperf.run_json()
    assert states(run) == {"one": "complete", "two": "failed", "three": "complete"}
    assert run["stages"][1]["error"].startswith("the server died: exit status 5")
    assert run["partial"] is True
    assert [one["stage"] for one in run["rounds"]] == ["one", "one", "three", "three"]
    assert [start["environ"].get("STUB_MOOD") for start in stub.starts()] == [None, "fail", None]
    closing = ended.out.split("Stages Side by Side")[1]
    assert "the server died: exit status 5" in closing
    # What failed can be done again.
    stub.be("")
    again = fluxperf("--recipe recipe.yaml --resume")
    assert again.code == 0, again.err
    assert states(fluxperf.run_json()) == {"one": "complete", "two": "complete", "three": "complete"}
    assert [one["stage"] for one in fluxperf.run_json()["rounds"]] == ["one", "one", "two", "two", "three", "three"]


def test_else_the_run_ends_with_it(fluxperf: Fluxperf, stub: Stub) -> None:
    write_failing(fluxperf, stub)
    ended = fluxperf("--recipe recipe.yaml")
    assert ended.code == 3
    assert ended.err.count("loading part 39") == 1
    assert states(fluxperf.run_json()) == {"one": "complete", "two": "failed", "three": "not run"}
    closing = ended.out.split("Stages Side by Side")[1]
    assert "not run" in closing
    assert not (fluxperf.out / "three").exists()


def test_an_interruption_ends_all_stages_whatever_is_to_follow_a_failure(fluxperf: Fluxperf, stub: Stub) -> None:
    write_failing(fluxperf, stub, continue_on_error=True)
    stub.be("hold=3")
    running = fluxperf.start("--recipe recipe.yaml")
    stub.await_posts(running, 4)
    running.press_ctrl_c()
    ended = running.end()
    assert (ended.code, ended.err.splitlines()[-1]) == (130, "fluxperf: interrupted")
    assert states(fluxperf.run_json()) == {"one": "partial", "two": "not run", "three": "not run"}
    closing = ended.out.split("Stages Side by Side")[1]
    assert (closing.count("stopped before its end"), closing.count("not run")) == (1, 2)
    assert len(stub.starts()) == 1


def failing(word: str) -> str:
    return f"for n in $(seq 50); do echo {word} $n; done; exit 9"


def test_a_hook_that_fails_fails_its_stage(fluxperf: Fluxperf, mock: Mock) -> None:
    fluxperf.write_prompts(4)
    kinds = ("before_stage", "before_round", "after_stage")
    stages = [{"name": kind, "hooks": {"after_stage": "echo over", kind: failing(kind)}} for kind in kinds]
    shared = {"endpoint": mock.url, "concurrency": 2, "continue_on_error": True}
    write_recipe(fluxperf, {"global": shared, "stages": [*stages, {"name": "none"}]})
    ended = fluxperf("--recipe recipe.yaml")
    assert ended.code == 3
    assert ended.err.splitlines()[-1] == f"fluxperf: 3 of 4 stages failed: {', '.join(kinds)}"
    for kind in kinds:
        assert f"hook {kind} failed: exit status 9" in ended.err
        assert [int(number) for number in re.findall(rf"\| {kind} (\d+)", ended.err)] == list(range(21, 51))
        log = (fluxperf.out / kind / "hooks.log").read_text()
        assert f"{kind} 1\n" in log
        assert ("over\n" in log) == (kind != "after_stage")  # whatever became of the stage
    run = fluxperf.run_json()
    assert states(run) == {**dict.fromkeys(kinds, "failed"), "none": "complete"}
    # A stage whose last hook fails has its rounds all the same.
    assert [one["stage"] for one in run["rounds"]] == ["after_stage"] * 2 + ["none"] * 2
    assert mock.truth()["requests"] == 16


def colds(run: Any) -> dict[str, list[tuple[Any, str | None]]]:
    """Of each stage's first rounds, whether they were cold, and why not."""
    found: dict[str, list[tuple[Any, str | None]]] = {}
    for one in run["rounds"]:
        if one["round"] == 1:
            found.setdefault(one["stage"], []).append((one["cold"], one["cold_reason"]))
    return found


def test_stages_on_one_server_are_not_cold_and_strict_is_said_when_all_have_run(fluxperf: Fluxperf, mock: Mock) -> None:
    fluxperf.write_prompts(16)
    shared = {"endpoint": mock.url, "concurrency": [1, 2], "num_samples": 8, "engine": "vllm", "strict": True}
    stages = [{"name": "one"}, {"name": "two"}, {"name": "three", "concurrency": 2}]
    write_recipe(fluxperf, {"global": shared, "stages": stages})
    ended = fluxperf("--recipe recipe.yaml")
    assert ended.code == 4, ended.err
    found = colds(fluxperf.run_json())
    assert [cold for cold, _ in found["one"]] == [True, True]
    assert found["two"] == [(False, f"not cold: sent before at concurrency {level} of stage one") for level in (1, 2)]
    assert "not cold: sent before at concurrency 2 of stage one" in ended.out
    rows = [row for row in fluxperf.csv_rows() if row["stage"] == "two" and row["round"] == "1"]
    assert [row["cold"] for row in rows] == ["false", "false"]
    run = fluxperf.run_json()
    assert states(run) == dict.fromkeys(("one", "two", "three"), "complete")
    assert (run["partial"], run["verdict"]["status"]) == (False, "invalid")
    for name in ("two", "three"):
        assert f"fluxperf: stage {name}: the measurement is invalid (--strict):" in ended.err


def test_a_server_that_begins_anew_is_cold(fluxperf: Fluxperf) -> None:
    """The same prompts in every level; how often the mock is started decides."""
    fluxperf.write_prompts(4, words=40)
    shared = {"concurrency": [1, 2], "same_samples": True, "engine": "vllm"}
    kinds = ("per_stage", "per_level", "per_round")
    mock = {"prefill_tokens_per_s": 1e6, "decode_ms": 0.5, "overhead_ms": 1}
    server = {"command": "true"}
    stages: list[dict[str, Any]] = [{"name": kind, "server": {**server, "restart": kind}} for kind in kinds]
    stages[-1]["concurrency"] = 2
    write_recipe(fluxperf, {"global": shared, "mock_server": mock, "stages": stages})
    ended = fluxperf("--recipe recipe.yaml")
    assert ended.code == 0, ended.err
    run = fluxperf.run_json()
    found = colds(run)
    assert found["per_stage"][1] == (False, "not cold: sent before at concurrency 1 of stage per_stage")
    for kind in kinds:
        assert found[kind][0][0] is True
    assert [cold for cold, _ in found["per_level"]] == [True, True]
    hits = {
        kind: [one["cached_tokens"]["cached_tokens"] > 0 for one in run["rounds"] if one["stage"] == kind]
        for kind in kinds
    }
    assert hits == {
        "per_stage": [False, True, True, True],
        "per_level": [False, True, False, True],
        "per_round": [False, False],
    }
    assert [one["server"]["starts"] for one in run["stages"]] == [1, 2, 2]
    answers = {one["stage"]: one for one in run["evaluations"]}
    assert answers["per_round"]["answer"] != "yes"


def test_a_server_that_is_never_restarted(fluxperf: Fluxperf, stub: Stub) -> None:
    """Kept over stages, also over a difference in the environment, which is said."""
    fluxperf.write_prompts(4)
    stages = [{"name": name, "env": {"COLOUR": name}} for name in ("red", "red too", "blue")]
    stages[1]["env"] = stages[0]["env"]
    shared = {"endpoint": stub.url, "concurrency": 2}
    write_recipe(fluxperf, {"global": shared, "server": stub.block(restart="never"), "stages": stages})
    ended = fluxperf("--recipe recipe.yaml")
    assert ended.code == 0, ended.err
    (pid,) = stub.pids()
    assert [post["pid"] for post in stub.posts()] == [pid] * 24
    assert stub.starts()[0]["environ"]["COLOUR"] == "red"
    assert ended.err.count("the server keeps the environment of stage red: restart is never") == 1
    run = fluxperf.run_json()
    assert [one["env"] for one in run["stages"]] == [{"COLOUR": name} for name in ("red", "red", "blue")]
    assert {one["server"]["starts"] for one in run["stages"]} == {1}
    assert {one["server"]["log"] for one in run["stages"]} == {str(fluxperf.out / "red" / "server.log")}
    assert colds(run)["blue"] == [(False, "not cold: sent before at concurrency 2 of stage red")]


def test_a_stage_without_a_server_between_stages_with_one(fluxperf: Fluxperf, stub: Stub, mock: Mock) -> None:
    """It ends the server, though that is never restarted: what runs beside the measurement would disturb it."""
    fluxperf.write_prompts(4)
    stages = [
        {"name": "one"},
        {"name": "without", "server": None, "endpoint": mock.url},
        {"name": "two"},
    ]
    shared = {"endpoint": stub.url, "concurrency": 2}
    write_recipe(fluxperf, {"global": shared, "server": stub.block(restart="never"), "stages": stages})
    ended = fluxperf("--recipe recipe.yaml")
    assert ended.code == 0, ended.err
    assert mock.truth()["requests"] == 8
    servers = {one["name"]: one["server"] or {} for one in fluxperf.run_json()["stages"]}
    assert "command" not in servers["without"]
    assert "stub_server.py" in servers["one"]["command"]
    first, second = stub.pids()
    assert [post["pid"] for post in stub.posts()] == [first] * 8 + [second] * 8
    assert [cold for cold, _ in colds(fluxperf.run_json())["two"]] != [False]
    with socket.socket() as client:
        assert client.connect_ex(("127.0.0.1", stub.port)) != 0
