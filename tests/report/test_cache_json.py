from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from fluxperf.model import CONTROL, CacheCounters, CacheFigures, Check, Comparison, Reading, Status, Verdict
from fluxperf.model.evaluation import CacheEvaluation
from fluxperf.report.cache_json import cache_entry, evaluation_entry

BuildCache = Callable[..., CacheFigures]
BuildEvaluation = Callable[..., CacheEvaluation]


def plain(entry: dict[str, Any]) -> dict[str, Any]:
    """As it is in a file."""
    read: dict[str, Any] = json.loads(json.dumps(entry, allow_nan=False))
    return read


def test_all_that_is_known_of_a_rounds_cache(a_cache: BuildCache) -> None:
    assert plain(cache_entry(a_cache())) == {
        "hit_rate": 0.617,
        "expected_hit_rate": 0.992,
        "block_tokens": 16,
        "expected": {"1": 0.999, "16": 0.992},
        "repeats": True,
        "usage": {"prompt_tokens": 2000, "cached_tokens": 1234, "ratio": 0.617},
        "server": {
            "engine": "vllm",
            "version": "0.33.0",
            "reading": "ok",
            "why": None,
            "unit": "tokens",
            "hits": 1300,
            "queries": 2105,
            "prompt_tokens": 2105,
            "preemptions": 0,
            "capacity_tokens": 400_000,
            "label": "vLLM",
            "block_tokens": 16,
            "counts_prompts": True,
            "resolution_tokens": 0,
            "by_engine": {"0": {"hits": 700, "queries": 1005}, "1": {"hits": 600, "queries": 1100}},
            "ratio": 0.617577,
        },
        "sent_tokens": 2000,
        "estimated_tokens": 0,
        "unexplained_hits": 66,
        "foreign_tokens": 105,
        "foreign_share": 0.049881,
        "reset": None,
    }


def test_what_is_not_known_is_null_and_never_zero(a_cache: BuildCache, counters: Callable[..., CacheCounters]) -> None:
    unread = CacheCounters(engine=None, reading=Reading.UNREADABLE, why="the page answered with status 500")
    entry = plain(cache_entry(CacheFigures(counters=unread)))
    names = ("hit_rate", "expected_hit_rate", "usage", "unexplained_hits", "foreign_tokens", "foreign_share", "reset")
    assert {entry[name] for name in names} == {None}
    assert entry["server"]["reading"] == "unreadable"
    assert entry["server"]["why"] == "the page answered with status 500"
    assert {entry["server"][name] for name in ("hits", "queries", "ratio", "prompt_tokens")} == {None}
    nothing = counters(hits=0, queries=100)
    assert plain(cache_entry(a_cache(usage=None, counters=nothing)))["hit_rate"] == 0
    assert plain(cache_entry(CacheFigures()))["server"] is None


def test_a_reset_and_whether_it_was_one(a_cache: BuildCache, full_round: Any) -> None:
    assert plain(cache_entry(full_round.summary.cache))["reset"] == {
        "url": "http://127.0.0.1:8001/reset_prefix_cache",
        "accepted": True,
        "status": 200,
        "answer": '{"success": true}',
        "attempts": 2,
        "confirmed": False,
    }


def test_an_evaluation(an_evaluation: BuildEvaluation) -> None:
    entry = plain(evaluation_entry(an_evaluation()))
    assert list(entry) == [
        *("stage", "concurrency", "round", "answer", "why", "net_of_control", "effect", "drift"),
        *("dose_response", "eviction", "checks", "verdict"),
    ]
    assert (entry["stage"], entry["concurrency"], entry["round"]) == (None, 5, 2)
    assert entry["answer"] == "yes"
    assert entry["effect"]["ratio_ci95"] == [0.28, 0.389]
    assert entry["effect"]["effect"] == "faster"
    assert entry["dose_response"]["slope_us_per_token"] == 4.21
    assert entry["checks"] == [
        {"name": "cold", "ok": True, "text": "round 1 was cold: 0% of its prompt tokens were cached", "weight": "valid"}
    ]
    assert entry["verdict"] == {"status": "valid", "reasons": []}


def test_an_evaluation_of_little(an_evaluation: BuildEvaluation) -> None:
    check = Check(name="reset", ok=False, text="refused", weight=Status.INVALID)
    verdict = Verdict(status=Status.INVALID, reasons=("refused",))
    little = an_evaluation(round=None, effect=None, dose=None, checks=(check,), verdict=verdict)
    entry = plain(evaluation_entry(little))
    assert entry["round"] is entry["effect"] is entry["drift"] is entry["dose_response"] is None
    assert entry["checks"][0]["weight"] == "invalid"
    assert entry["verdict"] == {"status": "invalid", "reasons": ["refused"]}
    assert entry["net_of_control"] is False


def test_whether_the_effect_is_net(an_evaluation: BuildEvaluation, a_comparison: Callable[..., Comparison]) -> None:
    drift = a_comparison(round=CONTROL)
    assert evaluation_entry(an_evaluation(drift=drift))["net_of_control"] is False
    net = an_evaluation(drift=drift, effect=a_comparison(baseline_round=CONTROL))
    assert evaluation_entry(net)["net_of_control"] is True
