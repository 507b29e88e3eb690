"""Whatever is wrong with results, the page says what is missing; only without a run.json there is none."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fluxperf.errors import RunFailed, UsageError
from fluxperf.presentation.page import write_page
from tests.presentation.results import Made, change, make_run, write_run

Results = Callable[..., Path]
ROUND = "concurrency_2_round_1.json"


def page(folder: Path) -> str:
    """The text of the page, without its scripts."""
    output = folder / "report.html"
    write_page([folder], output)
    html = re.sub(r"<script.*?</script>|<style.*?</style>", "", output.read_text("utf-8"), flags=re.DOTALL)
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html))


def truncate(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (Path.unlink, "cannot be read"),
        (truncate, "was it cut short?"),
        (lambda file: file.write_bytes(b"\xff\xfe rubbish"), "is not UTF-8"),
        (lambda file: file.write_text(""), "is no JSON"),
        (lambda file: file.write_text('{"requests": {}}'), "has no requests in it"),
    ],
)
def test_a_broken_round_is_missing_and_the_others_are_there(
    results: Results, spoil: Callable[[Path], Any], said: str
) -> None:
    folder = results(levels=(2,))
    spoil(folder / ROUND)
    text = page(folder)
    assert "Missing: the requests of round 1" in text
    assert said in text
    assert "Round 2 was 5.0x faster to the first token" in text
    assert "TTFT by percentile" in text  # of round 2


def test_an_older_run_has_less_on_its_page(results: Results) -> None:
    folder = results(levels=(2,))
    found = json.loads((folder / "run.json").read_text("utf-8"))
    new = ("audit", "verdict", "checks", "cache", "unmeasured", "examples", "notes", "partial", "outcomes", "cold")
    rounds = [{key: value for key, value in one.items() if key not in new} for one in found["rounds"]]
    change(folder, rounds=rounds, comparisons=None, evaluations=None, verdict=None, ended_at=None)
    text = page(folder)
    assert "not judged" in text
    assert "or the result is of an older version" in text


def test_a_run_that_was_stopped_says_so(tmp_path: Path) -> None:
    folder = write_run(tmp_path, make_run(Made(levels=(2,), rounds=1)))
    change(folder, partial=True, rounds=[])
    assert "The run was stopped before its end" in page(folder)


def test_a_round_in_which_all_failed(results: Results) -> None:
    text = page(results(levels=(2,), failing=1.0))
    assert "40 failed with http_status: HTTP 500: &lt;b&gt;oops&lt;/b&gt;" in text
    assert "no prompt succeeded in two rounds" in text


def test_a_round_without_requests(results: Results) -> None:
    text = page(results(levels=(2, 4), requests=0))
    assert "No timeline, because nothing was sent." in text
    assert "no request has a value of it" in text


def test_one_request_is_enough_for_every_plot(results: Results) -> None:
    text = page(results(levels=(2,), requests=1))
    for title in (
        "TTFT by percentile",
        "TTFT prompt by prompt",
        "Requests in flight, round 1",
        "Output tokens a second",
    ):
        assert title in text
        assert f"{title}: no plot" not in text


def test_without_a_run_json_there_is_no_page(tmp_path: Path) -> None:
    for text in (None, "{", '{"schema": "something/1"}', '{"schema": "fluxperf.run/1", "rounds": 3}'):
        if text is not None:
            (tmp_path / "run.json").write_text(text)
        with pytest.raises(UsageError, match=r"run\.json"):
            write_page([tmp_path], tmp_path / "report.html")
    assert not (tmp_path / "report.html").exists()


def test_an_earlier_page_stays_where_the_new_one_cannot_be_written(results: Results) -> None:
    folder = results(levels=(2,), requests=2)
    with pytest.raises(RunFailed, match="cannot write"):
        write_page([folder], folder / "gone" / "report.html")


def test_of_a_hundred_thousand_requests_some_are_drawn(tmp_path: Path) -> None:
    """One level of two such rounds; eight are as quick each, and their page is held below 5 MB in the same way."""
    folder = write_run(tmp_path, make_run(Made(levels=(64,), requests=100_000)))
    text = page(folder)
    assert re.search(r"[34],\d\d\d of 100,000 prompts shown, the extremes among them", text)
    assert (folder / "report.html").stat().st_size < 2_500_000
