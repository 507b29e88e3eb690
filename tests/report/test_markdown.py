from __future__ import annotations

import html
import re
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from fluxperf.report.findings import Findings, Heading, Side
from fluxperf.report.markdown import MOST_CHARACTERS, render_markdown
from fluxperf.report.text import printable
from tests.report.findings import FINDINGS, HEADING, NASTY, RESULTS, make_many, make_nasty, make_result

Golden = Callable[[str, str], None]
_OURS = {"<code>", "</code>", "<br>", "<sub>", "</sub>", "<details>", "</details>", "<summary>", "</summary>"}


def rendered(findings: Findings) -> str:
    return str(MarkdownIt("commonmark").enable(["table", "strikethrough"]).render(render_markdown(findings)))


def test_four_gates(golden: Golden) -> None:
    golden("gates.md", render_markdown(FINDINGS))


def test_the_first_line_is_the_verdict() -> None:
    assert render_markdown(FINDINGS).startswith("## FluxPerf failed: 2 of 4 gates failed, 1 undecided\n")
    passed = render_markdown(Findings(HEADING, RESULTS[:1]))
    assert passed.startswith("## FluxPerf passed: 1 gate passed\n")
    compared = render_markdown(Findings(HEADING, (), FINDINGS.contrasts))
    assert compared.startswith("## FluxPerf compared: 3 comparisons: 1 worse, 1 cannot tell, 1 same\n")


def test_failed_gates_come_first() -> None:
    words = re.findall(r"^\| \**(FAIL|undecided|PASS)", render_markdown(FINDINGS), re.MULTILINE)
    assert words == ["FAIL", "FAIL", "undecided", "PASS"]


def test_many_comparisons_are_folded_and_few_are_not() -> None:
    assert "<details>" not in render_markdown(FINDINGS)
    many = rendered(make_many(30))
    assert "<details><summary>30 comparisons: 10 worse, 10 better, 10 same</summary>" in many
    assert many.count("<table>") == 2


def test_both_tables_are_tables() -> None:
    shown = rendered(FINDINGS)
    assert shown.count("<table>") == 2
    assert shown.count("<tr>") == 2 + 4 + 3


@pytest.mark.parametrize("count", [100, 2000])
def test_it_is_never_too_long_for_a_comment(count: int) -> None:
    text = render_markdown(make_many(count))
    assert len(text) <= MOST_CHARACTERS
    assert ("further" in text) == (count > 1000)
    assert len(rendered(make_many(count)).split("<tr>")) > 100


def test_it_is_never_too_long_for_a_comment_whatever_the_names() -> None:
    nasty = make_nasty()
    long = Findings(
        replace(nasty.heading, labels={f"{number}": "|" * 500 for number in range(500)}),
        [make_result(text="|" * 5000, stage="`" * 5000)] * 300,
        list(nasty.contrasts) * 300,
    )
    assert len(render_markdown(long)) <= MOST_CHARACTERS


def tags(text: str) -> set[str]:
    return {re.sub(r"\s.*>", ">", tag) for tag in re.findall(r"<[^>]*>", text)}


def test_names_are_no_markup() -> None:
    plain, nasty = tags(rendered(FINDINGS)), tags(rendered(make_nasty()))
    assert nasty <= plain | _OURS
    assert "@team" not in re.sub(r"<code>.*?</code>", "", rendered(make_nasty()), flags=re.DOTALL)
    assert html.escape(printable(NASTY, 120), quote=True).replace("&#x27;", "'") in rendered(make_nasty())


@settings(max_examples=50)
@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40))
def test_any_name_stays_what_it_is(name: str) -> None:
    shown = rendered(Findings(Heading(new=Side(name=name)), [make_result(stage=name, text=name)]))
    assert shown.count("<tr>") == 2
    assert tags(shown) <= tags(rendered(FINDINGS)) | _OURS
    assert printable(name) in html.unescape(shown)
