from __future__ import annotations

import csv
import io
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from fluxperf.metrics import METRICS
from fluxperf.model import (
    CacheCounters,
    CachedTokens,
    CacheFigures,
    CacheReset,
    Reading,
    RoundResult,
    RunResult,
    Stats,
)
from fluxperf.report.csv import metrics_summary

FIRST_COLUMNS = (
    "stage,concurrency,round,requests,ok,failed,cold,duration_s,tokens_per_s,requests_per_s,goodput_ratio,"
    "ttft_ms_avg,ttft_ms_p50,ttft_ms_p90,ttft_ms_p95,ttft_ms_p99,ttft_ms_min,ttft_ms_max,ttft_ms_stddev,itl_ms_avg"
)


def read(run: RunResult) -> list[dict[str, str]]:
    text = "".join(metrics_summary(run)).encode().decode("utf-8-sig")
    return list(csv.DictReader(io.StringIO(text, newline="")))


def test_the_file(a_run: Callable[..., RunResult], full_round: RoundResult, golden: Callable[[str, str], None]) -> None:
    golden("metrics_summary.csv", "".join(metrics_summary(a_run(*a_run().rounds, full_round))))


def test_header_and_line_ends(a_run: Callable[..., RunResult]) -> None:
    header, *lines = metrics_summary(a_run())
    assert header.startswith("\ufeff" + FIRST_COLUMNS)
    assert all(line.endswith("\r\n") and line.count("\n") == 1 for line in (header, *lines))
    assert len(lines) == 2


def test_every_metric_of_the_table_has_its_columns(a_run: Callable[..., RunResult]) -> None:
    (row, _) = read(a_run())
    for metric in METRICS:
        assert f"{metric.name}_stddev" in row


def test_prometheus_columns_are_those_of_every_round(
    a_run: Callable[..., RunResult], a_round: Callable[..., RoundResult], full_round: RoundResult
) -> None:
    without, with_them = read(a_run(a_round(), full_round))
    assert without["cache_usage_avg"] == without["prompt_tokens_total_delta"] == ""
    assert (with_them["cache_usage_avg"], with_them["cache_usage_p50"]) == ("0.5", "0.0012")
    assert with_them["cache_usage_stddev"] == with_them["cache_usage_delta"] == ""
    assert with_them["prompt_tokens_total_delta"] == "2105.0"
    assert with_them["prompt_tokens_total_rate_per_s"] == "82.77624852536374"
    assert with_them['requests_running{engine="0",model="a model with a name"}_avg'] == "4.75"


def test_what_is_not_available_stands_empty(a_run: Callable[..., RunResult], full_round: RoundResult) -> None:
    (row,) = read(a_run(full_round))
    assert {row[f"absent_{stat}"] for stat in ("avg", "p50", "stddev", "delta", "rate_per_s")} == {""}


def test_values_of_a_unit_of_their_own_keep_their_digits(
    a_run: Callable[..., RunResult], a_round: Callable[..., RoundResult]
) -> None:
    small = {"seconds": {"kind": "gauge", "avg": 1.25e-9, "p50": float("inf")}}
    (row,) = read(a_run(a_round(summary={"prometheus": small})))
    assert (row["seconds_avg"], row["seconds_p50"], row["seconds_max"]) == ("1.25e-09", "", "")


def test_columns_stand_in_their_order(a_run: Callable[..., RunResult], full_round: RoundResult) -> None:
    """The promised ones, then those of Prometheus, then what was added since."""
    header = next(metrics_summary(a_run(full_round))).strip()
    assert header.startswith("\ufeff" + FIRST_COLUMNS)
    assert header.index("wait_ms_stddev,") < header.index("cache_usage_avg,") < header.index(",cold_reason,")
    assert ",cache_usage_stddev,cache_usage_delta,cache_usage_rate_per_s," in header
    assert header.endswith(
        ",cold_reason,partial,verdict,cached_ratio,server_hit_rate,expected_hit_rate,foreign_share,reset_confirmed"
    )


CACHE = ("cached_ratio", "server_hit_rate", "expected_hit_rate", "foreign_share", "reset_confirmed")


def test_what_is_known_of_the_cache(a_run: Callable[..., RunResult], full_round: RoundResult) -> None:
    (row,) = read(a_run(full_round))
    assert [row[column] for column in CACHE] == ["0.617", "0.617577", "0.992", "0.049881", "false"]


def test_what_is_not_known_of_the_cache_stands_empty(
    a_run: Callable[..., RunResult],
    a_round: Callable[..., RoundResult],
    a_cache: Callable[..., CacheFigures],
    counters: Callable[..., CacheCounters],
) -> None:
    def cells(**summary: Any) -> list[str]:
        (row,) = read(a_run(a_round(summary=summary)))
        return [row[column] for column in CACHE]

    unread = counters(reading=Reading.UNREADABLE, hits=None, queries=None)
    nothing = a_cache(counters=unread, foreign_share=None, expected={})
    assert cells(cache=None) == cells(cache=nothing) == [""] * 5
    assert cells(cached_tokens=CachedTokens(prompt_tokens=10, cached_tokens=0, ratio=0.0))[0] == "0.0"
    reset = CacheReset(url="u", accepted=True, status=200, answer="", attempts=1)
    for confirmed, cell in ((True, "true"), (False, "false"), (None, "")):
        assert cells(cache=replace(nothing, reset=reset, reset_confirmed=confirmed))[4] == cell


@pytest.mark.parametrize(
    ("summary", "cold", "reason"),
    [
        ({"cold": True}, "true", ""),
        ({"cold": None}, "", ""),
        ({"cold": False, "cold_reason": "sent before at concurrency 5"}, "false", None),
    ],
)
def test_cold(
    a_run: Callable[..., RunResult],
    a_round: Callable[..., RoundResult],
    summary: dict[str, Any],
    cold: str,
    reason: str | None,
) -> None:
    (row,) = read(a_run(a_round(summary=summary)))
    assert row["cold"] == cold
    assert row["cold_reason"] == ("not cold: sent before at concurrency 5" if reason is None else reason)


def test_what_is_null_stands_empty(a_run: Callable[..., RunResult], a_round: Callable[..., RoundResult]) -> None:
    stats = {**a_round().summary.stats, "itl_ms": Stats(avg=0.0, p50=float("inf"))}
    (row,) = read(a_run(a_round(summary={"stats": stats, "goodput": None, "tokens_per_s": None})))
    assert row["goodput_ratio"] == row["tokens_per_s"] == row["itl_ms_p50"] == row["itl_ms_p99"] == row["stage"] == ""
    assert row["itl_ms_avg"] == "0.0"


def test_what_could_not_be_measured_stands_empty(
    a_run: Callable[..., RunResult], a_round: Callable[..., RoundResult]
) -> None:
    (row,) = read(a_run(a_round(summary={"unmeasured": {"itl_ms": "it all came at once"}})))
    assert row["itl_ms_avg"] == row["itl_ms_p99"] == ""
    assert row["ttft_ms_avg"] == "245.32"


def test_the_verdict_has_a_column(a_run: Callable[..., RunResult], a_round: Callable[..., RoundResult]) -> None:
    judged, not_judged = read(a_run(a_round(), a_round(summary={"verdict": None})))
    assert (judged["verdict"], not_judged["verdict"]) == ("valid", "")


@pytest.mark.parametrize("stage", ["=HYPERLINK(1)", "+1", "-1", "@SUM(1)", "\tx", "\rx"])
def test_a_stage_is_never_a_formula(
    a_run: Callable[..., RunResult], a_round: Callable[..., RoundResult], stage: str
) -> None:
    (row,) = read(a_run(a_round(stage=stage)))
    assert row["stage"] == f"'{stage}"


@pytest.mark.parametrize("stage", ["plain", 'a "b", c\nd', "日本 ☃", "a-b"])
def test_any_other_stage_is_as_it_was(
    a_run: Callable[..., RunResult], a_round: Callable[..., RoundResult], stage: str
) -> None:
    (row,) = read(a_run(a_round(stage=stage)))
    assert row["stage"] == stage


def test_a_name_that_utf_8_cannot_hold(a_run: Callable[..., RunResult], a_round: Callable[..., RoundResult]) -> None:
    (row,) = read(a_run(a_round(stage="a\udcff")))
    assert row["stage"] == "a\ufffd"
