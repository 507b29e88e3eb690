"""The command lines that users were promised, as they are but for the server's address."""

from __future__ import annotations

import json
import shutil
import socket
from pathlib import Path

import pytest

from tests.end_to_end.command import ROOT, Fluxperf
from tests.end_to_end.servers import Mock, running_mock


@pytest.fixture
def clone(fluxperf: Fluxperf, mock: Mock) -> Fluxperf:
    """The command in a directory with the examples and with data."""
    shutil.copytree(ROOT / "examples", fluxperf.place / "examples")
    for name in ("narrativeqa", "mixed", "production_queries"):
        fluxperf.write_prompts(100 if name == "mixed" else 60, f"data/{name}.jsonl")
    (fluxperf.place / "slo_production.yaml").write_text(
        "slo:\n  ttft_ms: 60000  # TTFT < 60 s\n  itl_ms: 50000\n  latency_ms: 100000\n"
    )
    return fluxperf


def command(text: str, mock: Mock) -> str:
    """The words after `fluxperf`, with the mock's address for the documented ones."""
    port = mock.url.split(":")[2].split("/")[0]
    for place in ("localhost:8000", "production-api:8000"):
        text = text.replace(place, f"localhost:{port}")
    return text.replace("\\\n", " ").strip().removeprefix("fluxperf ")


BASIC = """
fluxperf \\
  --dataset examples/example_dataset.json \\
  --endpoint http://localhost:8000/v1/chat/completions \\
  --num-samples 10 \\
  --concurrency 5
"""
FULL = """
fluxperf \\
  --dataset examples/example_dataset.json \\
  --endpoint http://localhost:8000/v1/chat/completions \\
  --num-samples 50 \\
  --concurrency 5 10 20 \\
  --prometheus-url http://localhost:3001/metrics \\
  --prometheus-metrics lmcache_hit_rate memory_usage_bytes \\
  --slo-file examples/slo_example.yaml \\
  --output-dir results/test_run
"""
CACHE = """
fluxperf \\
  --dataset data/narrativeqa.jsonl \\
  --endpoint http://localhost:8000/v1/chat/completions \\
  --num-samples 50 \\
  --concurrency 10 \\
  --prometheus-url http://localhost:3001/metrics \\
  --prometheus-metrics lmcache_hit_rate
"""
SCALING = """
fluxperf \\
  --dataset data/mixed.jsonl \\
  --endpoint http://localhost:8000/v1/chat/completions \\
  --num-samples 100 \\
  --concurrency 1 5 10 20 50 100 \\
  --output-dir results/scaling_test
"""
SLO = """
fluxperf \\
  --dataset data/production_queries.jsonl \\
  --endpoint http://production-api:8000/v1/chat/completions \\
  --num-samples 1000 \\
  --concurrency 50 \\
  --slo-file slo_production.yaml \\
  --output-dir results/slo_check
"""


def results(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_the_basic_one(clone: Fluxperf, mock: Mock) -> None:
    ended = clone(command(BASIC, mock))
    assert ended.code == 0
    assert "Concurrency: 5 | Round 2 Performance Metrics" in ended.out
    assert "Total Requests: 10 | Success: 10 | Failed: 0 | Test Duration: " in ended.out
    files = {
        "concurrency_5_round_1.json",
        "concurrency_5_round_2.json",
        "metrics_summary.csv",
        "histograms.hlog",
        "run.json",
    }
    assert results(clone.place / "results") == files


def test_the_full_one_with_nobody_at_the_address_of_prometheus(clone: Fluxperf, mock: Mock) -> None:
    with socket.socket() as taken:  # a port on which nobody listens
        taken.bind(("127.0.0.1", 0))
        ended = clone(command(FULL, mock).replace("localhost:3001", f"127.0.0.1:{taken.getsockname()[1]}"))
    assert ended.code == 0
    assert ended.out.count("Goodput (SLO: chat):") == 6
    assert "asked for 50 prompts, the dataset holds 10" in ended.out
    run = json.loads((clone.place / "results" / "test_run" / "run.json").read_text())
    for one in run["rounds"]:
        assert set(one["prometheus"]) == {"lmcache_hit_rate", "memory_usage_bytes"}
        assert all("refused" in figures["unavailable"] for figures in one["prometheus"].values())


def test_the_one_that_evaluates_a_cache(clone: Fluxperf) -> None:
    with running_mock(*["--engine", "lmcache", "--decode-ms", "0.5", "--tokens", "4"]) as mock:
        port = mock.url.split(":")[2].split("/")[0]
        ended = clone(command(CACHE, mock).replace("localhost:3001", f"127.0.0.1:{port}"))
        assert ended.code == 0
        run = json.loads((clone.place / "results" / "run.json").read_text())
        first, second = (one["prometheus"]["lmcache_hit_rate"] for one in run["rounds"])
        assert (first["kind"], first["max"]) == ("gauge", 0)
        assert second["max"] > 0
        rows = (clone.place / "results" / "metrics_summary.csv").read_text("utf-8-sig").splitlines()
        assert "lmcache_hit_rate_avg" in rows[0].split(",")


def test_six_levels(clone: Fluxperf, mock: Mock) -> None:
    ended = clone(command(SCALING, mock))
    assert ended.code == 0
    levels = (1, 5, 10, 20, 50, 100)
    files = {f"concurrency_{level}_round_{number}.json" for level in levels for number in (1, 2)}
    assert results(clone.place / "results" / "scaling_test") == files | {
        "metrics_summary.csv",
        "histograms.hlog",
        "run.json",
    }
    assert mock.truth()["finished"] == 6 * 2 * 100
    titles = [line.split(" |")[0] for line in ended.out.splitlines() if "Performance Metrics" in line]
    assert titles == [f"Concurrency: {level}" for level in levels for _ in (1, 2)]
    assert "Failed: 0" in ended.out


def test_compliance_with_an_slo(clone: Fluxperf, mock: Mock) -> None:
    ended = clone(command(SLO, mock))
    assert ended.code == 0
    assert ended.out.count("Requests Meeting SLO: 60 / 60 (100.00%)") == 2
    assert "asked for 1000 prompts, the dataset holds 60" in ended.out


def test_the_built_in_mock_server(clone: Fluxperf) -> None:
    line = "run --mock-server --endpoint http://localhost:1/v1/chat/completions --dataset data/narrativeqa.jsonl"
    ended = clone(f"{line} --max-output-tokens 2 --num-samples 5 --rounds 1")
    assert ended.code == 0
    assert "testing the built-in mock server at http://127.0.0.1:" in ended.err
    assert "not http://localhost:1/" in ended.err
