from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from typing import get_type_hints

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluxperf.model import Outcome, Timeline
from fluxperf.model.timeline import from_row, to_row

KINDS = {
    int: st.integers(0, 2**63),
    int | None: st.none() | st.integers(0, 2**63),
    str | None: st.none() | st.text(),
    Outcome: st.sampled_from(Outcome),
}
timelines = st.builds(Timeline, **{name: KINDS[kind] for name, kind in get_type_hints(Timeline).items()})


@given(timelines)
def test_row_survives_msgpack(request_: Timeline) -> None:
    back = from_row(msgpack.unpackb(msgpack.packb(to_row(request_))))
    assert back == request_
    assert isinstance(back.outcome, Outcome)


def row_length_of_the_first_version() -> int:
    return [field.name for field in fields(Timeline)].index("dropped_turns") + 1


def test_row_of_an_earlier_version_lacks_what_it_did_not_look_for() -> None:
    request = Timeline(index=3, sent_ns=5, silent_events=2, blank_events=1, last_event_ns=7)
    back = from_row(to_row(request)[: row_length_of_the_first_version()])
    assert back == Timeline(index=3, sent_ns=5)
    assert back.silent_events is None


def test_row_of_another_length_is_refused() -> None:
    row = to_row(Timeline(index=3))
    for wrong in (row[: row_length_of_the_first_version() - 1], [*row, None]):
        with pytest.raises(ValueError, match="zip"):
            from_row(wrong)


def test_until_it_is_judged_a_request_is_cut_off() -> None:
    assert Timeline(index=0).outcome is Outcome.CUT_OFF


@pytest.mark.parametrize("outcome", Outcome)
def test_only_ok_and_length_are_successes(outcome: Outcome) -> None:
    assert Timeline(index=0, outcome=outcome).success is (outcome in ("ok", "length"))


@pytest.mark.parametrize(
    ("facts", "tokens"),
    [
        ({"completion_tokens": 7, "output_events": 5}, 7),
        ({"completion_tokens": 0, "output_events": 5}, 5),
        ({"completion_tokens": None, "output_events": 5}, 5),
        ({"completion_tokens": None, "output_events": 0}, 0),
    ],
)
def test_output_tokens_are_the_servers_unless_it_counts_none(
    a_request: Callable[..., Timeline], facts: dict[str, int | None], tokens: int
) -> None:
    assert a_request(**facts).output_tokens == tokens


@pytest.mark.parametrize(("told", "tokens"), [(12, 12), (0, 0), (None, 30)])
def test_input_tokens_are_the_servers_where_it_tells(
    a_request: Callable[..., Timeline], told: int | None, tokens: int
) -> None:
    assert a_request(prompt_tokens=told, prompt_tokens_estimate=30).input_tokens == tokens
