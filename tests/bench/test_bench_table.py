from __future__ import annotations

import math

import pytest

from bench.table import Column, Row, Table, cell, ratio, render

COLUMNS = (Column("client", "client"), Column("rate", "requests/s", ",.0f"), Column("ratio", "ratio", ".2f"))


def test_a_table_is_as_wide_as_it_needs_to_be() -> None:
    rows: list[Row] = [
        {"client": "aiohttp", "rate": 4026.4, "ratio": 1.0},
        {"client": "ours", "rate": 12345.6, "ratio": None},
    ]
    table = Table("rate", "Requests", COLUMNS, rows, ("A note.",))
    assert render(table).splitlines() == [
        "Requests",
        "--------------------------",
        "client   requests/s  ratio",
        "--------------------------",
        "aiohttp       4,026   1.00",
        "ours         12,346      -",
        "A note.",
    ]


def test_notes_are_broken_to_the_width() -> None:
    table = Table("rate", "Requests", COLUMNS, [], ("word " * 50,))
    assert max(map(len, render(table).splitlines())) <= 100


@pytest.mark.parametrize(
    ("value", "form", "text"),
    [
        (1234, ",", "1,234"),
        (-999.125, ".3f", "-999.125"),
        (-9348.415, ".3f", "-9,348"),
        (0.12345, ".3f", "0.123"),
        ("text", ".3f", "text"),
        (None, ".3f", "-"),
        (math.nan, ".3f", "-"),
    ],
)
def test_cells(value: str | float | None, form: str, text: str) -> None:
    assert cell(value, form) == text


@pytest.mark.parametrize(
    ("value", "baseline", "times"), [(3, 2, 1.5), (0, 2, 0), (None, 2, None), (3, None, None), (3, 0, None)]
)
def test_ratios(value: float | None, baseline: float | None, times: float | None) -> None:
    assert ratio(value, baseline) == times


def test_json_keeps_what_the_text_rounds() -> None:
    rows: list[Row] = [{"client": "ours", "rate": 12345.6789}]
    assert Table("rate", "Requests", COLUMNS, rows, ("n",)).to_dict() == {
        "title": "Requests",
        "rows": rows,
        "notes": ["n"],
    }
