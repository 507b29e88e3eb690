from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain, count, repeat

import pytest

from fluxperf.model.cache import CacheCounters, Reading
from fluxperf.watch.counters import QUIET_POLL_S, QUIET_TIMEOUT_S, CounterWatch
from fluxperf.watch.engines import ENGINES
from fluxperf.watch.readings import Identity, Pages
from tests.watch.answering import STARTED, llamacpp_page, reading, sglang_page, trtllm_page, vllm_page

START_NS = 5_000_000_000
POLLS = round(QUIET_TIMEOUT_S / QUIET_POLL_S)
BEFORE = vllm_page(0, 1000)
BROKEN = Pages(None, "http://h/metrics answered with status 500")


class Server:
    """Its pages one after the other, each a look later; the last stays. Time passes while one waits, and only then."""

    def __init__(self, pages: Iterable[str | Pages]) -> None:
        self.shown: Iterator[str | Pages] = iter(pages)
        self._last: Pages = BROKEN
        self.looks = 0
        self.waits_s: list[float] = []

    def read(self) -> Pages:
        self.looks += 1
        page = next(self.shown, None)
        if page is not None:
            self._last = reading(page) if isinstance(page, str) else page
        return self._last

    def now_ns(self) -> int:
        return START_NS + round(sum(self.waits_s) * 1e9)


def watch(server: Server, engine: str | None = "vllm") -> CounterWatch:
    identity = Identity(None if engine is None else ENGINES[engine])
    return CounterWatch(identity, server.read, server.waits_s.append, server.now_ns)


def round_of(
    prompt_tokens: int, *pages: str | Pages, before: str = BEFORE, engine: str = "vllm"
) -> tuple[CacheCounters, Server]:
    """What was counted in a round after which these pages were seen, and the server as it was after the beginning."""
    return endless_round_of(prompt_tokens, pages, before, engine)


def endless_round_of(
    prompt_tokens: int, pages: Iterable[str | Pages], before: str = BEFORE, engine: str = "vllm"
) -> tuple[CacheCounters, Server]:
    server = Server(chain([before, before], pages))
    watching = watch(server, engine)
    watching.begin()
    assert server.looks == 2
    server.looks = 0
    server.waits_s.clear()
    return watching.end(prompt_tokens), server


def test_a_quiet_server_is_looked_at_twice() -> None:
    found, server = round_of(100, vllm_page(60, 1100))
    assert (found.reading, found.hits, found.queries) == (Reading.OK, 60, 100)
    assert (server.looks, server.waits_s) == (2, [QUIET_POLL_S])


def test_a_round_begins_when_nothing_runs_any_more() -> None:
    pages = [vllm_page(0, 10, running=2), vllm_page(0, 30, running=1), vllm_page(0, 40), vllm_page(0, 50)]
    server = Server(pages)
    watching = watch(server)
    watching.begin()
    assert server.looks == 5
    assert watching.end(0).queries == 0


def test_what_waits_is_work_too() -> None:
    waiting = vllm_page(0, 1100) + "vllm:num_requests_waiting 1\n"
    found, server = round_of(0, waiting, waiting, vllm_page(0, 1150))
    assert (found.queries, server.looks) == (150, 4)


def test_counters_that_follow_later_are_waited_for() -> None:
    """Nothing changes and nothing runs, but not all of the round's prompts are counted."""
    early = [vllm_page(0, 1040)] * 5
    found, server = round_of(100, *early, vllm_page(60, 1100))
    assert (found.hits, found.queries) == (60, 100)
    assert server.looks == len(early) + 2


def test_without_knowing_what_was_sent_the_first_quiet_reading_is_taken() -> None:
    found, server = round_of(0, vllm_page(0, 1040), vllm_page(0, 1040), vllm_page(60, 1100))
    assert (found.queries, server.looks) == (40, 2)


def test_a_server_that_never_counts_all_is_given_up() -> None:
    found, server = round_of(100, vllm_page(50, 1090))
    assert (found.hits, found.queries) == (50, 90)
    assert server.looks == POLLS + 1


def test_of_a_server_that_others_keep_busy_the_first_reading_that_has_all_is_taken() -> None:
    def busy() -> Iterator[str]:
        return (vllm_page(0, 1000 + total, running=1) for total in count(70, 7))

    found, server = endless_round_of(100, busy())
    assert (found.reading, found.prompt_tokens) == (Reading.OK, 105)
    assert server.looks == POLLS + 1
    known_in_part, _ = endless_round_of(72, busy())
    assert known_in_part.prompt_tokens == 77
    assert endless_round_of(0, busy())[0].prompt_tokens == 70


def test_of_a_server_that_becomes_quiet_the_quiet_reading_is_taken() -> None:
    found, _ = round_of(50, *(vllm_page(0, 1000 + total, running=1) for total in (60, 70, 80)), vllm_page(0, 1100))
    assert found.prompt_tokens == 100


def test_what_rounding_hides_is_not_waited_for() -> None:
    before, after = llamacpp_page(1_200_040, 0), llamacpp_page(1_300_030, 0)
    shown = [text.replace("1200040", "1.20004e+06").replace("1300030", "1.30003e+06") for text in (before, after)]
    found, server = round_of(100_000, shown[1], before=shown[0], engine="llamacpp")
    assert (found.prompt_tokens, found.resolution_tokens, server.looks) == (99_990, 20, 2)
    _, server = round_of(100_011, shown[1], before=shown[0], engine="llamacpp")
    assert server.looks == POLLS + 1


def test_counters_that_only_move_are_as_good_as_busy() -> None:
    found, server = endless_round_of(100, (vllm_page(0, 1000 + total) for total in count(95, 10)))
    assert (found.prompt_tokens, server.looks) == (105, POLLS + 1)


def test_a_server_that_is_never_quiet_does_not_keep_a_round_from_beginning() -> None:
    server = Server(vllm_page(0, total, running=1) for total in count())
    watch(server).begin()
    assert server.looks == POLLS + 1


def test_a_page_that_cannot_be_read_for_a_moment_is_asked_again() -> None:
    found, server = round_of(100, BROKEN, vllm_page(60, 1100))
    assert (found.reading, found.hits, server.looks) == (Reading.OK, 60, 3)
    server = Server([BROKEN, BEFORE])
    watching = watch(server)
    watching.begin()
    assert watching.end(0).reading is Reading.OK


def test_a_page_that_cannot_be_read_any_more_is_given_up() -> None:
    found, server = round_of(100, BROKEN)
    assert (found.reading, server.looks) == (Reading.UNREADABLE, POLLS + 1)


def test_a_page_that_never_could_be_read_is_not_waited_for() -> None:
    server = Server([BROKEN])
    watching = CounterWatch(Identity(ENGINES["vllm"], note="no such page"), server.read, server.waits_s.append)
    watching.begin()
    assert watching.end(100).why == "no such page"
    assert (server.looks, server.waits_s) == (2, [])


def test_a_stop_ends_the_waiting() -> None:
    server = Server(vllm_page(0, total, running=1) for total in count())
    watching = CounterWatch(
        Identity(ENGINES["vllm"]), server.read, server.waits_s.append, server.now_ns, lambda: len(server.waits_s) >= 3
    )
    watching.begin()
    assert server.looks == 4
    watching.end(10**6)
    assert server.looks == 5


@pytest.mark.parametrize("prompt_tokens", [0, 100, 200])
def test_a_page_that_cannot_be_read_any_more_says_less_than_what_there_was(prompt_tokens: int) -> None:
    found, server = round_of(prompt_tokens, vllm_page(60, 1100, running=1), BROKEN)
    assert (found.reading, found.hits, server.looks) == (Reading.OK, 60, POLLS + 1)


def test_a_restart_while_one_waits_is_a_reset() -> None:
    began = f"{STARTED} 1\n"
    again = vllm_page(0, 2000) + f"{STARTED} 2\n"
    found, server = round_of(100, vllm_page(0, 1050, running=1) + began, again, before=BEFORE + began)
    assert (found.reading, server.looks) == (Reading.RESET, 3)


def test_hits_that_appear_are_a_change() -> None:
    found, server = round_of(
        100, sglang_page(None, 150), sglang_page(80, 150), before=sglang_page(None, 50), engine="sglang"
    )
    assert (found.hits, found.queries, server.looks) == (80, 100, 3)


def test_blocks_are_not_held_against_tokens() -> None:
    found, server = round_of(10**6, trtllm_page(40, 30), before=trtllm_page(10, 20), engine="trtllm")
    assert (found.queries, server.looks) == (40, 2)


def test_an_engine_that_is_not_known_is_not_looked_at() -> None:
    server = Server(repeat(BEFORE))
    watching = watch(server, None)
    watching.begin()
    assert watching.end(100).reading is Reading.ABSENT
    assert server.looks == 0


def test_rounds_follow_one_another() -> None:
    server = Server([])
    watching = watch(server)
    found = []
    for number in range(3):
        server.shown = iter([vllm_page(100 * number, 1000 * number)])
        watching.begin()
        server.shown = iter([vllm_page(100 * number + 50, 1000 * number + 500)])
        found.append(watching.end(500))
    assert [(one.hits, one.queries) for one in found] == [(50, 500)] * 3


def test_a_round_that_has_not_begun_has_no_end() -> None:
    found = watch(Server([BEFORE])).end(0)
    assert (found.reading, found.why) == (
        Reading.UNREADABLE,
        "the server's counters could not be read before the round: no round has begun",
    )
