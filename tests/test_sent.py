from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from fluxperf.sent import Audience, SentPrompts, place_of

SERVER = Audience("a:80", 0, "sha")
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
    for other in (replace(SERVER, server="b:80"), replace(SERVER, life=1), replace(SERVER, dataset_sha256="other")):
        assert sent.find(other, [1]) is None


def test_what_was_emptied_has_seen_nothing_whatever_the_dataset() -> None:
    sent = SentPrompts()
    other = replace(SERVER, dataset_sha256="other")
    elsewhere = replace(SERVER, server="b:80")
    for audience in (SERVER, other, elsewhere):
        sent.add(audience, [1], 20, "here")
    sent.forget(SERVER.server)
    assert [sent.find(audience, [1]) for audience in (SERVER, other, elsewhere)] == [None, None, "here"]


def test_two_urls_of_one_server_have_one_place() -> None:
    path = "/v1/chat/completions"
    here = [f"http://{host}:8000{path}" for host in ("localhost", "127.0.0.1", "127.0.0.2", "[::1]", "LOCALHOST")]
    assert {place_of(url) for url in here} == {f"localhost:8000{path}"}
    assert place_of(f"https://a.example{path}/") == f"a.example:443{path}"
    assert place_of(f"http://a.example{path}") != place_of("http://a.example/other/v1/chat/completions")
