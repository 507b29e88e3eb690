"""Other tools' figures, computed again from recorded events by the rules of each, and by nothing of the lens."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fluxperf.analysis.lens import LENSES, apply_lens
from fluxperf.api import APIS
from fluxperf.engine.gauge import Gauge
from fluxperf.engine.observer import Observer
from fluxperf.errors import UsageError
from fluxperf.metrics import METRICS
from fluxperf.model import Outcome, RoundResult, RunResult, Stats, Timeline
from fluxperf.model.lens import LensRound
from fluxperf.model.timeline import from_row, to_row
from fluxperf.report.json import request_row
from fluxperf.stored.requests import read_row
from fluxperf.tally import Tally
from tests.engine.scripted import DONE, event
from tests.report.conftest import make_summary

MS = 1_000_000
HEADERS = [(b"content-type", b"text/event-stream")]
DOCS = Path(__file__).parents[2] / "docs" / "lens.md"


@dataclass
class Recorded:
    """A request as it was on the wire: when it began, was sent and ended, and each event with its stamp, ns."""

    start: int
    sent: int
    end: int
    events: list[tuple[int, dict[str, Any]]]

    @property
    def tokens(self) -> int:
        return next(int(data["usage"]["completion_tokens"]) for _, data in self.events if data.get("usage"))

    def when(self, counts: Callable[[dict[str, Any]], Any]) -> list[int]:
        """The stamps of the events that count."""
        return [at for at, data in self.events if counts(data)]


def chunk(delta: dict[str, Any], reason: str | None = None) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": delta, "finish_reason": reason}]}


def recorded(seed: int, *, blanks_inside: bool = False) -> Recorded:
    """A role, now and then an empty token, reasoning, text, an end of one of two kinds, and the usage."""
    chance = random.Random(seed)
    start = seed * 700 * MS
    sent = start + chance.choice([0, 0, 300_000])
    at = sent + chance.randrange(1, 3) * MS
    events = [(at, chunk({"role": "assistant", "content": ""}))]

    def later(low: int, high: int) -> int:
        nonlocal at
        at += chance.randrange(low, high)
        return at

    if seed % 3 == 0:
        events.append((later(5 * MS, 20 * MS), chunk({"content": ""})))
    if seed % 4 == 0:
        events.append((later(5 * MS, 20 * MS), chunk({"reasoning": "Hm"})))
    events.append((later(10 * MS, 40 * MS), chunk({"content": "a"})))
    for number in range(chance.randrange(3, 30)):
        if blanks_inside and number == 1:
            events.append((later(MS, 2 * MS), chunk({"content": ""})))
        events.append((later(5 * MS, 15 * MS), chunk({"content": " b"})))
    events.append((later(0, 3 * MS), chunk({"content": ""} if seed % 2 else {}, "stop")))
    tokens = len(events) - 1
    usage = {"prompt_tokens": 100 + seed, "completion_tokens": tokens}
    events.append((later(0, MS), {"choices": [], "usage": usage}))
    return Recorded(start, sent, later(0, MS), events)


def watch(request: Recorded, index: int, tally: Tally) -> Timeline:
    """The timeline that the engine makes of it."""
    observer = Observer(Timeline(index=index), APIS["chat"], Gauge())
    observer.opened(0, request.sent - request.start)
    observer.sent(request.sent)
    observer.head(200, HEADERS, request.sent + 1)
    for at, data in request.events:
        observer.body(event(data), at)
    observer.body(DONE, request.end)
    observer.end(request.end)
    observer.conclude(None)
    tally.add(observer.timeline, observer.gaps, observer.earlier_gaps)
    return observer.timeline


def a_run(wire: Sequence[Recorded], **changes: Any) -> RunResult:
    tally = Tally()
    timelines = [watch(request, index, tally) for index, request in enumerate(wire)]
    stats = {}
    for metric in METRICS:
        histogram = tally.histograms[metric.name]
        p50, p99 = histogram.percentiles(50, 99)
        scaled = [None if value is None else value / metric.per_unit for value in (histogram.mean, p50, p99)]
        stats[metric.name] = Stats(avg=scaled[0], p50=scaled[1], p99=scaled[2])
    first, last = min(one.sent for one in wire), max(one.end for one in wire)
    plain = RoundResult(
        stage=None,
        concurrency=4,
        round=1,
        configuration={},
        summary=make_summary(stats=stats, successful_requests=len(wire), duration_s=(last - first) / 1e9),
        requests=timelines,
        first_sent_ns=first,
        histograms={name: one.encode() for name, one in tally.histograms.items() if one.count},
    )
    return run_of(replace(plain, **changes))


def run_of(*rounds: RoundResult) -> RunResult:
    return RunResult(
        started_at="", partial=False, environment={}, labels={}, configuration={}, rounds=rounds, comparisons=()
    )


def look(tool: str, run: RunResult) -> LensRound:
    (found,) = apply_lens(tool, run).rounds
    return found


def figures(tool: str, run: RunResult) -> dict[str, float | None]:
    return {figure.name: figure.value for figure in look(tool, run).figures}


# The tools, in a few lines each.


def vllm_streams(data: dict[str, Any]) -> bool:
    delta = data["choices"][0]["delta"] if data["choices"] else {}
    words = ("content", "reasoning", "tool_calls", "function_call")
    return any(delta.get(word) for word in words) or (delta.get("content") == "" and "role" not in delta)


def has_choice(data: dict[str, Any]) -> bool:
    return bool(data["choices"])


def has_output(data: dict[str, Any]) -> bool:
    delta = data["choices"][0]["delta"] if data["choices"] else {}
    return bool(delta.get("content") or delta.get("reasoning"))


def has_content(data: dict[str, Any]) -> bool:
    return bool(data["choices"] and data["choices"][0]["delta"].get("content"))


def everything(data: dict[str, Any]) -> bool:
    return True


def spread_ms(name: str, values: Sequence[float]) -> dict[str, float]:
    found = np.array(values, dtype=float) / MS
    return {
        f"mean_{name}_ms": found.mean(),
        f"median_{name}_ms": np.median(found),
        f"std_{name}_ms": found.std(),
        f"p99_{name}_ms": np.percentile(found, 99),
    }


def as_vllm(
    requests: Sequence[Recorded], counts: Callable[[dict[str, Any]], bool], ends: Callable[[dict[str, Any]], bool]
) -> dict[str, float]:
    """`vllm bench serve`: `counts` tells its tokens, `ends` the events that move the end of the latency."""
    ttfts: list[float] = []
    tpots: list[float] = []
    itls: list[float] = []
    e2els: list[float] = []
    for one in requests:
        stamps, end = one.when(counts), one.when(ends)[-1]
        ttfts.append(stamps[0] - one.start)
        e2els.append(end - one.start)
        tpots.append((e2els[-1] - ttfts[-1]) / (one.tokens - 1))
        itls += list(np.diff(stamps))
    seconds = (max(one.end for one in requests) - min(one.start for one in requests)) / 1e9
    spreads = [("ttft", ttfts), ("tpot", tpots), ("itl", itls), ("e2el", e2els)]
    found = {name: value for measure, values in spreads for name, value in spread_ms(measure, values).items()}
    return found | {
        "completed": len(requests),
        "duration": seconds,
        "request_throughput": len(requests) / seconds,
        "output_throughput": sum(one.tokens for one in requests) / seconds,
        "total_token_throughput": sum(one.tokens + 100 + place for place, one in enumerate(requests)) / seconds,
    }


def assert_close(found: dict[str, float | None], wanted: dict[str, float]) -> None:
    assert set(found) == set(wanted)
    for name, value in wanted.items():
        exact = 2e-3 if "itl" in name and "mean" not in name else 1e-9
        assert found[name] == pytest.approx(value, rel=exact, abs=1e-9), name


@pytest.fixture
def requests() -> list[Recorded]:
    return [recorded(seed) for seed in range(40)]


def test_as_vllm(requests: list[Recorded]) -> None:
    assert_close(figures("vllm", a_run(requests)), as_vllm(requests, vllm_streams, vllm_streams))
    assert all(figure.is_exact for figure in look("vllm", a_run(requests)).figures)


def test_as_earlier_versions_of_vllm(requests: list[Recorded]) -> None:
    plain = [one for seed, one in enumerate(requests) if seed % 3]  # no more than one silent event at either end
    assert_close(figures("vllm-0.28", a_run(plain)), as_vllm_renumbered(plain))


def as_vllm_renumbered(requests: Sequence[Recorded]) -> dict[str, float]:
    wanted = as_vllm(requests, has_choice, everything)
    seconds = wanted["duration"]
    inputs = sum(data["usage"]["prompt_tokens"] for one in requests for _, data in one.events if data.get("usage"))
    return wanted | {"total_token_throughput": (sum(one.tokens for one in requests) + inputs) / seconds}


def test_tokens_that_show_nothing_between_others_leave_only_the_mean_exact() -> None:
    requests = [recorded(seed, blanks_inside=True) for seed in range(40)]
    found, wanted = look("vllm", a_run(requests)), as_vllm(requests, vllm_streams, vllm_streams)
    by_name = {figure.name: figure for figure in found.figures}
    assert by_name["mean_itl_ms"].value == pytest.approx(wanted["mean_itl_ms"])
    assert [name for name, figure in by_name.items() if not figure.is_exact] == [
        "median_itl_ms",
        "std_itl_ms",
        "p99_itl_ms",
    ]
    assert any(text.startswith("40 events without output that stand between tokens") for text in found.reasons)


@pytest.mark.parametrize(("tool", "counts"), [("aiperf", has_output), ("genai-perf", has_content)])
def test_as_nvidias(tool: str, counts: Callable[[dict[str, Any]], bool], requests: list[Recorded]) -> None:
    found = figures(tool, a_run(requests))
    first = np.array([one.when(counts)[0] - one.start for one in requests]) / MS
    latency = np.array([one.when(has_output)[-1] - one.start for one in requests]) / MS
    itl = (latency - first) / (np.array([one.tokens for one in requests]) - 1)
    seconds = (max(one.when(has_output)[-1] for one in requests) - min(one.start for one in requests)) / 1e9
    for name, values in (("time_to_first_token", first), ("request_latency", latency), ("inter_token_latency", itl)):
        assert found[f"{name}.avg"] == pytest.approx(values.mean())
        assert found[f"{name}.p90"] == pytest.approx(np.percentile(values, 90))
        assert found[f"{name}.p99"] == pytest.approx(np.percentile(values, 99))
        assert found[f"{name}.min"] == pytest.approx(values.min())
        assert found[f"{name}.std"] == pytest.approx(values.std())
    assert found["output_token_throughput_per_user.avg"] == pytest.approx((1000 / itl).mean())
    assert found["request_throughput"] == pytest.approx(len(requests) / seconds)
    assert found["output_token_throughput"] == pytest.approx(sum(one.tokens for one in requests) / seconds)


def test_the_gaps_of_aiperf(requests: list[Recorded]) -> None:
    found = figures("aiperf", a_run(requests))
    gaps = np.concatenate([np.diff(one.when(has_output)) for one in requests]) / MS
    assert found["inter_chunk_latency.avg"] == pytest.approx(gaps.mean())
    assert found["inter_chunk_latency.p50"] == pytest.approx(np.median(gaps), rel=2e-3)
    assert found["inter_chunk_latency.max"] == pytest.approx(gaps.max(), rel=1e-3)


def test_as_sglang(requests: list[Recorded]) -> None:
    found = figures("sglang", a_run(requests))
    latency = np.array([one.end - one.start for one in requests]) / MS
    first = np.array([one.when(has_output)[0] - one.start for one in requests]) / MS
    tpot = (latency - first) / (np.array([one.tokens for one in requests]) - 1)
    assert found["mean_e2e_latency_ms"] == pytest.approx(latency.mean())
    assert found["p95_tpot_ms"] == pytest.approx(np.percentile(tpot, 95))
    seconds = (max(one.end for one in requests) - min(one.start for one in requests)) / 1e9
    assert found["concurrency"] == pytest.approx(latency.sum() / 1000 / seconds)


def test_as_guidellm(requests: list[Recorded]) -> None:
    found = figures("guidellm", a_run(requests))
    tokens = np.array([one.tokens for one in requests])
    first = np.array([one.when(has_output)[0] - one.sent for one in requests]) / MS
    last = np.array([one.when(has_output)[-1] - one.sent for one in requests]) / MS
    assert found["time_to_first_token_ms.mean"] == pytest.approx(first.mean())
    assert found["time_to_first_token_ms.p95"] == pytest.approx(np.percentile(first, 95, method="inverted_cdf"))
    assert found["inter_token_latency_ms.mean"] == pytest.approx((last - first).sum() / (tokens - 1).sum())
    assert found["time_per_output_token_ms.mean"] == pytest.approx(last.sum() / tokens.sum())
    by_token = np.repeat(last / tokens, tokens)
    assert found["time_per_output_token_ms.median"] == pytest.approx(np.percentile(by_token, 50, method="inverted_cdf"))
    assert found["time_per_output_token_ms.std_dev"] == pytest.approx(by_token.std())
    assert found["request_latency.mean"] == pytest.approx(np.mean([one.end - one.sent for one in requests]) / 1e9)


def test_as_llmperf(requests: list[Recorded]) -> None:
    found = figures("llmperf", a_run(requests))
    per_token = [(one.when(has_content)[-1] - one.start) / one.tokens / 1e9 for one in requests]
    assert found["inter_token_latency_s.mean"] == pytest.approx(np.mean(per_token))
    assert found["inter_token_latency_s.stddev"] == pytest.approx(np.std(per_token, ddof=1))
    assert found["ttft_s.p90"] == pytest.approx(
        np.percentile([(one.when(has_content)[0] - one.start) / 1e9 for one in requests], 90)
    )


# Beside ours, and why.


def test_ours_stands_beside_with_its_name_and_unit(requests: list[Recorded]) -> None:
    run = a_run(requests)
    by_name = {figure.name: figure for figure in look("llmperf", run).figures}
    stats = run.rounds[0].summary.stats
    assert by_name["ttft_s.mean"].ours == "ttft_ms.avg"
    assert by_name["ttft_s.mean"].our_value == pytest.approx((stats["ttft_ms"].avg or 0) / 1000)
    assert by_name["num_completed_requests"].our_value == 40


def test_each_reason_has_its_size_and_its_figures(requests: list[Recorded]) -> None:
    run = a_run(requests)
    found = look("vllm-0.28", run)
    by_name = {figure.name: figure for figure in found.figures}
    told = {figure.name: [found.reasons[place] for place in figure.why] for figure in found.figures}
    start, first = told["mean_ttft_ms"]
    mean_ms = np.mean([one.start - one.sent for one in requests]) / MS
    assert start.startswith(f"it counts from before it has a connection ({mean_ms:+.3f} ms on average, in ")
    shift = float(re.findall(r"\(([+-][\d.]+) ms", first)[0])
    theirs, ours = by_name["mean_ttft_ms"].value, by_name["mean_ttft_ms"].our_value
    assert theirs is not None
    assert ours is not None
    assert theirs - ours == pytest.approx(shift - mean_ms, abs=2e-3)
    assert told["mean_ttft_ms"][:2] == told["p99_ttft_ms"][:2]
    assert "linear interpolation" in told["p99_ttft_ms"][2]
    assert "tokens to it" in told["mean_itl_ms"][0]
    assert told["total_token_throughput"] == []


def test_what_is_alike_has_no_reasons() -> None:
    plain = [replace(recorded(seed), start=recorded(seed).sent) for seed in (1, 5, 7)]
    found = look("guidellm", a_run(plain))
    assert [text for text in found.reasons if "on average" in text] == []


def test_a_request_that_failed_here_may_be_a_success_there(requests: list[Recorded]) -> None:
    cut = replace(requests[1], events=requests[1].events[:4])
    run = a_run(requests[2:])
    timeline = watch(cut, 99, Tally())
    assert timeline.outcome is Outcome.TRUNCATED
    both = run_of(replace(run.rounds[0], requests=[*run.rounds[0].requests, timeline]))
    found = look("vllm", both)
    by_name = {figure.name: figure for figure in found.figures}
    assert (by_name["completed"].value, by_name["completed"].our_value) == (39, 38)
    assert "other requests count: 1 that failed by FluxPerf's rules are successes to it" in found.reasons
    assert not by_name["p99_itl_ms"].is_exact


def test_requests_that_were_cut_off_or_refused_are_nobodys(requests: list[Recorded]) -> None:
    run = a_run(requests)
    others = [
        Timeline(index=90, sent_ns=0, outcome=Outcome.CUT_OFF, silent_events=0),
        Timeline(index=91, outcome=Outcome.NOT_SENT),
        Timeline(index=92, sent_ns=1, status=503, outcome=Outcome.REJECTED, silent_events=0, blank_events=0),
    ]
    more = run_of(replace(run.rounds[0], requests=[*run.rounds[0].requests, *others]))
    for tool in LENSES:
        assert figures(tool, more) == figures(tool, run)


# What older results, and stored ones, can tell.


def without_silence(run: RunResult) -> RunResult:
    def older() -> Iterator[Timeline]:
        for request in run.rounds[0].requests:
            yield from_row(to_row(request)[:28])

    return run_of(replace(run.rounds[0], requests=list(older())))


def test_older_results_cannot_tell_of_silent_events(requests: list[Recorded]) -> None:
    old = without_silence(a_run(requests))
    found = look("vllm", old)
    assert [figure.value for figure in found.figures if figure.unit == "ms"] == [None] * 16
    assert found.reasons[0].startswith("40 requests are left out, because their rows do not have what it counts by")
    assert found.figures[0].why == (0,)
    assert figures("aiperf", old) == figures("aiperf", a_run(requests))


@pytest.mark.parametrize("tool", LENSES)
def test_stored_rows_tell_the_same(tool: str, requests: list[Recorded]) -> None:
    run = a_run(requests)
    result = run.rounds[0]
    stored = [read_row(request_row(request, result)) for request in result.requests]
    again = figures(tool, run_of(replace(result, requests=stored)))
    assert again == pytest.approx(figures(tool, run))


def test_without_histograms_the_mean_of_gaps_is_still_told(requests: list[Recorded]) -> None:
    found = look("vllm", a_run(requests, histograms={}))
    by_name = {figure.name: figure for figure in found.figures}
    wanted = as_vllm(requests, vllm_streams, vllm_streams)
    assert by_name["mean_itl_ms"].value == pytest.approx(wanted["mean_itl_ms"])
    assert by_name["median_itl_ms"].value is None
    assert any("histograms.hlog, which is missing" in text for text in found.reasons)


def test_a_round_without_requests(requests: list[Recorded]) -> None:
    empty = a_run(requests, requests=(), histograms={})
    for tool in LENSES:
        found = look(tool, empty)
        assert {figure.value for figure in found.figures} <= {None, 0}
        assert found.reasons == ()


def test_answers_that_came_at_once_have_gaps_of_nothing() -> None:
    one = recorded(1)
    at_once = replace(one, events=[(one.events[0][0], data) for _, data in one.events])
    found = figures("vllm-0.28", a_run([at_once]))
    assert (found["mean_itl_ms"], found["p99_itl_ms"]) == (0, 0)
    both = [at_once, recorded(2)]
    wanted = as_vllm(both, has_choice, everything)
    for name in ("mean_itl_ms", "median_itl_ms", "std_itl_ms"):
        assert figures("vllm-0.28", a_run(both))[name] == pytest.approx(wanted[name], rel=2e-3), name


def test_an_unknown_tool_is_told_with_those_that_are_known() -> None:
    with pytest.raises(UsageError, match="--as jmeter: there is no such tool: take one of vllm, "):
        apply_lens("jmeter", run_of())


def test_every_tool_has_its_place_in_the_document() -> None:
    text = DOCS.read_text("utf-8")
    for tool in LENSES:
        view = apply_lens(tool, run_of())
        assert f"| `{tool}` |" in text
        assert view.version in text
