from __future__ import annotations

import pytest

from fluxperf_mock.answers import Answer
from fluxperf_mock.api import Rejection
from fluxperf_mock.faults import read_faults
from fluxperf_mock.repeats import Repeats

LONG = Answer(5, 100, "length")


def test_without_a_fault_nothing_is_altered() -> None:
    repeats = Repeats(read_faults("drift"))
    assert [repeats.alter(b"a", LONG) for _ in range(3)] == [LONG] * 3


@pytest.mark.parametrize(("length", "shrunk"), [(100, 30), (2, 1), (1, 1)])
def test_only_what_came_before_shrinks_and_never_to_nothing(length: int, shrunk: int) -> None:
    repeats, answer = Repeats(read_faults("answers-shrink=0.3")), Answer(5, length, "length")
    altered = [repeats.alter(prompt, answer) for prompt in (b"a", b"b", b"a", b"a")]
    assert altered == [answer, answer, Answer(5, shrunk, "stop"), Answer(5, shrunk, "stop")]


def test_both_faults_of_repeats_go_together() -> None:
    repeats = Repeats(read_faults("errors=0.5,answers-shrink=0.5"))
    assert repeats.alter(b"a", LONG) == LONG
    assert repeats.alter(b"a", LONG).length == 50
    with pytest.raises(Rejection, match="this prompt came before") as caught:
        repeats.alter(b"a", LONG)
    assert caught.value.status == 500
