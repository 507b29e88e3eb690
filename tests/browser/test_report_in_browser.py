"""The report as a person has it: opened in a real browser, on several results, small, huge and broken ones."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("selenium")
pytest.importorskip("bokeh")

from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from fluxperf.presentation.page import write_page
from fluxperf.report.html.palette import COLOURS
from tests.browser.page import Page
from tests.presentation.results import Made, change, make_run, write_run

Open = Callable[..., Page]
TTFT = "TTFT by percentile"


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two levels, two rounds, and a few requests that failed."""
    folder = write_run(tmp_path_factory.mktemp("small"), make_run(Made(levels=(2, 8), failing=0.1)))
    write_page([folder], folder / "report.html")
    return folder


def rounds_of(folder: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((folder / "run.json").read_text("utf-8"))["rounds"]
    return found


def test_every_plot_is_drawn_and_not_blank(small: Path, open_page: Open) -> None:
    page = open_page(small / "report.html", whole=True)
    titles = page.plots
    assert len(titles) == 3 + 2 * (3 + 1 + 1 + 6)
    drawn = page.run("return [...document.querySelectorAll('.canvas')].map(one => one.dataset.drawn)")
    assert set(drawn) == {"light"}
    series = [COLOURS[name].light for name in ("series-1", "series-2")]
    for title in set(titles):
        assert any(page.shows(title, colour) for colour in series), f"{title} is blank"
    assert page.colours(TTFT) >= set(series)


def test_the_answer_is_what_one_sees_first(small: Path, open_page: Open) -> None:
    page = open_page(small / "report.html")
    answer = page.driver.find_element(By.ID, "answer")
    assert "Round 2 was 5.0x faster to the first token, 95 % interval 4.0 to 6.2; valid." in answer.text
    assert answer.rect["y"] + 100 < 900


def test_numbers_are_those_of_run_json(small: Path, open_page: Open) -> None:
    page = open_page(small / "report.html")
    rounds = rounds_of(small)
    for key in ("total_requests", "failed_requests", "ttft_ms.p50", "latency_ms.p99", "throughput.tokens_per_s"):
        name, _, stat = key.partition(".")
        expected = [one[name][stat] if stat else one[name] for one in rounds]
        assert [float(value) for value in page.column(key)] == expected


def test_hovering_shows_values(small: Path, open_page: Open) -> None:
    page = open_page(small / "report.html")
    shown = page.hover(TTFT, 0.4, 0.5)
    found = re.fullmatch(r"Percentile: ([\d.]+) % Round 1: ([\d.,]+) ms Round 2: ([\d.,]+) ms", shown)
    assert found, shown
    rows = json.loads((small / "concurrency_2_round_1.json").read_text("utf-8"))["requests"]
    values = sorted(row["ttft_ms"] for row in rows if row["success"])
    rank = max(-(-round(float(found[1]) / 100 * len(values), 6) // 1), 1)
    assert float(found[2]) == pytest.approx(values[int(rank) - 1], abs=0.006)


def test_hovering_over_a_prompt_tells_which(small: Path, open_page: Open) -> None:
    page = open_page(small / "report.html")
    title = "TTFT prompt by prompt, round 1 against later rounds"
    place = page.run(
        """
        const place = arguments[0];
        const view = Object.values(Bokeh.index).find((one) => place.contains(one.el));
        const data = view.model.renderers[0].data_source.data;
        const get = (name) => (data instanceof Map ? data.get(name) : data[name]);
        const frame = view.frame;
        return { index: get("index")[0], cached: get("cached_after")[0],
                 x: frame.x_scale.compute(get("x")[0]) / place.clientWidth,
                 y: frame.y_scale.compute(get("y")[0]) / place.clientHeight };
        """,
        page.show(title),
    )
    shown = page.hover(title, place["x"], place["y"])
    assert "Round 2" in shown
    assert f"Prompt: {place['index']} " in shown
    assert f"Cached tokens: 0 -> {place['cached']:.0f}" in shown


def test_the_table_sorts_by_mouse_and_keyboard(small: Path, open_page: Open) -> None:
    page = open_page(small / "report.html")
    before = page.column("ttft_ms.p50")
    heading = page.driver.find_element(By.CSS_SELECTOR, "#table-rounds th[data-key='ttft_ms.p50']")
    heading.find_element(By.TAG_NAME, "button").click()
    assert page.column("ttft_ms.p50") == sorted(before, key=float)
    assert heading.get_attribute("aria-sort") == "ascending"
    page.driver.switch_to.active_element.send_keys(Keys.ENTER)
    assert page.column("ttft_ms.p50") == sorted(before, key=float, reverse=True)
    assert heading.get_attribute("aria-sort") == "descending"


def test_the_table_is_copied_as_it_stands(small: Path, open_page: Open) -> None:
    page = open_page(small / "report.html")
    page.clipboard()
    page.driver.find_element(By.CSS_SELECTOR, "button.copy[data-form='csv']").click()
    page.wait("return document.querySelector('.said').textContent === '4 rows copied.'")
    rows = list(csv.DictReader(io.StringIO(page.clipboard())))
    assert [float(row["ttft_ms.p50"]) for row in rows] == [one["ttft_ms"]["p50"] for one in rounds_of(small)]
    page.run("document.querySelector('.said').textContent = ''")
    page.driver.find_element(By.CSS_SELECTOR, "button.copy[data-form='tsv']").click()
    page.wait("return document.querySelector('.said').textContent !== ''")
    assert "\t" in page.clipboard()


def test_data_of_plots_is_copied(small: Path, open_page: Open) -> None:
    page = open_page(small / "report.html")
    page.clipboard()
    page.run("[...document.querySelectorAll('.plot button.copy')].find(b => /TTFT by perc/.test(b.ariaLabel)).click()")
    page.wait("return [...document.querySelectorAll('.plot button.copy')].some(b => b.textContent === 'Data copied')")
    rows = [line.split("\t") for line in page.clipboard().splitlines()]
    assert rows[0] == ["series", "x", "y", "percent"]
    highest = max(float(row[2]) for row in rows if row[0] == "Round 1")
    assert highest == pytest.approx(rounds_of(small)[0]["ttft_ms"]["max"], rel=1e-6)


def test_plots_turn_dark_with_the_page_and_back(small: Path, open_page: Open) -> None:
    page = open_page(small / "report.html", dark=True)
    assert COLOURS["series-1"].dark in page.colours(TTFT)
    body = "return getComputedStyle(document.body).backgroundColor"
    dark = page.run(body)
    for scheme, colour, other in (("light", "light", "dark"), ("dark", "dark", "light")):
        page.set_scheme(scheme)
        page.wait(
            "return [...document.querySelectorAll('.canvas')].every(one => one.dataset.drawn === arguments[0])", scheme
        )
        page.wait("return document.querySelector('.canvas').firstElementChild !== null")
        found = page.colours(TTFT)
        assert getattr(COLOURS["series-1"], colour) in found
        assert getattr(COLOURS["series-1"], other) not in found
        assert (page.run(body) == dark) == (scheme == "dark")


def test_a_narrow_page_has_nothing_beside_it(small: Path, open_page: Open) -> None:
    page = open_page(small / "report.html", width=360, whole=True)
    assert page.run("return document.documentElement.scrollWidth") == 360
    wide = page.run(
        """
        return [...document.querySelectorAll("body *:not(script)")]
          .filter((one) => one.checkVisibility() && !one.closest(".scroll, .unseen, pre"))
          .filter((one) => one.getBoundingClientRect().right > 360.5).map((one) => one.outerHTML.slice(0, 80));
        """
    )
    assert wide == []
    assert page.run("return document.querySelector('.scroll').scrollWidth") > 360
    assert page.shows(TTFT, COLOURS["series-1"].light)


def test_paper_has_the_plots_and_no_controls(small: Path, open_page: Open) -> None:
    page = open_page(small / "report.html", dark=True, whole=True)
    pdf = page.print()
    assert pdf.startswith(b"%PDF")
    assert pdf.count(b"/Subtype /Image") >= len(page.plots)
    page.wait("return !document.querySelector('.paper') && !document.documentElement.classList.contains('printing')")


def test_without_javascript_text_and_tables_are_there(small: Path, chromium: Any) -> None:
    chromium.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        chromium.get((small / "report.html").as_uri())
        text = chromium.find_element(By.TAG_NAME, "body").text
        shown = [button.is_displayed() for button in chromium.find_elements(By.CSS_SELECTOR, ".controls")]
    finally:
        chromium.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
    assert "Plots need JavaScript." in text
    assert "Round 2 was 5.0x faster" in text
    assert f"{rounds_of(small)[0]['ttft_ms']['p50']:,.2f}" in text
    assert not any(shown)


def test_what_comes_from_elsewhere_is_only_text(tmp_path: Path, open_page: Open) -> None:
    evil = "</script><script>window.hacked = 1</script><img src=x onerror='window.hacked = 1'>"
    run = make_run(Made(levels=(2,), model=evil, labels={evil: evil}, failing=0.3, requests=12))
    rounds = tuple(replace(one, series={evil: ((0.0, 1.0), (0.1, 2.0))}, notes=(evil,)) for one in run.rounds)
    folder = write_run(tmp_path, replace(run, rounds=rounds))
    write_page([folder], folder / "report.html")
    page = open_page(folder / "report.html")
    assert page.driver.find_element(By.TAG_NAME, "h1").text == evil
    page.hover("Requests in flight, round 2", 0.5, 0.4)
    assert page.run("return [window.hacked ?? null, document.images.length]") == [None, 0]


def test_several_runs_are_laid_over_each_other(tmp_path: Path, open_page: Open) -> None:
    evil = "<b>b</b> @x $name"
    runs = [make_run(Made(levels=(2, 8), requests=20, labels={"name": name})) for name in ("a", evil)]
    output = tmp_path / "both.html"
    write_page([write_run(tmp_path / str(nth), run) for nth, run in enumerate(runs)], output)
    page = open_page(output)
    assert page.colours(TTFT) >= {COLOURS["series-1"].light, COLOURS["series-2"].light}
    shown = page.hover(TTFT, 0.4, 0.5)
    assert f"{evil}: " in shown
    assert len(page.column("ttft_ms.p50")) == 8


def test_broken_results_are_a_page(tmp_path: Path, open_page: Open) -> None:
    folder = write_run(tmp_path, make_run(Made(levels=(2, 4), failing=1.0)))
    (folder / "concurrency_2_round_1.json").unlink()
    file = folder / "concurrency_2_round_2.json"
    file.write_bytes(file.read_bytes()[:700])
    write_page([folder], folder / "report.html")
    page = open_page(folder / "report.html")
    text = page.driver.find_element(By.TAG_NAME, "body").text
    assert "Missing: the requests of round 1" in text
    assert "Missing: the requests of round 2" in text
    assert page.plots


def test_a_huge_result_opens(tmp_path: Path, open_page: Open) -> None:
    """Eight levels of two rounds of a hundred thousand requests; the levels share their files."""
    folder = write_run(tmp_path, make_run(Made(levels=(64,), requests=100_000)))
    levels = [1, 2, 4, 8, 16, 32, 64, 128]
    change(folder, rounds=[one | {"concurrency": level} for level in levels for one in rounds_of(folder)])
    output = folder / "report.html"
    write_page([folder], output)
    assert output.stat().st_size < 5_000_000
    page = open_page(output)
    assert "of 100,000 prompts shown, the extremes among them" in page.driver.find_element(By.TAG_NAME, "body").text
    last = page.plots[-1]
    page.run("[...document.querySelectorAll('.canvas')].at(-1).scrollIntoView({ behavior: 'instant' })")
    page.wait("return [...document.querySelectorAll('.canvas')].at(-1).dataset.drawn === 'light'")
    assert last.endswith("round 2")
