from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from fluxperf.outline import Outline, render_outline
from fluxperf.plan.campaign import Campaign, Hook, Hooks, Ready, RecipeText, ServerSpec, StageSpec
from fluxperf.plan.planner import PlanRequest, plan_levels
from fluxperf.plan.settings import Settings

GOLDEN = Path(__file__).parent / "golden"
KEY = "sk-very-secret"
SETTINGS = Settings(
    dataset="datasets/some.jsonl",
    endpoint=f"http://me:{KEY}@127.0.0.1:8000/v1/chat/completions",
    concurrency=(2, 10),
    num_samples=(4, 2000),
    control_round=True,
    reset_cache_url=f"http://127.0.0.1:8000/reset_prefix_cache?token={KEY}",
    reset_cache_between_concurrency=True,
)
SERVER = ServerSpec(
    command=("bash", "-c", f"HF_TOKEN={KEY} vllm serve some-model --port 8000 --api-key {KEY} > vllm.log 2>&1"),
    env={"VLLM_SERVER_DEV_MODE": "1", "HF_TOKEN": KEY},
    cwd="/models",
    ready=Ready(url="http://127.0.0.1:8000/health", statuses=(200,), log_line="startup complete"),
)
FIRST = StageSpec(
    settings=SETTINGS,
    name="Stage 1: Cold",
    suite="Warm-up",
    folder="Warm-up/Stage_1__Cold",
    env={"ENABLE_PREFIX_CACHE": "false", "HF_TOKEN": KEY, "HTTP_PROXY": None},
    server=SERVER,
    hooks=Hooks(before_stage=(Hook(("nvidia-smi",)),), before_round=(Hook(("sh", "-c", "date >> rounds.log")),)),
)
SECOND = StageSpec(
    settings=replace(SETTINGS, model="some-model", mode="multi_turn", control_round=False, reset_cache_url=None),
    name="Sessions",
    suite="Warm-up",
    folder="Warm-up/Sessions",
    mock={"port": 8765, "cache_tokens": 0, "model": None},
    server=replace(SERVER, restart="per_round"),
    copy_to="sessions.json",
)
CAMPAIGN = Campaign(
    stages=(FIRST, SECOND),
    continue_on_error=True,
    copy_to="all.json",
    recipe=RecipeText("recipe.yaml", "ab" * 32, "stages: []\n"),
    overrides=("--seed 7 in the place of 42, in all stages",),
    remarks=("max_context_tokens is not yet built, and is passed over",),
)


def found_for(campaign: Campaign, size: int = 1000) -> Outline:
    """What a survey finds if each dataset has `size` entries."""
    levels = {}
    for stage in campaign.stages:
        asked = stage.settings
        request = PlanRequest(
            dataset_size=size,
            concurrency=asked.concurrency,
            num_samples=asked.num_samples,
            rounds=asked.rounds,
            control_round=asked.control_round,
        )
        levels[stage.folder] = plan_levels(request)
    return Outline({stage.settings.dataset: size for stage in campaign.stages}, levels)


def outline_of(*stages: StageSpec, columns: int | None = None, size: int = 1000, **changes: Any) -> str:
    campaign = Campaign(stages=stages, **changes)
    return render_outline(campaign, found_for(campaign, size), columns)


@pytest.mark.parametrize("columns", [None, 80])
def test_a_recipe_of_two_stages(columns: int | None) -> None:
    text = render_outline(CAMPAIGN, found_for(CAMPAIGN), columns) + "\n"
    path = GOLDEN / f"outline_{columns or 'piped'}.txt"
    if os.environ.get("FLUXPERF_WRITE_GOLDEN"):
        path.write_text(text, "utf-8")
    assert text == path.read_text("utf-8")


@pytest.mark.parametrize("columns", [None, 40, 80])
def test_no_secret_is_shown(columns: int | None) -> None:
    assert KEY not in render_outline(CAMPAIGN, found_for(CAMPAIGN), columns)
    plain = replace(FIRST, settings=replace(SETTINGS, model="named-like-a-secret"))
    assert "secret" not in outline_of(plain, secrets=("named-like-a-secret",))


def test_a_run_without_a_recipe() -> None:
    settings = Settings(dataset="d.jsonl", endpoint="http://127.0.0.1:8000/v1/chat/completions", max_output_tokens=100)
    assert outline_of(StageSpec(settings=settings), size=1).splitlines()[3:] == [
        "Results: results",
        "",
        "Run:",
        "  Endpoint: http://127.0.0.1:8000/v1/chat/completions",
        "  Model: the one that the server lists",
        "  Dataset: d.jsonl (1 entry), mode dual_round",
        "  │ Concurrency │ Samples │ Rounds │ Requests │ Output tokens │",
        "  │             │         │        │          │       at most │",
        "  ├─────────────┼─────────┼────────┼──────────┼───────────────┤",
        "  │ 10          │       1 │      2 │        2 │           200 │",
        "  └─────────────┴─────────┴────────┴──────────┴───────────────┘",
        "",
        "Total: 1 level, 2 requests with at most 200 output tokens",
    ]


@pytest.mark.parametrize(
    ("ready", "said"),
    [
        (Ready(), "/v1/models beside the endpoint answers anything below 500"),
        (Ready(url="http://h/up", statuses=(200, 204)), "http://h/up answers 200 or 204"),
        (Ready(log_line="up"), "its log has 'up'"),
        (Ready(log_line="up", url="http://h/up"), "its log has 'up' and http://h/up answers anything below 500"),
    ],
)
def test_when_a_server_is_ready(ready: Ready, said: str) -> None:
    stage = replace(FIRST, server=ServerSpec(command=("serve",), ready=ready, ready_timeout_s=1.5))
    assert f"ready when {said}, within 1.5 s\n" in outline_of(stage)


def test_a_server_that_is_kept_or_was_there_before() -> None:
    kept = replace(FIRST, server=ServerSpec(command=("serve",), restart="never"))
    assert "started once, and kept for the stages that follow" in outline_of(kept)
    adopted = replace(FIRST, server=ServerSpec(command=("serve",), adopt=True))
    assert "one that is there already is taken" in outline_of(adopted)


def test_the_mock_with_nothing_set() -> None:
    stage = replace(SECOND, mock={}, server=None, settings=replace(SECOND.settings, endpoint=None))
    text = outline_of(stage)
    assert "  Endpoint: the built-in mock server's\n  Mock server: with its default settings\n  Model" in text


@given(
    texts=st.lists(st.text(max_size=80), min_size=8, max_size=8),
    columns=st.integers(40, 160),
    size=st.integers(1, 300),
)
def test_nothing_is_ever_wider_than_the_terminal(texts: list[str], columns: int, size: int) -> None:
    name, model, dataset, variable, word, line, remark, folder = texts
    stage = replace(
        FIRST,
        name=name,
        folder=folder,
        settings=replace(SETTINGS, model=model, dataset=dataset),
        env={variable: word},
        server=ServerSpec(command=(word, line), cwd=word, ready=Ready(log_line=line)),
    )
    lines = outline_of(stage, columns=columns, size=size, remarks=(remark,), output_dir=word).split("\n")
    assert max(map(cell_len, lines)) <= columns
    assert all(one.isprintable() for one in lines)
