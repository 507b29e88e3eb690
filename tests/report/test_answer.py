from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from fluxperf.model import (
    CONTROL,
    CacheCounters,
    CachedTokens,
    CacheFigures,
    Comparison,
    Reading,
    RoundResult,
    RunResult,
    Stats,
    Status,
    Verdict,
)
from fluxperf.model.evaluation import Answer, CacheEvaluation
from fluxperf.model.result import Effect
from fluxperf.report.answer import render_answer
from fluxperf.report.closing import render_comparison
from fluxperf.report.verdict import render_verdict

BuildRun = Callable[..., RunResult]
BuildRound = Callable[..., RoundResult]
BuildComparison = Callable[..., Comparison]
BuildEvaluation = Callable[..., CacheEvaluation]
BuildCache = Callable[..., CacheFigures]
Golden = Callable[[str, str], None]

NOT_COLD = (
    "round 1 was not cold: 95.0% of its prompt tokens were already cached; empty the cache with --reset-cache-url, "
    "begin prompts with --salt, or take prompts that it has not seen"
)
TRAFFIC = "5.00% of the prompt tokens that the server counted in round 1 came from others; keep them away"


def worth(status: Status, *reasons: str) -> Verdict:
    return Verdict(status=status, reasons=reasons)


def tell(run: RunResult, *found: CacheEvaluation, columns: int | None = None) -> list[str]:
    return render_answer(replace(run, evaluations=found), columns).splitlines()


def line(label: str, lines: list[str]) -> str:
    """What stands behind a label; empty if nothing does."""
    return next((text.partition(": ")[2] for text in lines if text.strip().startswith(f"{label}: ")), "")


# What it looks like.


@pytest.fixture
def levels(
    a_run: BuildRun,
    a_round: BuildRound,
    a_comparison: BuildComparison,
    an_evaluation: BuildEvaluation,
    a_cache: BuildCache,
) -> RunResult:
    """A level for each kind of answer, one with a stage and one with a control round."""
    cold, warm = a_cache(repeats=False), a_cache()
    rounds = [
        a_round(stage=stage, concurrency=level, round=name, summary={"cache": cold if name == 1 else warm})
        for stage, level in ((None, 1), (None, 2), (None, 5), (None, 10), ("nightly", 20))
        for name in (1, 2, 3, CONTROL)
    ]
    reserved = worth(Status.DEGRADED, TRAFFIC, "answers were shorter")
    invalid = worth(Status.INVALID, NOT_COLD)
    net = {"effect": a_comparison(baseline_round=CONTROL), "drift": a_comparison(round=CONTROL, mean_ratio=0.8)}
    found = (
        an_evaluation(concurrency=1, **net),
        an_evaluation(concurrency=1, round=3, **net),
        an_evaluation(concurrency=2, verdict=reserved, dose=None),
        an_evaluation(concurrency=5, answer=Answer.CANNOT_TELL, why=NOT_COLD, verdict=invalid),
        an_evaluation(concurrency=5, round=3, answer=Answer.CANNOT_TELL, why=NOT_COLD, verdict=invalid),
        an_evaluation(
            concurrency=10,
            answer=Answer.NOT_SHOWN,
            why="round 2 was neither clearly faster nor clearly slower, though 22.3% of its prompt tokens came from it",
            effect=a_comparison(mean_ratio=0.644, ratio_ci95=(0.276, 1.503), p_value=0.223),
            eviction="LRU eviction: the cache holds about 20,000 tokens, and the round has 35,441",
        ),
        an_evaluation(
            concurrency=20,
            stage="nightly",
            answer=Answer.NO,
            why="none of round 2's prompt tokens came from the cache; LRU thrash: the cache holds 20,000 tokens",
            effect=a_comparison(mean_ratio=1.001, ratio_ci95=(0.96, 1.05), p_value=0.81),
            eviction="LRU thrash: the cache holds 20,000 tokens",
        ),
    )
    return a_run(*rounds, evaluations=found)


@pytest.mark.parametrize("columns", [None, 80])
def test_answers_of_every_kind(levels: RunResult, golden: Golden, columns: int | None) -> None:
    golden(f"answer_{columns or 'piped'}.txt", render_answer(levels, columns) + "\n")


@pytest.mark.parametrize("columns", [None, 80])
def test_the_end_of_a_plain_run(a_run: BuildRun, golden: Golden, columns: int | None) -> None:
    texts = [render(a_run(), columns) for render in (render_comparison, render_verdict, render_answer)]
    golden(f"end_{columns or 'piped'}.txt", "\n\n".join(texts) + "\n")


@pytest.mark.parametrize("columns", [80, 100, None])
def test_a_plain_run_answers_in_its_last_ten_lines(a_run: BuildRun, a_cache: BuildCache, columns: int | None) -> None:
    """Also where two witnesses tell, and on stderr a line on where the results are follows."""
    first, later = a_run().rounds
    rounds = [replace(one, summary=replace(one.summary, cache=a_cache(repeats=one is later))) for one in (first, later)]
    lines = render_answer(replace(a_run(), rounds=tuple(rounds)), columns).splitlines()
    assert len(lines) <= 9
    assert lines[0] == "Did the cache help?"
    text = " ".join(part.strip() for part in lines)
    assert "Concurrency 5: yes. Round 2 was faster, and 93.0% of its prompt tokens came from the cache." in text
    assert "How much: TTFT 238.2 -> 79.0 ms at the median; prompt by prompt 3.0x faster" in text
    assert "How sure: with 95% confidence 2.6x to 3.6x faster (p < 0.001, 49 prompts)." in text


def test_without_a_later_round_there_is_no_answer(a_run: BuildRun, an_evaluation: BuildEvaluation) -> None:
    assert render_answer(a_run(evaluations=()), None) == ""
    alone = an_evaluation(round=None, verdict=worth(Status.INVALID, "the reset was refused"))
    assert tell(a_run(), alone) == []


# Yes, no, and what lies between.


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (Answer.YES, "yes. Because."),
        (Answer.NO, "no. Because."),
        (Answer.NOT_SHOWN, "no difference can be shown. Because."),
        (Answer.CANNOT_TELL, "that cannot be told. Because."),
    ],
)
def test_the_answer_comes_first(a_run: BuildRun, an_evaluation: BuildEvaluation, answer: Answer, words: str) -> None:
    lines = tell(a_run(), an_evaluation(answer=answer, why="because"))
    assert lines[:2] == ["Did the cache help?", f"Concurrency 5: {words}"]
    label = "How much" if answer is Answer.YES else "Seen"
    assert line(label, lines).startswith("TTFT 238.2 -> 79.0 ms at the median; prompt by prompt 3.0x faster")


@pytest.mark.parametrize("answer", Answer)
def test_only_a_yes_has_reservations_but_every_answer_says_what_speaks_against_it(
    a_run: BuildRun, an_evaluation: BuildEvaluation, answer: Answer
) -> None:
    found = an_evaluation(answer=answer, verdict=worth(Status.DEGRADED, TRAFFIC, "another"))
    lines = tell(a_run(), found)
    assert ("yes, with reservations." in lines[1]) is (answer is Answer.YES)
    assert line("But", lines) == f"{TRAFFIC}."
    assert "another" not in " ".join(lines)  # which the verdict says


def test_where_the_evidence_does_not_hold_no_factor_could_be_read_as_an_answer(
    a_run: BuildRun, an_evaluation: BuildEvaluation
) -> None:
    verdict = worth(Status.INVALID, NOT_COLD)
    lines = tell(a_run(), an_evaluation(answer=Answer.CANNOT_TELL, why=NOT_COLD, verdict=verdict))
    assert lines[1].startswith("Concurrency 5: that cannot be told. Round 1 was not cold: 95.0% of")
    assert line("Seen", lines) == "TTFT 238.2 -> 79.0 ms at the median."
    text = "\n".join(lines)
    assert text.count("95.0%") == 1  # and its reason is told once
    for claim in ("faster", "slower", "confidence", "us less"):
        assert claim not in text


def test_a_later_round_does_not_repeat_what_an_earlier_one_said(levels: RunResult) -> None:
    text = render_answer(levels, None)
    assert "Concurrency 5, round 3: that cannot be told either, for the same reason.\n" in text
    assert text.count(NOT_COLD[7:]) == 1
    assert text.count("The server by itself") == 1


# How much, and how sure.


@pytest.mark.parametrize(
    ("ratio", "words"),
    [
        (0.33, "3.0x faster"),
        (0.0101, "99x faster"),
        (0.001, "1000x faster"),
        (0.75, "1.33x faster"),
        (0.996, "as fast"),
        (1.0, "as fast"),
        (1.006, "1.01x slower"),
        (2.5, "2.5x slower"),
    ],
)
def test_a_ratio_in_words(
    a_run: BuildRun, an_evaluation: BuildEvaluation, a_comparison: BuildComparison, ratio: float, words: str
) -> None:
    found = an_evaluation(effect=a_comparison(mean_ratio=ratio), dose=None)
    assert line("How much", tell(a_run(), found)).endswith(f"; prompt by prompt {words}.")


@pytest.mark.parametrize(
    ("interval", "words"),
    [
        ((0.01, 0.04), "25x to 100x faster"),
        ((0.5, 0.9), "1.11x to 2.0x faster"),
        ((0.62, 1.5), "1.61x faster to 1.50x slower"),
        ((1.2, 3.0), "1.20x to 3.0x slower"),
        ((0.999, 1.001), "as fast"),
        ((0.8, 1.001), "1.25x faster to as fast"),
        ((0.8, 0.999), "as fast to 1.25x faster"),
        ((1.001, 1.5), "as fast to 1.50x slower"),
    ],
)
def test_an_interval_in_words(
    a_run: BuildRun,
    an_evaluation: BuildEvaluation,
    a_comparison: BuildComparison,
    interval: tuple[float, float],
    words: str,
) -> None:
    found = an_evaluation(effect=a_comparison(ratio_ci95=interval, p_value=0.0314, pairs=7))
    assert line("How sure", tell(a_run(), found)) == f"with 95% confidence {words} (p = 0.031, 7 prompts)."


def test_without_an_interval_nothing_is_sure(
    a_run: BuildRun, an_evaluation: BuildEvaluation, a_comparison: BuildComparison
) -> None:
    few = a_comparison(ratio_ci95=None, p_value=None)
    found = an_evaluation(answer=Answer.CANNOT_TELL, why="10 prompts are too few", effect=few)
    lines = tell(a_run(), found)
    assert line("How sure", lines) == ""
    assert line("Seen", lines) == "TTFT 238.2 -> 79.0 ms at the median; prompt by prompt 3.0x faster."


def test_what_each_cached_token_saved_is_only_told_if_it_is_more_than_nothing(
    a_run: BuildRun, an_evaluation: BuildEvaluation
) -> None:
    found = an_evaluation()
    assert line("How much", tell(a_run(), found)).endswith("; 4.2 us less for each cached token (2.9 to 5.5).")
    assert found.dose is not None
    for dose in (None, replace(found.dose, slope_ci95=(-0.1, 5.5)), replace(found.dose, slope_ci95=None)):
        assert "us less" not in "".join(tell(a_run(), replace(found, dose=dose)))
    assert "us less" not in "".join(tell(a_run(), replace(found, answer=Answer.NO)))


@pytest.mark.parametrize("missing", ["round", "figure", "effect"])
def test_what_is_missing_is_left_out(
    a_run: BuildRun, a_round: BuildRound, an_evaluation: BuildEvaluation, missing: str
) -> None:
    bare = {**a_round().summary.stats, "ttft_ms": Stats()}
    rounds = {
        "round": (a_round(),),
        "figure": (a_round(), a_round(round=2, summary={"stats": bare})),
        "effect": a_run().rounds,
    }[missing]
    found = an_evaluation() if missing != "effect" else an_evaluation(effect=None, answer=Answer.CANNOT_TELL)
    lines = tell(a_run(*rounds), found)
    assert line("How much", lines) == ""
    assert line("Seen", lines) == ("TTFT 238.2 -> 79.0 ms at the median." if missing == "effect" else "")


# What else it stands on.


def test_a_server_that_became_faster_by_itself_is_not_ruled_out_without_a_control_round(
    a_run: BuildRun, an_evaluation: BuildEvaluation
) -> None:
    assert "--control-round" in line("Not ruled out", tell(a_run(), an_evaluation()))
    for answer in (Answer.NO, Answer.NOT_SHOWN, Answer.CANNOT_TELL):
        assert line("Not ruled out", tell(a_run(), an_evaluation(answer=answer))) == ""


def test_what_the_control_round_says(
    a_run: BuildRun, a_round: BuildRound, an_evaluation: BuildEvaluation, a_comparison: BuildComparison
) -> None:
    rounds = (*a_run().rounds, a_round(round=CONTROL))
    drift = a_comparison(round=CONTROL, mean_ratio=0.5, ratio_ci95=(0.4, 0.625))
    told = "fresh prompts were 2.0x faster at the end, 1.60x to 2.5x faster with 95% confidence"
    gross = tell(a_run(*rounds), an_evaluation(drift=drift))
    assert line("The server by itself", gross) == f"{told}."
    assert line("Not ruled out", gross) == ""
    net = tell(a_run(*rounds), an_evaluation(drift=drift, effect=a_comparison(baseline_round=CONTROL)))
    assert line("The server by itself", net) == f"{told}; round 2 is held against them."
    still = replace(drift, effect=Effect.NOT_SHOWN)
    net = tell(a_run(*rounds), an_evaluation(drift=still, effect=a_comparison(baseline_round=CONTROL)))
    assert line("The server by itself", net) == f"{told}; what is told is net of that."
    assert line("How much", net).startswith("TTFT 238.2 (fresh prompts) -> 79.0 ms at the median; prompt by prompt")
    unsure = replace(drift, ratio_ci95=None)
    assert line("The server by itself", tell(a_run(*rounds), an_evaluation(drift=unsure))) == (
        "fresh prompts were 2.0x faster at the end."
    )
    nothing = replace(drift, mean_ratio=None)
    assert "Not ruled out" in "".join(tell(a_run(*rounds), an_evaluation(drift=nothing)))


def in_cache(a_run: BuildRun, first: CacheFigures | None, later: CacheFigures | None) -> RunResult:
    one, two = a_run().rounds
    return a_run(
        replace(one, summary=replace(one.summary, cache=first)), replace(two, summary=replace(two.summary, cache=later))
    )


def test_what_the_witnesses_say(
    a_run: BuildRun, an_evaluation: BuildEvaluation, a_cache: BuildCache, counters: Callable[..., CacheCounters]
) -> None:
    def told(first: CacheFigures | None, later: CacheFigures | None) -> str:
        return line("Prompt tokens from the cache", tell(in_cache(a_run, first, later), an_evaluation()))

    cold = a_cache(usage=None, counters=counters(hits=12, queries=2105))
    assert told(cold, a_cache()) == "0.6% -> 62% by vLLM's counters (99% possible)."
    assert told(a_cache(), a_cache()) == "62% -> 62% by usage, 62% -> 62% by vLLM's counters (99% possible)."
    assert told(a_cache(), a_cache(counters=counters(engine="other", label=None))).endswith(
        "62% -> 62% by the server's counters (99% possible)."
    )
    assert told(a_cache(), a_cache(expected={16: 0.5})).endswith("by vLLM's counters.")  # more than that was found
    assert told(a_cache(), a_cache(repeats=False)).endswith("by vLLM's counters.")
    assert told(a_cache(), a_cache(counters=counters(hits=0, queries=0))).endswith(
        "62% -> 0% by vLLM's counters (99% possible)."
    )
    unread = counters(reading=Reading.UNREADABLE)
    assert told(a_cache(), a_cache(counters=unread)) == "62% -> 62% by usage (99% possible)."
    assert told(a_cache(counters=unread), a_cache(usage=None)) == "- -> 62% by vLLM's counters (99% possible)."
    assert told(a_cache(), a_cache(usage=None, counters=None)) == told(None, a_cache()) == told(a_cache(), None) == ""


def test_why_no_more_was_found_is_told_once(a_run: BuildRun, an_evaluation: BuildEvaluation) -> None:
    found = an_evaluation(eviction="the cache is too small")
    assert line("Why not more", tell(a_run(), found)) == "the cache is too small."
    part_of_answer = replace(found, answer=Answer.NO, why="nothing was found: the cache is too small")
    assert "\n".join(tell(a_run(), part_of_answer)).count("too small") == 1


@given(
    stage=st.none() | st.text(max_size=60),
    texts=st.lists(st.text(min_size=1, max_size=300), min_size=3, max_size=3),
    ratios=st.lists(st.floats(1e-9, 1e9), min_size=3, max_size=3),
    answer=st.sampled_from(Answer),
    status=st.sampled_from(Status),
    columns=st.integers(40, 200),
)
def test_nothing_is_ever_wider_than_the_terminal(
    a_run: BuildRun,
    a_round: BuildRound,
    a_cache: BuildCache,
    a_comparison: BuildComparison,
    an_evaluation: BuildEvaluation,
    stage: str | None,
    texts: list[str],
    ratios: list[float],
    answer: Answer,
    status: Status,
    columns: int,
) -> None:
    mean, low, high = ratios
    effect = a_comparison(stage=stage, mean_ratio=mean, ratio_ci95=(low, high))
    facts: dict[str, Any] = {
        "stage": stage,
        "answer": answer,
        "why": texts[0],
        "effect": effect,
        "drift": effect,
        "eviction": texts[1],
        "verdict": worth(status, *([texts[2]] if status is not Status.VALID else [])),
    }
    rounds = [a_round(stage=stage, round=name, summary={"cache": a_cache()}) for name in (1, 2, 3)]
    lines = tell(a_run(*rounds), an_evaluation(**facts), an_evaluation(**facts | {"round": 3}), columns=columns)
    assert max(cell_len(line) for line in lines) <= columns
    assert all(line.isprintable() for line in lines)


def test_what_round_1_found_is_not_put_down_to_the_server(
    a_run: BuildRun,
    a_comparison: BuildComparison,
    an_evaluation: BuildEvaluation,
    a_cache: BuildCache,
    a_round: BuildRound,
) -> None:
    usage = [CachedTokens(prompt_tokens=100, cached_tokens=count, ratio=count / 100) for count in (70, 99, 0)]
    rounds = [
        a_round(round=name, summary={"cache": a_cache(usage=told, counters=None)})
        for name, told in zip((1, 2, CONTROL), usage, strict=True)
    ]
    found = an_evaluation(drift=a_comparison(round=CONTROL, mean_ratio=1.5))
    text = render_answer(a_run(*rounds, evaluations=(found,)), None)
    assert "70% of round 1's prompt tokens were in the cache already" in text
    assert "The server by itself" not in text
