"""Recipes in the form that older programs of this name took: they run as they are."""

from __future__ import annotations

import json
import shlex
import socket
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.command import ROOT, Fluxperf

# Every key that had a null where nothing was wanted, a mock server, and suites with levels of their own.
SUITES = """
global:
  dataset: "prompts.jsonl"
  endpoint: "http://127.0.0.1:{port}/v1/chat/completions"
  model: "tiny-chat"
  mode: "{mode}"
  timeout: 60
  max_input_length: null
  max_output_tokens: 32
  min_output_tokens: null
  max_context_tokens: {context}
  api_key: null
  tokenizer_name: null
  tokenizer_revision: null
  tokenizer_trust_remote_code: false
  shuffle_round2: {shuffle}
  save_requests: false
  debug: false
  debug_verbose: null
  debug_log_dir: null
  slo_file: null
  prometheus_url: null
  prometheus_metrics: []
  reset_cache_url: null
  reset_cache_between_rounds: false
  reset_cache_between_concurrency: false
  output_dir: "measured"

mock_server:
  enabled: true
  host: "127.0.0.1"
  port: {port}

suites:
  - name: "Morning"
    stages:
      - name: "Stage A: few at once"
        env:
          CUDA_VISIBLE_DEVICES: "0"
        concurrency_levels: [1, 2]
        num_samples: [2, 4]
        max_output_tokens: 6
        min_output_tokens: 2
  - name: "Evening"
    stages:
      - name: "Stage B: many at once"
        env:
          CUDA_VISIBLE_DEVICES: "0,1"
        concurrency_levels: [4]
        num_samples: [8]
        max_output_tokens: 4
        output: "copies/evening.json"
"""

# A server that is started by a line for a shell, again for each stage.
VLLM = """
global:
  dataset: "prompts.jsonl"
  endpoint: "http://127.0.0.1:{port}/v1/chat/completions"
  mode: "dual_round"
  model: "tiny-chat"
  max_output_tokens: 4
  shuffle_round2: true
  reset_cache_url: "http://127.0.0.1:{port}/reset_prefix_cache"
  reset_cache_between_concurrency: true
  output: "copies/run.json"

vllm:
  auto_restart: true
  startup_command: "{start} --port {port} > vllm.log 2>&1{tail}"
  port: {port}

stages:
  - name: "Without"
    env:
      ENABLE_PREFIX_CACHE: "false"
    concurrency_levels: [2, 4]
    num_samples: [4, 8]
  - name: "With"
    env:
      ENABLE_PREFIX_CACHE: "true"
    concurrency_levels: [2, 4]
    num_samples: [4, 8]
"""
# The mock, in the place of `vllm serve tiny-chat`.
START = f"FLUXPERF_MOCK_MODEL=tiny-chat {shlex.quote(sys.executable)} {shlex.quote(str(ROOT / 'mock/llm_mocker.py'))}"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
    return port


def write(fluxperf: Fluxperf, text: str, **words: object) -> None:
    (fluxperf.place / "older.yaml").write_text(text.format(**{"port": free_port(), "mode": "dual_round", **words}))
    fluxperf.write_prompts(40, words=20)


def read(path: Path) -> Any:
    return json.loads(path.read_text("utf-8"))


def cached(place: Path, concurrency: int, number: int) -> float:
    ratio: float = read(place / f"concurrency_{concurrency}_round_{number}.json")["summary"]["cached_tokens"]["ratio"]
    return ratio


@pytest.mark.parametrize("shuffle", ["true", "false"])
def test_suites_with_nulls_against_the_mock(fluxperf: Fluxperf, shuffle: str) -> None:
    write(fluxperf, SUITES, context="null", shuffle=shuffle)
    ended = fluxperf("--recipe older.yaml")
    assert ended.code == 0, ended.err
    place = fluxperf.place / "measured"
    few, many = place / "Morning" / "Stage A_ few at once", place / "Evening" / "Stage B_ many at once"
    run = read(place / "run.json")
    assert [(one["name"], one["folder"]) for one in run["stages"]] == [
        ("Morning/Stage A: few at once", str(few.relative_to(place))),
        ("Evening/Stage B: many at once", str(many.relative_to(place))),
    ]
    assert [one["env"] for one in run["stages"]] == [{"CUDA_VISIBLE_DEVICES": "0"}, {"CUDA_VISIBLE_DEVICES": "0,1"}]
    assert [one["total_requests"] for one in run["rounds"]] == [2, 2, 4, 4, 8, 8]
    settings = run["stages"][0]["configuration"]
    assert (settings["max_output_tokens"], settings["min_output_tokens"], settings["mode"]) == (6, 2, "dual_round")
    assert settings["round2_order"] == ("shuffled" if shuffle == "true" else "same")
    copy = read(fluxperf.place / "copies" / "evening.json")
    assert copy == read(many / "run.json")


def test_what_only_sessions_need_is_taken_and_said(fluxperf: Fluxperf) -> None:
    write(fluxperf, SUITES, context=4096, shuffle="true")
    ended = fluxperf("--recipe older.yaml --dry-run")
    assert ended.code == 0, ended.err
    assert "max_context_tokens" in ended.out + ended.err


def test_sessions_with_suites_against_the_mock(fluxperf: Fluxperf) -> None:
    write(fluxperf, SUITES, context=200, shuffle="true", mode="multi_turn")
    sessions = ({"session_id": f"s{number}", "user_messages": [f"{number}: what?", "why?"]} for number in range(40))
    (fluxperf.place / "prompts.jsonl").write_text("".join(f"{json.dumps(session)}\n" for session in sessions))
    ended = fluxperf("--recipe older.yaml")
    assert ended.code == 0, ended.err
    run = read(fluxperf.place / "measured" / "run.json")
    assert [one["total_requests"] for one in run["rounds"]] == [4, 4, 8, 8, 16, 16]
    assert [len(one["turns"]) for one in run["rounds"]] == [2] * 6


@pytest.mark.parametrize("tail", ["", " &"], ids=["waits", "in the background"])
def test_a_vllm_block_whose_server_is_started_for_each_stage(fluxperf: Fluxperf, tail: str) -> None:
    write(fluxperf, VLLM, start=START, tail=tail)
    ended = fluxperf("--recipe older.yaml")
    assert ended.code == 0, ended.err
    place = fluxperf.place / "results"
    for level in (2, 4):
        assert [cached(place / "Without", level, number) for number in (1, 2)] == [0, 0]
        assert cached(place / "With", level, 1) < 0.1
        assert cached(place / "With", level, 2) > 0.5
    stages = read(place / "run.json")["stages"]
    assert [stage["server"]["starts"] for stage in stages] == [1, 1]
    assert "listening on" in (fluxperf.place / "vllm.log").read_text()
    with socket.socket() as client:  # nothing is left that listens
        assert client.connect_ex(("127.0.0.1", int(stages[0]["configuration"]["address"].rpartition(":")[2]))) != 0
    assert read(fluxperf.place / "copies" / "run.json") == read(place / "run.json")


def test_a_line_for_a_shell_that_fails_is_reported(fluxperf: Fluxperf) -> None:
    write(fluxperf, VLLM, start="no-such-server", tail="")
    ended = fluxperf("--recipe older.yaml")
    assert ended.code == 3
    assert "the server died: exit status 127" in ended.err
