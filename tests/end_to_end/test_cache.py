"""Did the cache help? The command against servers that have one, have none, and lie about it.

Each server is the mock with a fault. Prefill is what takes its time, so that a hit is worth something.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.end_to_end.command import Ended, fluxperf_in
from tests.end_to_end.servers import PATH, running_mock

PROMPTS, CONCURRENCY = 24, 4
LAST_LINES = 10
MODEL_TIMES = "--prefill-tokens-per-s 20000 --decode-ms 0.5 --overhead-ms 2 --tokens 4"
RESETS = {"vllm": "/reset_prefix_cache", "sglang": "/flush_cache", "lmcache": "/cache/clear"}


class Seen(NamedTuple):
    """How a run ended, its run.json, and what it says of the one level."""

    ended: Ended
    run: Any
    found: Any

    @property
    def last_lines(self) -> str:
        """What a user reads first."""
        return "\n".join(self.ended.out.splitlines()[-LAST_LINES:])

    def question(self, name: str) -> Any:
        """The answer of one of the level's questions."""
        (check,) = [check for check in self.found["checks"] if check["name"] == name]
        return check

    def cache(self, name: object) -> Any:
        """The cache figures of a round."""
        (cache,) = [one["cache"] for one in self.run["rounds"] if one["round"] == name]
        return cache


@contextmanager
def run_against(place: Path, mock_options: str, options: str = "") -> Iterator[Seen]:
    """A run of one level; `{base}` in its options is the server's URL."""
    with running_mock(*MODEL_TIMES.split(), *mock_options.split()) as mock, fluxperf_in(place) as fluxperf:
        fluxperf.write_prompts(PROMPTS, words=40)
        words = options.replace("{base}", mock.url.removesuffix(PATH))
        ended = fluxperf.measure(mock.url, f"--concurrency {CONCURRENCY} --workers 1 {words}")
        assert ended.code in (0, 4), ended.err
        run = fluxperf.run_json()
        (found,) = run["evaluations"]
        yield Seen(ended, run, found)


@pytest.mark.parametrize("engine", ["vllm", "sglang", "llamacpp", "lmcache", "trtllm"])
def test_a_cache_that_helps(tmp_path: Path, engine: str) -> None:
    with run_against(tmp_path, f"--engine {engine}") as seen:
        assert seen.found["answer"] == "yes"
        low, high = seen.found["effect"]["ratio_ci95"]
        assert low < seen.found["effect"]["mean_ratio"] < high < 1
        assert seen.cache(2)["server"]["reading"] == "ok"
        assert seen.cache(2)["server"]["engine"] == engine
        assert seen.cache(2)["hit_rate"] > 0.8
        assert seen.cache(1)["hit_rate"] < 0.1
        for words in (": yes", "faster", "with 95% confidence", "Prompt tokens from the cache"):
            assert words in seen.last_lines


def test_no_cache(tmp_path: Path) -> None:
    with run_against(tmp_path, "--cache-tokens 0") as seen:
        assert seen.found["answer"] == "no"
        assert "the cache is off" in seen.found["why"]
        assert seen.found["effect"]["effect"] != "faster"


@pytest.mark.parametrize("engine", RESETS)
def test_a_reset_that_works_is_confirmed(tmp_path: Path, engine: str) -> None:
    options = f"--reset-cache-url {{base}}{RESETS[engine]} --reset-cache-between-rounds --strict"
    with run_against(tmp_path, f"--engine {engine}", options) as seen:
        assert seen.question("reset")["ok"]
        for name in (1, 2):
            assert seen.cache(name)["reset"]["accepted"]
            assert seen.cache(name)["reset"]["confirmed"]
        assert seen.found["answer"] == "cannot tell"
        assert seen.ended.code == 0


@pytest.mark.parametrize("engine", RESETS)
@pytest.mark.parametrize(("fault", "accepted", "words"), [("lies", True, "still cached"), ("fails", False, "not done")])
def test_a_reset_that_does_nothing_makes_the_run_invalid(
    tmp_path: Path, engine: str, fault: str, accepted: bool, words: str
) -> None:
    options = f"--reset-cache-url {{base}}{RESETS[engine]} --reset-cache-between-rounds --strict"
    with run_against(tmp_path, f"--engine {engine} --faults reset-{fault}", options) as seen:
        assert seen.cache(2)["reset"]["accepted"] is accepted
        assert seen.cache(2)["reset"]["confirmed"] is False
        assert words in seen.question("reset")["text"]
        assert seen.run["verdict"]["status"] == "invalid"
        assert seen.ended.code == 4
        assert "that cannot be told" in seen.last_lines
        assert "faster" not in seen.last_lines


def test_a_reset_that_nobody_can_confirm(tmp_path: Path) -> None:
    options = "--reset-cache-url {base}/reset_prefix_cache --engine none --strict"
    with run_against(tmp_path, "--faults no-cached-tokens", options) as seen:
        assert seen.cache(1)["reset"]["confirmed"] is None
        assert "nobody confirms it" in seen.question("reset")["text"]
        assert seen.ended.code == 4


def test_a_warm_server_is_no_cold_round(tmp_path: Path) -> None:
    with running_mock(*MODEL_TIMES.split()) as mock, fluxperf_in(tmp_path) as fluxperf:
        fluxperf.write_prompts(PROMPTS, words=40)
        options = f"--concurrency {CONCURRENCY} --workers 1 --overwrite"
        assert fluxperf.measure(mock.url, options).code == 0
        again = fluxperf.measure(mock.url, options)
        assert fluxperf.run_json()["verdict"]["status"] == "invalid"
        assert "Round 1 was not cold" in "\n".join(again.out.splitlines()[-LAST_LINES:])
        salted = fluxperf.measure(mock.url, f"{options} --salt --strict")
        assert salted.code == 0
        assert fluxperf.run_json()["evaluations"][0]["answer"] == "yes"
        assert fluxperf.round(CONCURRENCY, 1)["summary"]["cold"] is True


def test_a_server_that_warms_up_is_not_a_cache(tmp_path: Path) -> None:
    """Each request is answered faster than the one before; round 2 finds nothing."""
    with run_against(tmp_path, "--faults drift=0.05 --cache-tokens 0", "--control-round") as seen:
        assert seen.found["answer"] != "yes"
        assert seen.found["drift"]["mean_ratio"] < 1
        assert [one["round"] for one in seen.run["rounds"]] == [1, 2, "control"]
        assert (tmp_path / "out" / f"concurrency_{CONCURRENCY}_round_control.json").exists()


def test_the_effect_is_told_net_of_the_control_round(tmp_path: Path) -> None:
    with run_against(tmp_path, "", "--control-round") as seen:
        assert seen.found["answer"] == "yes"
        assert seen.found["net_of_control"]
        assert seen.found["effect"]["baseline_round"] == "control"
        assert seen.cache("control")["hit_rate"] < 0.1
        assert "(fresh prompts) -> " in seen.last_lines


def test_other_traffic_is_told_to_the_percent(tmp_path: Path) -> None:
    with run_against(tmp_path, "--faults foreign=0.05") as seen:
        for name in (1, 2):
            assert seen.cache(name)["foreign_share"] == pytest.approx(0.05, abs=0.01)
        assert not seen.question("traffic")["ok"]
        assert seen.run["verdict"]["status"] != "valid"


def test_counters_that_begin_again_are_no_negative_number(tmp_path: Path) -> None:
    with run_against(tmp_path, f"--faults counters-restart={PROMPTS + PROMPTS // 2}") as seen:
        server = seen.cache(2)["server"]
        assert (server["reading"], server["hits"]) == ("reset", None)
        assert seen.run["verdict"]["status"] == "invalid"


@pytest.mark.parametrize("fault", ["metrics-500", "metrics-garbage"])
def test_a_page_that_cannot_be_read_is_told_as_that(tmp_path: Path, fault: str) -> None:
    with run_against(tmp_path, f"--faults {fault}", "--engine vllm") as seen:
        server = seen.cache(2)["server"]
        assert (server["reading"], server["hits"], server["ratio"]) == ("unreadable", None, None)
        assert seen.found["answer"] == "yes"  # by usage


def test_no_witness_and_no_control_round(tmp_path: Path) -> None:
    with run_against(tmp_path, "--engine none") as seen:
        assert seen.found["answer"] == "cannot tell"
        assert seen.cache(2)["server"]["reading"] == "absent"
        assert seen.cache(2)["hit_rate"] is None
        assert "--control-round" in seen.last_lines


def test_answers_of_another_length_are_no_gain_in_latency(tmp_path: Path) -> None:
    with run_against(tmp_path, "--faults answers-shrink=0.5") as seen:
        assert not seen.question("lengths")["ok"]
        assert seen.run["verdict"]["status"] != "valid"


def test_failures_in_one_round_only(tmp_path: Path) -> None:
    with run_against(tmp_path, "--faults errors=0.3") as seen:
        assert not seen.question("errors")["ok"]
        assert seen.question("traffic")["ok"]  # what failed is not traffic of others
        assert "failed in round 2" in seen.found["effect"]["dropped_reasons"]


@pytest.mark.parametrize(("order", "words"), [("same", "LRU thrash"), ("reversed", "LRU eviction")])
def test_a_cache_that_is_too_small(tmp_path: Path, order: str, words: str) -> None:
    with run_against(tmp_path, "--cache-tokens 3000", f"--round2-order {order}") as seen:
        assert seen.cache(2)["hit_rate"] < 0.8
        assert words in seen.found["eviction"]
        assert words in seen.last_lines


def test_too_few_prompts_say_nothing(tmp_path: Path) -> None:
    with run_against(tmp_path, "", f"--num-samples {CONCURRENCY * 2}") as seen:
        assert seen.found["answer"] == "cannot tell"
        assert seen.found["effect"]["p_value"] is None
        assert "--num-samples" in seen.last_lines
