"""The quick way to a round's columns gives what the other one gives."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest

from fluxperf.errors import UsageError
from fluxperf.model import Outcome, RoundResult, Timeline
from fluxperf.presentation.rows import read_rows
from fluxperf.report import round_json
from fluxperf.report.html.columns import Columns, read_columns
from fluxperf.stored import StoredRequests
from tests.presentation.results import MS, Made, make_run


def stored(result: RoundResult, file: Path) -> RoundResult:
    file.write_text("".join(round_json(result)), "utf-8")
    return replace(result, requests=StoredRequests(file), first_sent_ns=0)


def assert_same(one: Columns, other: Columns) -> None:
    for field in fields(Columns):
        np.testing.assert_allclose(getattr(one, field.name), getattr(other, field.name), rtol=1e-12, atol=1e-9)


def odd(index: int, **facts: object) -> Timeline:
    plain = {"outcome": Outcome.OK, "sent_ns": 5 * MS, "prompt_tokens": 10, "completion_tokens": 3}
    return Timeline(index=index, **(plain | facts))  # type: ignore[arg-type]


ODD = (
    odd(0, first_output_ns=6 * MS, last_output_ns=6 * MS, end_ns=9 * MS),
    odd(1, outcome=Outcome.RESET, first_byte_ns=7 * MS),
    odd(2, outcome=Outcome.NOT_SENT, sent_ns=None),
    odd(3, first_output_ns=6 * MS, last_output_ns=8 * MS, end_ns=9 * MS, cached_tokens=99, turn=4),
    odd(4, outcome=Outcome.LENGTH, first_output_ns=6 * MS, last_output_ns=8 * MS, end_ns=9 * MS, cached_tokens=0),
    odd(5, outcome=Outcome.TIMEOUT),
)


def test_both_ways_are_the_same(tmp_path: Path) -> None:
    plain = make_run(Made(levels=(2,), failing=0.3)).rounds[1]
    for requests in (plain.requests, ODD, ()):
        result = stored(replace(plain, requests=tuple(requests)), tmp_path / "round.json")
        assert_same(read_rows(result), read_columns(result))


def test_what_something_else_wrote_goes_the_other_way(tmp_path: Path, a_request: Callable[..., Timeline]) -> None:
    result = make_run(Made(levels=(2,), requests=3)).rounds[0]
    on_disk = stored(result, tmp_path / "round.json")
    expected = read_columns(on_disk)
    file = tmp_path / "round.json"
    file.write_text(json.dumps(json.loads(file.read_text("utf-8")), indent=1), "utf-8")
    assert_same(read_rows(on_disk), expected)
    assert_same(
        read_rows(replace(result, requests=(a_request(),))), read_columns(replace(result, requests=(a_request(),)))
    )


def test_what_is_wrong_is_said_by_the_other_way(tmp_path: Path) -> None:
    result = stored(make_run(Made(levels=(2,), requests=3)).rounds[0], tmp_path / "round.json")
    text = (tmp_path / "round.json").read_text("utf-8")
    for spoiled in (text[:-40], text.replace('"index":1', '"index":"x"'), ""):
        (tmp_path / "round.json").write_text(spoiled, "utf-8")
        with pytest.raises(UsageError):
            read_rows(result)
