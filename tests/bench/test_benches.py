"""The benchmarks' own arithmetic; what they measure is measured by `make bench` only."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any, cast

import pytest

from bench import __main__ as bench
from bench import accuracy, memory, merge, rate, startup
from bench.accuracy import Case, compare
from bench.memory import parse_rss_anon_mib
from bench.merge import make_report
from bench.peer import Load
from bench.rate import to_row
from bench.rig import AIOHTTP, HTTPX, OURS, Measured, Rig
from bench.table import Column, Table, render
from fluxperf.calibrate.server import TestServer
from fluxperf.errors import RunFailed
from fluxperf.launch.codec import decode_report, encode_report
from tests.calibrate.steps import make_step

SERVER = TestServer("http://127.0.0.1:1/v1/chat/completions", "compiled", 0)


@dataclass
class FakeRig:
    """Measures what it is told to."""

    cpu_s: dict[str, float]
    loads: list[Load] = field(default_factory=list)

    def best(self, client: str, server: TestServer, load: Load) -> Measured:
        assert server is SERVER
        self.loads.append(load)
        return measured(load.streams, cpu_s=self.cpu_s[client])


def measured(streams: int, *, cpu_s: float = 1.0, requests_per_s: float = 100.0) -> Measured:
    step = make_step(streams, ttft_p99=0.5)
    object.__setattr__(step, "cpu_s", cpu_s)
    return Measured({"summary": {"throughput": {"requests_per_s": requests_per_s}}}, step, 2 * cpu_s)


def compare_all(clients: list[str], streams: int) -> list[Any]:
    rig = FakeRig({AIOHTTP: 2.0, HTTPX: 8.0, OURS: 1.0})
    return list(compare(cast(Rig, rig), SERVER, [Case(client, "1.1", streams) for client in clients]))


def test_costs_are_held_against_the_first_of_the_others() -> None:
    rows = compare_all([AIOHTTP, HTTPX, OURS], 64)
    assert [(row["client"], row["cpu_ratio"]) for row in rows] == [(AIOHTTP, 1.0), (HTTPX, 4.0), (OURS, 0.5)]
    assert (rows[0]["ttft_p99"], rows[0]["gap_p50"]) == (0.5, 0.0)
    assert rows[2]["whole_us_per_token"] == pytest.approx(2 * rows[2]["us_per_token"])


def test_a_client_that_would_take_too_long_is_left_out() -> None:
    assert [row["client"] for row in compare_all([AIOHTTP, HTTPX, OURS], 256)] == [AIOHTTP, OURS]


def test_without_a_baseline_there_is_no_ratio() -> None:
    assert [row["cpu_ratio"] for row in compare_all([HTTPX, OURS], 256)] == [None]


@pytest.mark.parametrize(("streams", "requests"), [(64, 512), (256, 1024), (512, 2048), (100, 600)])
def test_a_load_is_whole_waves(streams: int, requests: int) -> None:
    load = Case(OURS, "2", streams).load(SERVER)
    assert (load.streams, load.requests, load.http, load.url) == (streams, requests, "2", SERVER.url)


def test_building_counts_as_time() -> None:
    row = to_row(OURS, measured(16, cpu_s=0.064, requests_per_s=5000), 50e-6)
    assert row["with_building_per_s"] == pytest.approx(1 / (200e-6 + 50e-6))
    assert row["building_us"] == pytest.approx(50)
    assert row["cpu_us"] == pytest.approx(1000)


def test_rss_anon_is_read() -> None:
    assert parse_rss_anon_mib("VmRSS:\t  9999 kB\nRssAnon:\t    2048 kB\nRssFile:\t 1 kB\n") == 2.0
    assert parse_rss_anon_mib("") == 0.0


def test_a_made_up_report_is_one_that_can_be_merged() -> None:
    report = make_report(3)
    assert decode_report(encode_report(report)).tally.outcomes == {"ok": 1000}
    assert report.tally.histograms["chunk_gap_ms"].count == 63_000
    assert encode_report(make_report(3)) == encode_report(report)
    assert encode_report(make_report(4)) != encode_report(report)


def test_results_are_printed_and_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(_rig: Rig) -> Table:
        raise RunFailed("no luck")

    table = Table("good", "Title", (Column("a", "a"),), [{"a": 1}])
    monkeypatch.setattr(bench, "BENCHES", {"good": lambda _rig: table, "bad": fail})
    assert bench.main(["good", "--json", str(tmp_path / "b.json")]) == 0
    assert capsys.readouterr().out.splitlines()[2:] == ["Title", "-", "a", "-", "1", ""]
    written = json.loads((tmp_path / "b.json").read_text())
    assert (written["schema"], written["results"]) == ("fluxperf.bench/1", {"good": table.to_dict()})
    assert bench.main([]) == 1
    assert "bad: no luck" in capsys.readouterr().err
    with pytest.raises(SystemExit) as caught:
        bench.main(["goood"])
    assert caught.value.code == 2


@pytest.mark.parametrize("module", [accuracy, memory, merge, rate, startup])
def test_no_table_is_wider_than_100_columns(module: ModuleType) -> None:
    row: dict[str, Any] = {column.key: 12_345 for column in module.COLUMNS}
    row |= {"client": "fluxperf, mock", "what": "a run of one request", "http": "1.1", "streams": 512}
    row |= {"requests": 200_000, "gap_p50": -123.456, "late_p99": 1234.567, "us_per_token": 130.8}
    row |= {name: 1.05 for name in row if name.endswith("ratio")}
    lines = render(Table("t", "t", module.COLUMNS, [row], getattr(module, "NOTES", ()))).splitlines()
    assert max(map(len, lines)) <= 100
