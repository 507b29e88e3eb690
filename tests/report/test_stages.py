from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from fluxperf.model import CONTROL, RoundResult, RunResult, StageResult, StageState, Stats, Status, Verdict
from fluxperf.report.stages import render_stages

BuildRound = Callable[..., RoundResult]
BuildRun = Callable[..., RunResult]
Golden = Callable[[str, str], None]
STAGE = StageResult(name="x", folder="x", state=StageState.COMPLETE)


@pytest.mark.parametrize("columns", [None, 160, 80])
def test_a_recipe_of_three_stages(a_recipe_run: BuildRun, golden: Golden, columns: int | None) -> None:
    golden(f"stages_{columns or 'piped'}.txt", render_stages(a_recipe_run(), columns) + "\n")


def test_a_run_without_a_recipe_has_no_table_of_stages(a_run: BuildRun) -> None:
    assert render_stages(a_run(), None) == ""


def test_one_round_has_figures_and_no_ratio(a_recipe_run: BuildRun) -> None:
    plain = a_recipe_run()
    run = replace(plain, rounds=tuple(one for one in plain.rounds if one.round == 1))
    text = render_stages(run, None)
    assert text.splitlines()[1] == "Stages Side by Side"
    assert "ratio" not in text
    assert "->" not in text
    assert "│     2 │    50/50 │    238.2 │ valid   │" in text


def test_the_control_round_counts_and_is_no_second_round(a_run: BuildRun, a_round: BuildRound) -> None:
    summary = {"failed_requests": 3, "successful_requests": 47, "verdict": Verdict(status=Status.DEGRADED)}
    rounds = a_round(stage="x"), a_round(stage="x", round=CONTROL, summary=summary)
    text = render_stages(a_run(*rounds, stages=(STAGE,)), None)
    assert "│     5 │   97/100 │    238.2 │ degraded │" in text


@pytest.mark.parametrize(("cold", "shown"), [(True, "0.330"), (None, "0.330"), (False, "    -")])
def test_without_an_evaluation_a_ratio_is_told_of_a_round_that_was_cold(
    a_recipe_run: BuildRun, cold: bool | None, shown: str
) -> None:
    plain = a_recipe_run()
    rounds = tuple(replace(one, summary=replace(one.summary, cold=cold)) for one in plain.rounds)
    text = render_stages(replace(plain, rounds=rounds, evaluations=()), None)
    assert f"238.2 -> 79.0 │ {shown} │ valid" in text


def test_a_level_without_a_success(a_run: BuildRun, a_round: BuildRound) -> None:
    nothing = {name: Stats() for name in a_round().summary.stats}
    summary = {"stats": nothing, "successful_requests": 0, "tokens_per_s": None, "goodput": None, "verdict": None}
    text = render_stages(a_run(a_round(stage="x", summary=summary), stages=(STAGE,)), None)
    row = next(line for line in text.splitlines() if line.startswith("│ x"))
    assert [cell.strip() for cell in row.split("│")[2:-1]] == ["5", "0/50", "-", "-", "-", "-", "-"]


@pytest.mark.parametrize(
    ("state", "error", "said"),
    [
        (StageState.FAILED, "a hook failed\nand more", ["failed", "a hook failed"]),
        (StageState.FAILED, None, ["failed"]),
        (StageState.PARTIAL, None, ["stopped before its end"]),
        (StageState.NOT_RUN, " \n", ["not run"]),
        (StageState.COMPLETE, None, ["no rounds"]),
        (StageState.FAILED, "\x1b[31mred\n", ["failed", "\N{REPLACEMENT CHARACTER}[31mred"]),
    ],
)
def test_a_stage_without_figures_says_why(
    a_run: BuildRun, state: StageState, error: str | None, said: list[str]
) -> None:
    run = a_run(stages=(StageResult(name="x", folder="x", state=state, error=error),))
    lines = render_stages(run, None).splitlines()[5:-1]
    assert [line.split("│")[2].strip() for line in lines] == said
    assert lines[0].startswith("│ x ")


def test_names_are_told_once_and_in_full(a_recipe_run: BuildRun) -> None:
    text = render_stages(a_recipe_run(), 80)
    assert text.endswith("\n[1] Warm-up/Stage 1: Low Concurrency")
    assert text.count("Warm-up/Stage 1: Low Concurrency") == 1


@given(
    names=st.lists(st.text(max_size=60), min_size=1, max_size=3, unique=True),
    error=st.none() | st.text(max_size=200),
    concurrency=st.integers(1, 10**6),
    figure=st.none() | st.floats(1e-6, 1e15),
    total=st.integers(0, 10**9),
    columns=st.integers(40, 200),
)
def test_nothing_is_ever_wider_than_the_terminal(
    a_run: BuildRun,
    a_round: BuildRound,
    names: list[str],
    error: str | None,
    concurrency: int,
    figure: float | None,
    total: int,
    columns: int,
) -> None:
    stats = {**a_round().summary.stats, "ttft_ms": Stats(p50=figure)}
    summary = {"stats": stats, "total_requests": total, "successful_requests": total, "tokens_per_s": figure}
    rounds = [a_round(stage=names[0], concurrency=concurrency, round=nth, summary=summary) for nth in (1, 2)]
    stages = tuple(StageResult(name=name, folder="x", state=StageState.FAILED, error=error) for name in names)
    lines = render_stages(a_run(*rounds, stages=stages), columns).split("\n")
    assert max(cell_len(line) for line in lines) <= columns
    assert all(line.isprintable() for line in lines)
