from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from fluxperf.units import NS_PER_MS, NS_PER_S
from fluxperf_mock import MockSettings
from fluxperf_mock.answers import Answer, AnswerBook
from fluxperf_mock.counters import Load
from fluxperf_mock.scheduler import Scheduler, Sequence, Timing

# One token of a prompt takes 1 ms, a token of an answer 10 ms, and a request 5 ms before all else.
EXACT = MockSettings(
    prefill_tokens_per_s=1000, decode_ms=10, overhead_ms=5, jitter=0, block_tokens=2, cache_tokens=100, max_num_seqs=2
)
FOREVER = 1 << 40


def make_scheduler(settings: MockSettings = EXACT) -> Scheduler:
    return Scheduler(settings, AnswerBook(settings.seed, settings.tokens), Load())


def make_sequence(number: int, at_ms: int, prompt: bytes, length: int = 2) -> Sequence:
    return Sequence(number, at_ms * NS_PER_MS, prompt, Answer(0, length, "stop"))


def run(scheduler: Scheduler, until_ms: float = FOREVER) -> list[tuple[int, float]]:
    """Steps as long as something is due; (number, due time in ms) of every token."""
    steps = []
    while sequence := scheduler.step(round(until_ms * NS_PER_MS)):
        steps.append((sequence.number, sequence.due_ns / NS_PER_MS))
    return steps


def prompt_of(tokens: int, letter: str) -> bytes:
    return letter.encode() * 4 * tokens


def test_a_request_alone_takes_overhead_and_prefill_and_then_its_gaps() -> None:
    scheduler = make_scheduler()
    scheduler.submit(make_sequence(1, 100, prompt_of(20, "a"), length=3))
    assert scheduler.next_due_ns() == 125 * NS_PER_MS
    assert scheduler.step(125 * NS_PER_MS - 1) is None
    assert run(scheduler) == [(1, 125), (1, 135), (1, 145)]
    assert scheduler.next_due_ns() is None


def test_a_late_step_delays_no_later_token() -> None:
    scheduler = make_scheduler()
    scheduler.submit(make_sequence(1, 0, prompt_of(5, "a"), length=3))
    late = scheduler.step(1000 * NS_PER_MS)
    assert late is not None
    assert late.due_ns == 10 * NS_PER_MS
    assert scheduler.next_due_ns() == 20 * NS_PER_MS


def test_prompts_are_computed_one_after_another() -> None:
    scheduler = make_scheduler()
    scheduler.submit(make_sequence(1, 0, prompt_of(20, "a"), length=1))
    scheduler.submit(make_sequence(2, 1, prompt_of(20, "b"), length=1))
    assert (scheduler.load.running, scheduler.load.waiting) == (1, 1)
    assert run(scheduler) == [(1, 25), (2, 45)]


def test_a_request_that_is_noticed_late_does_not_overtake_the_prefill_before_it() -> None:
    scheduler = make_scheduler()
    scheduler.submit(make_sequence(1, 0, prompt_of(20, "a"), length=1))
    run(scheduler)
    scheduler.submit(make_sequence(2, 1, prompt_of(20, "b"), length=1))
    assert run(scheduler) == [(2, 45)]


def test_at_most_max_num_seqs_run_and_others_wait_in_order() -> None:
    scheduler = make_scheduler()
    for number in (1, 2, 3, 4):
        scheduler.submit(make_sequence(number, 0, prompt_of(1, str(number)), length=11))
    steps = run(scheduler, until_ms=50)
    assert {number for number, _ in steps} == {1, 2}
    assert (scheduler.load.running, scheduler.load.waiting) == (2, 2)
    first_due: dict[int, float] = {}
    for number, due_ms in steps + run(scheduler):
        first_due.setdefault(number, due_ms)
    # The first ends at 6 + 100, the second at 7 + 100; each place goes to the next at that instant.
    assert first_due == {1: 6, 2: 7, 3: 107, 4: 108}


def test_a_prompt_seen_before_is_computed_but_for_its_last_block() -> None:
    scheduler = make_scheduler()
    scheduler.submit(make_sequence(1, 0, prompt_of(20, "a"), length=1))
    run(scheduler)
    again = make_sequence(2, 1000, prompt_of(20, "a"), length=1)
    scheduler.submit(again)
    assert run(scheduler) == [(2, 1007)]
    assert again.cached_tokens == 18


def test_a_last_block_that_is_not_full_is_all_that_is_left_to_compute() -> None:
    scheduler = make_scheduler()
    prompt = prompt_of(21, "a")
    scheduler.submit(make_sequence(1, 0, prompt, length=1))
    run(scheduler)
    again = make_sequence(2, 1000, prompt, length=1)
    scheduler.submit(again)
    assert again.cached_tokens == 20


def test_the_second_of_two_equal_prompts_finds_what_the_first_computes() -> None:
    scheduler = make_scheduler()
    scheduler.submit(make_sequence(1, 0, prompt_of(20, "a"), length=1))
    scheduler.submit(make_sequence(2, 0, prompt_of(20, "a"), length=1))
    assert run(scheduler) == [(1, 25), (2, 27)]


def test_an_answer_sent_back_as_history_is_found_too() -> None:
    book = AnswerBook(EXACT.seed, EXACT.tokens)
    scheduler = Scheduler(EXACT, book, Load())
    first = make_sequence(1, 0, b"0123456", length=9)
    scheduler.submit(first)
    run(scheduler)
    history = first.prompt + book.text(first.answer, 9)
    second = make_sequence(2, 1000, history + b"and then?", length=1)
    scheduler.submit(second)
    # 7 bytes and 8 computed tokens are 39 bytes: four whole blocks of eight.
    assert second.cached_tokens == 8


def test_without_a_cache_nothing_is_found() -> None:
    scheduler = make_scheduler(MockSettings(cache_tokens=0, jitter=0))
    for number in (1, 2):
        sequence = make_sequence(number, number * 1000, prompt_of(1000, "a"))
        scheduler.submit(sequence)
        run(scheduler)
        assert sequence.cached_tokens == 0
    assert scheduler.load.cache_usage(0) == 0


def test_a_cancelled_prefill_makes_room_at_once() -> None:
    scheduler = make_scheduler()
    first, second = make_sequence(1, 0, prompt_of(20, "a")), make_sequence(2, 0, prompt_of(20, "b"), length=1)
    scheduler.submit(first)
    scheduler.submit(second)
    scheduler.cancel(first, 8 * NS_PER_MS)
    assert run(scheduler) == [(2, 28)]


def test_a_cancelled_sequence_gives_its_place_to_the_next() -> None:
    scheduler = make_scheduler(MockSettings(max_num_seqs=1, jitter=0, overhead_ms=0, prefill_tokens_per_s=1000))
    first, second = make_sequence(1, 0, b"a", length=100), make_sequence(2, 0, b"b", length=1)
    scheduler.submit(first)
    scheduler.submit(second)
    run(scheduler, until_ms=50)
    scheduler.cancel(first, 60 * NS_PER_MS)
    scheduler.cancel(first, 60 * NS_PER_MS)
    assert run(scheduler) == [(2, 61)]
    assert scheduler.load.running == 0


def test_a_cancelled_sequence_leaves_the_queue() -> None:
    scheduler = make_scheduler()
    sequences = [make_sequence(number, 0, prompt_of(1, str(number))) for number in range(4)]
    for sequence in sequences:
        scheduler.submit(sequence)
    scheduler.cancel(sequences[3], 0)
    assert scheduler.load.waiting == 2
    assert {number for number, _ in run(scheduler)} == {0, 1, 2}


def test_running_sequences_take_room_in_the_cache_and_give_it_back() -> None:
    scheduler = make_scheduler()
    scheduler.submit(make_sequence(1, 0, prompt_of(20, "a"), length=10))
    assert scheduler.load.cache_usage(100) == 0.2
    run(scheduler, until_ms=36)
    assert scheduler.load.cache_usage(100) == 0.22
    run(scheduler)
    assert scheduler.load.cache_usage(100) == 0


def test_jitter_is_clipped_repeatable_and_centred() -> None:
    settings = MockSettings(jitter=0.1, decode_ms=10)
    answer = Answer(0, 4096, "stop")
    timing, again = Timing(settings), Timing(settings)
    gaps = [timing.gap_ns(answer, index) / NS_PER_MS for index in range(4096)]
    assert gaps == [again.gap_ns(answer, index) / NS_PER_MS for index in range(4096)]
    assert all(7 <= gap <= 13 for gap in gaps)
    assert 9.9 < sum(gaps) / len(gaps) < 10.1
    assert len(set(gaps)) > 4000


def test_a_server_that_warms_up_takes_ever_less_before_the_first_token() -> None:
    scheduler = make_scheduler(
        MockSettings(
            prefill_tokens_per_s=1000, overhead_ms=5, jitter=0, cache_tokens=0, max_num_seqs=1, faults="drift=0.2"
        )
    )
    waits_ms = []
    for number in range(101):
        sequence = make_sequence(number, number * 1000, prompt_of(20, "a"), length=1)
        scheduler.submit(sequence)
        run(scheduler)
        waits_ms.append(sequence.due_ns / NS_PER_MS - number * 1000)
    assert (waits_ms[0], waits_ms[50], waits_ms[100]) == (25, 15, 10)  # 25 * (0.2 + 0.8 / 2), 25 * (0.2 + 0.8 / 4)
    assert waits_ms == sorted(waits_ms, reverse=True)


def test_what_the_cache_keeps_is_told() -> None:
    scheduler = make_scheduler()
    scheduler.submit(make_sequence(1, 0, prompt_of(20, "a"), length=3))
    run(scheduler)
    assert scheduler.load.kept_tokens == 22  # the last token of an answer is never computed
    scheduler.empty_cache()
    assert (scheduler.load.kept_tokens, len(scheduler.cache)) == (0, 0)


requests = st.lists(
    st.tuples(st.integers(0, 300), st.integers(1, 30), st.sampled_from("abc"), st.integers(1, 12)), max_size=12
)


@given(requests, st.integers(1, 4), st.randoms(use_true_random=False))
def test_every_token_comes_in_order_and_never_before_it_can(
    asked: list[tuple[int, int, str, int]], places: int, chance: object
) -> None:
    settings = MockSettings(
        max_num_seqs=places, jitter=0.2, block_tokens=2, cache_tokens=40, overhead_ms=1, prefill_tokens_per_s=2000
    )
    scheduler = make_scheduler(settings)
    sequences = [
        make_sequence(number, at_ms, prompt_of(tokens, letter), length)
        for number, (at_ms, tokens, letter, length) in enumerate(sorted(asked))
    ]
    last_ns = 0
    for sequence in sequences:
        while stepped := scheduler.step(sequence.arrived_ns):
            assert stepped.due_ns >= last_ns
            last_ns = stepped.due_ns
        scheduler.submit(sequence)
        assert scheduler.load.running <= places
    while stepped := scheduler.step(FOREVER):
        assert stepped.due_ns >= last_ns
        assert stepped.due_ns >= stepped.arrived_ns + NS_PER_MS
        last_ns = stepped.due_ns
        assert scheduler.load.running <= places
    assert all(sequence.over and sequence.produced == sequence.answer.length for sequence in sequences)
    assert scheduler.load.running == scheduler.load.waiting == 0
    assert len(scheduler.cache) <= 20
    assert last_ns < 1000 * NS_PER_S
