"""Options in `global` and in stages."""

from __future__ import annotations

from typing import Any

import pytest

from fluxperf.plan.readers import READERS
from fluxperf.plan.settings import Settings
from tests.plan.recipe.recipes import URL, Recipes


def test_what_is_not_given_has_its_default(recipes: Recipes) -> None:
    settings = recipes.stage(recipes.with_global()).settings
    assert settings == Settings(dataset="d.jsonl", endpoint=URL, output_dir="results/A")


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("num_samples: 20", (20,)),
        ("concurrency: [4, 8]", (4, 8)),
        ("concurrency: 4 8", (4, 8)),
        ("concurrency: '4,8'", (4, 8)),
        ("num_samples: ${N:-20}", (20,)),
        ("concurrency: ${N:-4 8}", (4, 8)),
        ("concurrency: [4, '${N:-8}']", (4, 8)),
        ("same_samples: true", True),
        ("same_samples: yes", True),
        ("same_samples: 'True'", True),
        ("same_samples: ${FLAG:-true}", True),
        ("same_samples: '${FLAG:-false}'", False),
        ("same_samples: ${EMPTY}", False),
        ("model: 4", "4"),
        ("model: 0755", "0755"),
        ("model: '${HOME}/m'", "/home/me/m"),
        ("model: ${M:-1.10}", "1.10"),
        ("model: a$$b", "a$b"),
        ("model: a$b", "a$b"),
        ("model: null", None),
        ("model: ~", None),
        ("model: ${M:-}", None),
        ("api_key: 0012", "0012"),
        ("http: 1.1", "1.1"),
        ("temperature: 0.7", 0.7),
        ("temperature: '0.7'", 0.7),
        ("timeout: 300", 300),
        ("extra_body: {top_k: 20, x: null, y: ['${HOME}', $$]}", {"top_k": 20, "x": None, "y": ["/home/me", "$"]}),
        ("extra_body: '{\"top_k\": 20}'", {"top_k": 20}),
        ("header: 'X-A: b'", (("X-A", "b"),)),
        ("header: ['X-A: b', X-C: 5]", (("X-A", "b"), ("X-C", "5"))),
        ("header: {X-A: b, X-C: ~}", (("X-A", "b"), ("X-C", ""))),
        ("label: [gpu=A100, n=1]", (("gpu", "A100"), ("n", "1"))),
        ("label: {gpu: A100, v: 1.10}", (("gpu", "A100"), ("v", "1.10"))),
        ("prometheus_metrics: []", ()),
        ("no_shuffle_round2: true", "same"),
        ("max_input_length: null", None),
        ("mode: multi_turn", "multi_turn"),
        ("tokenizer: org/name", "org/name"),
    ],
)
def test_option_is_read(recipes: Recipes, line: str, value: Any) -> None:
    name = line.partition(":")[0]
    name = "round2_order" if name == "no_shuffle_round2" else name
    for text in (recipes.with_global(line), recipes.with_global(stage=f"name: A\n    {line}")):
        found = getattr(recipes.stage(text).settings, name)
        assert found == value
        assert type(found) is type(value)


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("rounds: x", "rounds: takes a whole number, not 'x'"),
        ("rounds: false", "rounds: takes a whole number, not False"),
        ("rounds: {a: 1}", "rounds: takes a whole number, not {'a': 1}"),
        ("rounds: ${R}", "rounds: needs R, which is not set; ${R:-...} gives it a default"),
        (
            "rounds: ${R",
            "rounds: has '${R', which is no variable: write ${NAME} or ${NAME:-default}, or $$ for a dollar",
        ),
        ("seed: !!int x", "seed: is not what it was tagged as, or a giant: 'x'"),
        (f"seed: 0x{'f' * 9999}", f"seed: is too large a number: 0x{'f' * 38}..."),
        ("concurrency: []", "concurrency: is an empty list: give a number, or leave it out"),
        ("concurrency_levels: [1, x]", "concurrency_levels: takes a whole number, not 'x'"),
        (
            "concurrency: [2, 4, 2]",
            "concurrency: cannot be planned: the concurrency 2 is given more than once; "
            "its result files would be the same",
        ),
        ("same_samples: maybe", "same_samples: must be true or false, not 'maybe'"),
        ("model: [a]", "model: must be a text that is not empty, not ['a']"),
        ("endpoints: x", "endpoints: unknown key; did you mean endpoint?"),
        ("num-samples: 5", "num-samples: unknown key; did you mean num_samples?"),
        ("Rounds: 5", "Rounds: unknown key; did you mean rounds?"),
        ("qqqqq: 5", "qqqqq: unknown key"),
        ("name: x", "name: unknown key"),
        ("resume: true", "resume: unknown key"),
        ("dry_run: true", "dry_run: unknown key"),
        ("recipe: x", "recipe: unknown key; did you mean repeat?"),
        ("warmup: 5", "warmup: is not yet built"),
        ("sweep: 5", "sweep: is not yet built"),
        ("tokenizer_name: [x]", "tokenizer_name: must be a text that is not empty, not ['x']"),
        ("tokenizer_trust_remote_code: x", "tokenizer_trust_remote_code: must be true or false, not 'x'"),
        (
            "tokenizer_revision: v1",
            "tokenizer_revision: needs tokenizer: the model of the hub that the revision is one of",
        ),
        (
            "tokenizer: d.json",
            "tokenizer: cannot be used: no such file or folder: d.json; give a folder with a tokenizer.json, "
            "that file, or a model of the hub as org/name",
        ),
        (
            "tokenizer_name: bin",
            "tokenizer_name: cannot be used: there is no tokenizer.json in bin; give a folder that holds one",
        ),
        ("own_history: 5", "own_history: must be true or false, not 5"),
        (
            "extra_body: {stream: false}",
            'extra_body: cannot turn off "stream": requests that do not stream are not yet built',
        ),
        ("max_context_tokens: 0", "max_context_tokens: must be at least 1, not 0"),
        ("min_output_tokens: 300", "min_output_tokens: 300 is above max_output_tokens 256"),
        (
            "prometheus_metrics: [a]",
            "prometheus_metrics: needs prometheus_url: a /metrics page, or a Prometheus server",
        ),
        ("client_cert: c.pem", "client_cert: no such file: c.pem; paths are relative to the working directory"),
        ("ca_file: bin", "ca_file: is a directory: bin"),
        (
            "slo_file: d.jsonl",
            "slo_file: cannot be used: d.jsonl:1: unknown key 'text'; known are slo, constraints, name",
        ),
        ("api_key_env: NONE", "api_key_env: NONE: there is no such environment variable, or it is empty"),
        ("output: ''", "output: must be a text that is not empty, not ''"),
    ],
)
def test_fault_is_told_with_its_place(recipes: Recipes, line: str, fault: str) -> None:
    assert recipes.faults(recipes.with_global(line)) == [f"recipe.yaml:4: global.{fault}"]


@pytest.mark.parametrize("value", ["null", "false", "[]"])
@pytest.mark.parametrize("key", ["sweep", "warmup"])
def test_what_is_not_built_may_be_absent(recipes: Recipes, key: str, value: str) -> None:
    assert recipes.stage(recipes.with_global(f"{key}: {value}")).settings.rounds == 2


def test_every_option_may_be_null_everywhere(recipes: Recipes) -> None:
    names = [name for name in READERS if name not in ("dataset", "endpoint")]
    everywhere = "\n    ".join(["name: A", *(f"{name}: null" for name in names)])
    text = recipes.with_global(*(f"{name}: null" for name in names), stage=everywhere)
    assert recipes.stage(text).settings == Settings(dataset="d.jsonl", endpoint=URL, output_dir="results/A")


# A stage above global.


@pytest.mark.parametrize(
    ("above", "own", "name", "value"),
    [
        ("rounds: 5", "rounds: 3", "rounds", 3),
        ("rounds: 5", "seed: 3", "rounds", 5),
        ("rounds: 5", "rounds: null", "rounds", 2),
        ("rounds: 5", "rounds: ${R:-}", "rounds", 2),
        ("concurrency: [1, 2]", "concurrency_levels: 7", "concurrency", (7,)),
        ("concurrency_levels: 7", "concurrency: null", "concurrency", (10,)),
        ("salt: true", "salt: false", "salt", False),
        ("shuffle_round2: true", "round2_order: reversed", "round2_order", "reversed"),
        ("round2_order: reversed", "shuffle_round2: true", "round2_order", "shuffled"),
        ("round2_order: reversed", "shuffle_round2: null", "round2_order", "shuffled"),
        ("no_shuffle_round2: true", "no_shuffle_round2: false", "round2_order", "shuffled"),
        ("shuffle_round2: false", "seed: 1", "round2_order", "same"),
        ("header: ['A: b']", "header: []", "header", ()),
        ("model: ${NEEDED_ELSEWHERE}", "model: mine", "model", "mine"),
    ],
)
def test_a_stage_stands_above_global(recipes: Recipes, above: str, own: str, name: str, value: object) -> None:
    settings = recipes.stage(recipes.with_global(above, stage=f"name: A\n    {own}")).settings
    assert getattr(settings, name) == value


@pytest.mark.parametrize(
    ("lines", "fault"),
    [
        (("shuffle_round2: true", "round2_order: same"), "round2_order, which is same"),
        (("shuffle_round2: false", "round2_order: reversed"), "round2_order, which is reversed"),
        (("no_shuffle_round2: true", "shuffle_round2: true"), "no_shuffle_round2, which is same"),
    ],
)
def test_orders_do_not_contradict_each_other(recipes: Recipes, lines: tuple[str, str], fault: str) -> None:
    (found,) = recipes.faults(recipes.with_global(*lines))
    assert found.partition(": global.")[2] == f"shuffle_round2: contradicts {fault}: leave one out"


@pytest.mark.parametrize(
    ("lines", "order"),
    [
        (("shuffle_round2: false", "no_shuffle_round2: true", "round2_order: same"), "same"),
        (("no_shuffle_round2: false", "round2_order: reversed"), "reversed"),
        (("shuffle_round2: null", "round2_order: reversed"), "reversed"),
    ],
)
def test_words_for_the_same_order_may_stand_together(recipes: Recipes, lines: tuple[str, ...], order: str) -> None:
    assert recipes.stage(recipes.with_global(*lines)).settings.round2_order == order


def test_a_name_and_its_alias_are_one_too_many(recipes: Recipes) -> None:
    assert recipes.faults(recipes.with_global("concurrency: 1", "concurrency_levels: 1")) == [
        "recipe.yaml:5: global.concurrency_levels: the same as concurrency in line 4: leave one out"
    ]


@pytest.mark.parametrize(("line", "name"), [("tokenizer_name: org/name", "org/name"), ("tokenizer_name: null", None)])
def test_older_names_of_the_tokenizer_are_read(recipes: Recipes, line: str, name: str | None) -> None:
    lines = (line, "tokenizer_revision: null", "tokenizer_trust_remote_code: false")
    campaign = recipes.load(recipes.with_global(*lines))
    assert campaign.stages[0].settings.tokenizer == name
    assert campaign.remarks == ()


def test_a_revision_is_a_text_however_it_looks(recipes: Recipes) -> None:
    settings = recipes.stage(recipes.with_global("tokenizer: a/b", "tokenizer_revision: 1e5")).settings
    assert settings.tokenizer_revision == "1e5"


def test_no_code_of_the_hub_is_run_whatever_a_recipe_says(recipes: Recipes) -> None:
    campaign = recipes.load(recipes.with_global("tokenizer_name: a/b", "tokenizer_trust_remote_code: true"))
    assert campaign.remarks == (
        "tokenizer_trust_remote_code does nothing: no code from the hub is ever run, tokenizer.json needs none",
    )


def test_a_context_counts_where_there_are_sessions(recipes: Recipes) -> None:
    text = recipes.with_global("max_context_tokens: 4096")
    assert recipes.stage(text).settings.max_context_tokens is None
    campaign = recipes.load(text, {"mode": "multi_turn"})
    assert campaign.stages[0].settings.max_context_tokens == 4096
    assert campaign.remarks == ()


def test_a_context_on_the_command_line_needs_sessions(recipes: Recipes) -> None:
    assert recipes.faults(recipes.with_global("max_context_tokens: 4096"), {"max_context_tokens": "5"}) == [
        "--max-context-tokens needs mode multi_turn: it is about sessions of several turns"
    ]


def test_what_is_about_sessions_may_stand_in_a_stage_that_has_them(recipes: Recipes) -> None:
    lines = ("mode: multi_turn", "own_history: true", "think_time: 1-2", "max_context_tokens: 99")
    settings = recipes.stage(recipes.with_global(stage="name: A\n    " + "\n    ".join(lines))).settings
    assert (settings.own_history, settings.think_time, settings.max_context_tokens) == (True, (1, 2), 99)


def test_levels_and_samples_pair_up(recipes: Recipes) -> None:
    text = recipes.with_global("concurrency: [1, 2]", stage="name: A\n    num_samples: [1, 2, 3]")
    assert recipes.faults(text) == [
        "recipe.yaml:7: stages[0].num_samples: cannot be planned: 3 numbers of samples (1 2 3) for 2 levels of "
        "concurrency (1 2); give one for all, or one for each"
    ]


@pytest.mark.parametrize("line", ["output_dir: x", "overwrite: true", "quiet: true", "continue_on_error: true"])
def test_what_belongs_to_the_campaign_is_no_stages(recipes: Recipes, line: str) -> None:
    (fault,) = recipes.faults(recipes.with_global(stage=f"name: A\n    {line}"))
    key = line.partition(":")[0]
    assert fault == f"recipe.yaml:6: stages[0].{key}: belongs in global: one directory holds all stages"
    assert recipes.stage(recipes.with_global(stage=f"name: A\n    {key}: null")).name == "A"


def test_a_dataset_beside_the_recipe_is_pointed_at(recipes: Recipes) -> None:
    from fluxperf.errors import UsageError
    from fluxperf.plan.recipe.load import load_recipe

    folder = recipes.folder / "sub"
    folder.mkdir()
    (folder / "mine.jsonl").touch()
    (folder / "r.yaml").write_text(recipes.with_global().replace("d.jsonl", "mine.jsonl"))
    with pytest.raises(UsageError) as caught:
        load_recipe((folder / "r.yaml").relative_to(recipes.folder), {}, recipes.surroundings())
    assert str(caught.value) == (
        "sub/r.yaml:2: global.dataset: no such file: mine.jsonl; paths are relative to the working directory "
        "(there is sub/mine.jsonl)"
    )


def test_metrics_are_judged_by_who_knows_them(recipes: Recipes) -> None:
    text = recipes.with_global("prometheus_url: http://h/metrics", "prometheus_metrics: ['ok', 'a{']")
    faults = recipes.faults(text, find_metric_problem=lambda name: "is no selector" if "{" in name else None)
    assert faults == ["recipe.yaml:5: global.prometheus_metrics: 'a{' is no selector"]
