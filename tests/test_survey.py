from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from fluxperf.errors import UsageError
from fluxperf.plan.campaign import Campaign, StageSpec, campaign_of
from fluxperf.plan.settings import Settings
from fluxperf.survey import Survey, survey
from fluxperf.voice import Voice

Env = dict[str, str | None]


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture(autouse=True)
def _place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FLUXPERF_API_KEY", raising=False)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    (tmp_path / "d.jsonl").write_text('{"text": "a"}\n{"text": "b"}\n')


def a_stage(name: str, env: Env | None = None, **settings: Any) -> StageSpec:
    plain: dict[str, Any] = {"dataset": "d.jsonl", "endpoint": "http://localhost/v1/chat/completions"}
    return StageSpec(settings=Settings(**(plain | settings)), name=name, folder=name, env=env or {})


def look(stack: ExitStack, *stages: StageSpec) -> Survey:
    return survey(Campaign(stages=stages), stack, Voice(quiet=True))


def test_a_dataset_is_read_once_for_all_stages(stack: ExitStack) -> None:
    first, second = look(stack, a_stage("A"), a_stage("B", concurrency=(1, 2))).stages
    assert first.dataset is second.dataset
    assert [level.concurrency for level in second.levels] == [1, 2]


def test_what_is_wrong_is_told_of_all_stages_at_once_and_once_if_it_is_the_same(stack: ExitStack) -> None:
    stages = (
        a_stage("A", dataset="nowhere.jsonl"),
        a_stage("B", ca_file="nowhere.pem"),
        a_stage("C", dataset="nowhere.jsonl"),
    )
    with pytest.raises(UsageError) as caught:
        look(stack, *stages)
    assert [line[:40] for line in str(caught.value).splitlines()] == [
        "stage A, C: nowhere.jsonl: the dataset c",
        "stage B: --ca-file nowhere.pem cannot be",
    ]
    with pytest.raises(UsageError, match=r"^nowhere\.jsonl: "):
        look(stack, a_stage("A", dataset="nowhere.jsonl"), a_stage("B", dataset="nowhere.jsonl"))


def test_a_run_without_a_recipe_names_no_stage(stack: ExitStack) -> None:
    campaign = campaign_of(Settings(dataset="nowhere.jsonl", endpoint="http://localhost/v1/chat/completions"))
    with pytest.raises(UsageError, match=r"^nowhere\.jsonl: "):
        survey(campaign, stack, Voice(quiet=True))


@pytest.mark.parametrize("name", ["ca_file", "client_cert"])
def test_certificate_files_are_looked_at_before_anything_is_started(stack: ExitStack, name: str) -> None:
    changes: dict[str, Any] = {name: "nowhere.pem"}
    with pytest.raises(UsageError, match=r"nowhere\.pem cannot be read: No such file or directory"):
        look(stack, a_stage("A", **changes))


def test_each_stage_is_looked_at_in_its_own_environment(stack: ExitStack) -> None:
    found = look(stack, a_stage("A", {"THE_KEY": "k"}, api_key_env="THE_KEY"))
    assert len(found.stages) == 1
    assert "THE_KEY" not in os.environ
    with pytest.raises(UsageError, match="--api-key-env THE_KEY: there is no such environment variable"):
        look(stack, a_stage("A", {"THE_KEY": "k"}, api_key_env="THE_KEY"), a_stage("B", api_key_env="THE_KEY"))
