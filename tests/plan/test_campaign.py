from __future__ import annotations

from fluxperf.plan.campaign import Campaign, RecipeText, StageSpec, campaign_of, repeat
from fluxperf.plan.settings import Settings


def settings(output_dir: str, repeats: int) -> Settings:
    return Settings(dataset="d.jsonl", mock_server=True, output_dir=output_dir, debug_log_dir="logs", repeat=repeats)


def test_a_plan_that_is_run_once_stays_as_it_is() -> None:
    campaign = campaign_of(settings("out", 1))
    assert repeat(campaign) is campaign
    assert campaign.is_alone


def test_a_run_without_a_recipe_has_a_stage_for_each_repeat() -> None:
    campaign = repeat(campaign_of(settings("out", 2)))
    assert not campaign.is_alone
    assert [(one.title, one.folder, one.repeat) for one in campaign.stages] == [
        ("repeat 1", "repeat_1", 1),
        ("repeat 2", "repeat_2", 2),
    ]
    assert [one.settings.output_dir for one in campaign.stages] == ["out/repeat_1", "out/repeat_2"]
    assert [one.settings.debug_log_dir for one in campaign.stages] == ["logs/repeat_1", "logs/repeat_2"]
    assert campaign.output_dir == "out"


def test_a_recipe_is_repeated_as_a_whole() -> None:
    stages = tuple(
        StageSpec(settings=settings(f"out/{folder}", 2), name=name, suite=suite, folder=folder, copy_to="a/all.json")
        for name, suite, folder in (("Short", None, "Short"), ("Long", "Day", "Day/Long"))
    )
    campaign = repeat(Campaign(stages=stages, output_dir="out", recipe=RecipeText("r.yaml", "0", "")))
    assert [one.title for one in campaign.stages] == [
        *("repeat 1/Short", "repeat 1/Day/Long", "repeat 2/Short", "repeat 2/Day/Long"),
    ]
    assert [one.folder for one in campaign.stages] == [
        *("repeat_1/Short", "repeat_1/Day/Long", "repeat_2/Short", "repeat_2/Day/Long"),
    ]
    assert [one.settings.output_dir for one in campaign.stages] == [f"out/{one.folder}" for one in campaign.stages]
    assert campaign.stages[0].settings.debug_log_dir == "logs/repeat_1"
    assert [one.copy_to for one in campaign.stages] == 2 * ["a/all_repeat_1.json"] + 2 * ["a/all_repeat_2.json"]
