from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from fluxperf.analysis.samples import NOTHING, Samples, read_sample
from fluxperf.model import Constraint, Outcome, RoundResult, Slo, Timeline
from tests.analysis.rounds import MS, request
from tests.analysis.worlds import make_round


class Counted(tuple[Timeline, ...]):
    """Requests that count how often they were read."""

    reads = 0

    def __iter__(self) -> Iterator[Timeline]:
        type(self).reads += 1
        return super().__iter__()


def test_columns_are_what_the_requests_tell() -> None:
    slo = Slo((Constraint("ttft_ms", below=50),))
    failed = request(2, 10, outcome=Outcome.TIMEOUT)
    unsent = Timeline(index=3, outcome=Outcome.NOT_SENT)
    told = request(0, 40, prompt_tokens=10, cached_tokens=3)
    sample = read_sample(make_round([told, request(1, 60), failed, unsent], slo=slo))
    assert sample.index.tolist() == [0, 1, 2, 3]
    assert sample.counted.tolist() == [True, True, True, False]
    assert sample.sent.tolist() == [True, True, True, False]
    assert sample.success.tolist() == [True, True, False, False]
    assert sample.good.tolist() == [True, False, False, False]
    assert sample.values["ttft_ms"].tolist() == [40 * MS, 60 * MS, NOTHING, NOTHING]
    assert sample.tokens.tolist() == [11, 11, 0, 0]
    assert sample.cached_tokens.tolist() == [3, NOTHING, NOTHING, NOTHING]
    assert sample.prompt_tokens.tolist() == [10, NOTHING, NOTHING, NOTHING]


def test_a_round_without_requests_is_empty() -> None:
    assert read_sample(make_round([])).index.size == 0


@pytest.mark.parametrize(("count", "dataset", "same"), [(4, "one", True), (5, "one", False), (4, "other", False)])
def test_rounds_are_pairs_where_they_ask_the_same_of_the_same_dataset(count: int, dataset: str, same: bool) -> None:
    first = make_round([request(index, 10) for index in range(4)])
    second = make_round([request(index, 20) for index in range(count)], dataset=dataset)
    assert read_sample(first).draws_as(read_sample(second)) is same


def test_datasets_that_nobody_knows_are_not_the_same() -> None:
    sample = read_sample(make_round([request(0, 1)]))
    unknown = read_sample(make_round([request(0, 1)], dataset=None))  # type: ignore[arg-type]
    assert not unknown.draws_as(unknown)
    assert sample.draws_as(sample)


def test_each_round_is_read_once() -> None:
    def counted() -> RoundResult:
        result = make_round([request(index, 10) for index in range(4)])
        return RoundResult(
            **{name: getattr(result, name) for name in result.__slots__} | {"requests": Counted(result.requests)}
        )

    samples, result = Samples(), counted()
    Counted.reads = 0
    assert samples.of(result) is samples.of(result)
    assert Counted.reads == 1


def test_what_is_too_large_to_keep_is_let_go_of() -> None:
    rounds = [make_round([request(index, 10) for index in range(4)]) for _ in range(4)]
    samples = Samples(most_requests=8)
    kept = [samples.of(one) for one in rounds]
    assert samples.of(rounds[-1]) is kept[-1]
    assert samples.of(rounds[0]) is not kept[0]
    assert np.array_equal(samples.of(rounds[0]).index, kept[0].index)
