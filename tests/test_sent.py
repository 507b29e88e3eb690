from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from fluxperf.sent import Audience, SentPrompts

SERVER = Audience("http://a/", 0, "sha")
SAMPLES = st.lists(st.lists(st.integers(0, 19), unique=True, min_size=1), min_size=1, max_size=5)


@given(SAMPLES, st.lists(st.integers(0, 19), unique=True))
def test_the_first_place_that_sent_one_of_them_is_told(samples: list[list[int]], sample: list[int]) -> None:
    sent = SentPrompts()
    for number, one in enumerate(samples):
        sent.add(SERVER, one, 20, f"place {number}")
    sharing = [f"place {number}" for number, one in enumerate(samples) if set(one) & set(sample)]
    assert sent.find(SERVER, sample) == (sharing[0] if sharing else None)


def test_another_server_another_life_and_another_dataset_have_seen_nothing() -> None:
    sent = SentPrompts()
    sent.add(SERVER, [1], 20, "here")
    for other in (replace(SERVER, url="http://b/"), replace(SERVER, life=1), replace(SERVER, dataset_sha256="other")):
        assert sent.find(other, [1]) is None


def test_what_was_emptied_has_seen_nothing_whatever_the_dataset() -> None:
    sent = SentPrompts()
    other = replace(SERVER, dataset_sha256="other")
    elsewhere = replace(SERVER, url="http://b/")
    for audience in (SERVER, other, elsewhere):
        sent.add(audience, [1], 20, "here")
    sent.forget(SERVER.url)
    assert [sent.find(audience, [1]) for audience in (SERVER, other, elsewhere)] == [None, None, "here"]
