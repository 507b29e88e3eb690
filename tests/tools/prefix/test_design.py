"""Groups, trees and orders."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluxperf.errors import UsageError
from fluxperf_tools.prefix.design import Design, Distances, Prompt, arrange, group_sizes

PLAIN = Design(groups=4, per_group=5, shared_tokens=10, unique_tokens=5)
designs = st.builds(
    Design,
    groups=st.integers(1, 9),
    per_group=st.integers(1, 6),
    shared_tokens=st.just(10),
    unique_tokens=st.just(5),
    zipf=st.floats(0, 5),
    turns=st.integers(1, 3),
    branching=st.integers(1, 2),
    reply_tokens=st.just(5),
    repeat_distance=st.none() | st.integers(0, 12),
)


@given(designs)
def test_every_group_has_a_prompt_and_the_total_stays(design: Design) -> None:
    sizes = group_sizes(design)
    assert sum(sizes) == design.groups * design.per_group
    assert min(sizes) >= 1
    assert sizes == sorted(sizes, reverse=True) or design.zipf == 0


def test_popularity() -> None:
    assert group_sizes(PLAIN) == [5, 5, 5, 5]
    assert group_sizes(replace(PLAIN, zipf=1.0)) == [9, 5, 3, 3]


@given(designs)
def test_every_prompt_stands_once_after_the_turns_before_it(design: Design) -> None:
    prompts = arrange(design)
    assert len(set(prompts)) == len(prompts) == design.prompts
    places = {prompt: place for place, prompt in enumerate(prompts)}
    for prompt, place in places.items():
        if len(prompt.way) > 1:
            assert places[Prompt(prompt.group, prompt.way[:-1])] < place


@pytest.mark.parametrize("distance", [0, 1, 3])
def test_the_distance_is_kept(distance: int) -> None:
    """Where the groups are a multiple of it and one, it is the same everywhere."""
    groups = [prompt.group for prompt in arrange(replace(PLAIN, repeat_distance=distance))]
    found = Distances.of(groups, [1] * len(groups))
    assert (found.repeats, found.least, found.middle, found.most) == (16, distance, distance, distance)


def test_the_distance_falls_where_groups_run_out() -> None:
    groups = [prompt.group for prompt in arrange(replace(PLAIN, groups=3, repeat_distance=7))]
    assert groups[:6] == [0, 1, 2, 0, 1, 2]


def test_distances_in_prompts_and_tokens() -> None:
    found = Distances.of([0, 1, 1, 0], [5, 10, 20, 5])
    assert found == Distances(repeats=2, least=0, middle=1, most=2, middle_tokens=15)
    assert Distances.of([0, 1], [1, 1]) == Distances(0, 0, 0, 0, 0)


def test_what_cannot_be_designed() -> None:
    with pytest.raises(UsageError, match="no tokens"):
        replace(PLAIN, shared_tokens=0, unique_tokens=0)
    with pytest.raises(UsageError, match="each turn needs a text"):
        replace(PLAIN, turns=2)
