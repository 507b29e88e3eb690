"""What FluxPerf sees of Prometheus metrics, from end to end. Runs under pytest and, without it, as a script:

python tests/test_prometheus.py                    runs the tests, one line each
python tests/test_prometheus.py URL [METRIC...]    shows what is at an address: three seconds of each metric
"""

from __future__ import annotations

import csv
import json
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from unittest import SkipTest
from urllib.parse import urlsplit

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from fluxperf.clock import now_ns
from fluxperf.fetch import Access
from fluxperf.files import write_stream
from fluxperf.watch.prometheus import open_monitor
from fluxperf.watch.queries import Api
from fluxperf.watch.series import Unavailable
from tests.watch.monitored import ROOT, TIMEOUT_S, Reply, pages, running_mock, running_prometheus, send_many

SHOWN_S = 3.0
PROMPT_TOKENS = "vllm:prompt_tokens"
SUCCESSES = 'vllm:request_success_total{finished_reason="length"}'
RUNNING = "vllm:num_requests_running"
TTFT = "vllm:time_to_first_token_seconds"
METRICS = (PROMPT_TOKENS, SUCCESSES, RUNNING, TTFT)
REQUESTS = 6

Figures = dict[str, dict[str, Any]]


def watch(url: str, metrics: Sequence[str], during: Callable[[], None]) -> Figures:
    """The figures of a round in which `during` happened."""
    monitor = open_monitor(url, metrics, Access(), lambda _: None)
    monitor.begin()
    began_ns = now_ns()
    during()
    ended_ns = now_ns()
    monitor.end()
    return monitor.figures(began_ns, ended_ns)


def load(url: str) -> None:
    """A round for the mock server, of about two seconds."""
    send_many(url, [f"{now_ns()} {number} " + "word " * 50 for number in range(REQUESTS)], tokens=200)


def check(figures: Figures) -> None:
    """What has to be seen of that round, whoever looks."""
    assert figures[SUCCESSES]["kind"] == "counter", figures
    assert figures[SUCCESSES]["delta"] == REQUESTS, figures
    assert figures[PROMPT_TOKENS]["delta"] >= REQUESTS * 50, figures
    assert figures[PROMPT_TOKENS]["rate_per_s"] > 0, figures
    assert figures[RUNNING]["kind"] == "gauge", figures
    assert figures[RUNNING]["samples"] >= 1, figures
    assert 0 < figures[RUNNING]["max"] <= REQUESTS, figures
    assert figures[TTFT]["kind"] == "histogram", figures
    assert figures[TTFT]["delta"] == REQUESTS, figures
    assert 0 < figures[TTFT]["p50"] <= figures[TTFT]["p99"], figures


def why_not(figures: Figures) -> str:
    """The reason, where there is one figure and it is none."""
    (only,) = figures.values()
    assert only.keys() == {"unavailable"}, figures
    return str(only["unavailable"])


def test_a_page_of_metrics() -> None:
    with running_mock() as url:
        check(watch(f"{url}/metrics", METRICS, lambda: load(url)))


def test_a_prometheus_server() -> None:
    with running_mock() as url, running_prometheus(urlsplit(url).netloc) as prometheus:
        wait_for_a_scrape(prometheus)
        check(watch(prometheus, METRICS, lambda: load(url)))


def test_the_kind_of_address_is_found_out() -> None:
    with running_mock() as url, running_prometheus(urlsplit(url).netloc) as prometheus:
        for address, kind in (
            (f"{url}/metrics", "a page of metrics"),
            (f"{prometheus}/metrics", "a page of metrics"),
            (prometheus, "a Prometheus server"),
            (f"{prometheus}/graph", "a Prometheus server"),
            (f"{prometheus}/api/v1/query", "a Prometheus server"),
        ):
            assert open_monitor(address, [], Access(), lambda _: None).address.startswith(kind), address


def test_labels_choose() -> None:
    all_ends = "vllm:request_success_total"
    with running_mock() as url:
        figures = watch(
            f"{url}/metrics", [all_ends, SUCCESSES, f'{all_ends}{{finished_reason="abort"}}'], lambda: load(url)
        )
    assert figures[all_ends]["series"] == 3, figures
    assert [its["delta"] for its in figures.values() if "series" not in its].count(REQUESTS) == 2, figures
    assert figures[f'{all_ends}{{finished_reason="abort"}}']["delta"] == 0, figures


def test_what_does_not_move_is_zero() -> None:
    with running_mock() as url:
        figures = watch(f"{url}/metrics", METRICS, lambda: None)
    assert figures[PROMPT_TOKENS]["delta"] == 0, figures
    assert figures[RUNNING]["avg"] == 0, figures
    assert (figures[TTFT]["delta"], figures[TTFT]["avg"], figures[TTFT]["p50"]) == (0, None, None), figures


def test_what_is_absent_is_not_zero() -> None:
    with running_mock() as url:
        why = why_not(watch(f"{url}/metrics", ["vllm:prompt_token"], lambda: None))
    assert why.startswith("the page has no such metric; it has: vllm:prompt_tokens"), why


def test_what_cannot_be_read_is_not_zero() -> None:
    replies: list[tuple[Reply, str]] = [
        ((500, "out of order"), "answered with status 500"),
        ((200, "<!doctype html><title>Sign in</title>"), "is no page of metrics"),
    ]
    for reply, expected in replies:
        with pages(lambda _, reply=reply: reply) as server:  # type: ignore[misc]
            why = why_not(watch(f"{server.url}/metrics", ["a"], lambda: None))
        assert expected in why, why
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    why = why_not(watch(f"http://127.0.0.1:{port}/metrics", ["a"], lambda: None))
    assert "refused" in why, why


def test_a_counter_that_begins_again_is_not_negative() -> None:
    values = [5]
    with pages(lambda _: (200, f"a_total {values[-1]}\n")) as server:
        why = why_not(watch(f"{server.url}/metrics", ["a"], lambda: values.append(3)))
    assert "began again during the round" in why, why


def test_no_thread_is_left() -> None:
    with running_mock() as url:
        before = threading.active_count()
        watch(f"{url}/metrics", METRICS, lambda: None)
        assert threading.active_count() == before


def test_the_command_shows_them_beside_ttft() -> None:
    with tempfile.TemporaryDirectory() as place, running_mock() as url:
        prompts = Path(place, "prompts.jsonl")
        prompts.write_text("".join(json.dumps({"text": f"{number} is number {number}"}) + "\n" for number in range(8)))
        command = [sys.executable, str(ROOT / "bin" / "fluxperf"), "--endpoint", f"{url}/v1/chat/completions"]
        command += ["--dataset", str(prompts), "--concurrency", "4", "--output-dir", f"{place}/out", "--no-progress"]
        command += ["--prometheus-url", f"{url}/metrics", "--prometheus-metrics", PROMPT_TOKENS, RUNNING, "no_such"]
        ran = subprocess.run(command, capture_output=True, text=True, timeout=4 * TIMEOUT_S, check=False)
        assert ran.returncode == 0, ran.stderr
        with Path(place, "out", "metrics_summary.csv").open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file))
        for number, row in enumerate(rows, 1):
            summary = json.loads(Path(place, "out", f"concurrency_4_round_{number}.json").read_text("utf-8"))["summary"]
            figures = summary["prometheus"]
            assert figures[PROMPT_TOKENS]["delta"] == summary["avg_input_tokens"] * 8, figures
            assert figures[RUNNING]["samples"] >= 1, figures
            assert "no such metric" in figures["no_such"]["unavailable"], figures
            assert float(row[f"{PROMPT_TOKENS}_delta"]) == figures[PROMPT_TOKENS]["delta"], row
            assert float(row[f"{RUNNING}_avg"]) == figures[RUNNING]["avg"], row
            assert row["no_such_avg"] == row["no_such_delta"] == "", row
    assert len(rows) == 2, rows
    assert f"{PROMPT_TOKENS}: " in ran.stdout, ran.stdout
    assert "no_such" in ran.stderr, ran.stderr


def test_the_command_refuses_what_is_no_metric() -> None:
    command = [
        sys.executable,
        str(ROOT / "bin" / "fluxperf"),
        "--endpoint",
        "http://127.0.0.1:1/",
        "--dataset",
        __file__,
    ]
    command += ["--prometheus-url", "http://127.0.0.1:1/metrics", "--prometheus-metrics", "rate(a[5m])"]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    assert (ran.returncode, "is an expression" in ran.stderr) == (2, True), ran.stderr


def test_this_script_shows_an_address() -> None:
    with pages(lambda _: (200, "# TYPE level gauge\nlevel 3\n")) as server:
        shown: list[str] = []
        show(f"{server.url}/metrics", ["level", "lever"], shown.append, seconds=0)
        assert shown[0] == f"It is a page of metrics, {server.url}/metrics", shown
        assert any("level: gauge, avg 3, p50 3" in line for line in shown), shown
        assert "  lever: not available: the page has no such metric; it has: level" in shown, shown
        shown.clear()
        show(f"{server.url}/metrics", [], shown.append)
        assert shown[-1] == "  level", shown


def wait_for_a_scrape(prometheus: str) -> None:
    """Until it has the mock server's metrics; nobody tells when that is."""
    api = Api(prometheus, {}, Access())
    for _ in range(round(TIMEOUT_S * 10)):
        if api.rows(RUNNING):
            return
        threading.Event().wait(0.1)
    raise AssertionError("Prometheus has scraped nothing")


def show(url: str, metrics: Sequence[str], say: Callable[[str], None], seconds: float = SHOWN_S) -> bool:
    """What FluxPerf sees at an address within so many seconds; False: nothing that it understands."""
    monitor = open_monitor(url, metrics, Access(), lambda _: None)
    if isinstance(monitor.source, Unavailable):
        say(f"not available: {monitor.source.why}")
        return False
    say(f"It is {monitor.address}")
    if not metrics:
        names = monitor.source.names()
        say(f"and has {len(names)} metrics; name some of them to see their figures")
        for name in names:
            say(f"  {name}")
        return True
    monitor.begin()
    began_ns = now_ns()
    threading.Event().wait(seconds)
    ended_ns = now_ns()
    monitor.end()
    say(f"Figures of {seconds:g} s:")
    for name, figures in monitor.figures(began_ns, ended_ns).items():
        if "unavailable" in figures:
            say(f"  {name}: not available: {figures['unavailable']}")
            continue
        told = [f"{stat} {value:.6g}" for stat, value in figures.items() if isinstance(value, int | float)]
        say(f"  {name}: {figures['kind']}, {', '.join(told)}")
        if "note" in figures:
            say(f"    {figures['note']}")
    return True


def run_tests(say: Callable[[str], None]) -> bool:
    """Every test of this file, one line each; False: one failed."""
    good = True
    for name, test in [item for item in globals().items() if item[0].startswith("test_")]:
        words = name.removeprefix("test_").replace("_", " ")
        try:
            test()
            say(f"ok       {words}")
        except SkipTest as reason:
            say(f"skipped  {words}: {reason}")
        except Exception as error:  # whatever it is, the other tests have something to say too
            good = False
            say(f"FAILED   {words}: {type(error).__name__}: {error}")
    return good


def main(words: Sequence[str]) -> int:
    """The script; its exit code."""

    def say(line: str) -> None:
        write_stream(sys.stdout, f"{line}\n")

    if not words:
        return 0 if run_tests(say) else 1
    if words[0].startswith("-"):
        say(f"{__doc__}")
        return 0 if words[0] in ("-h", "--help") else 2
    try:
        return 0 if show(words[0], words[1:], say) else 1
    except ValueError as error:
        say(f"{error}")
        return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
