"""Whole recipes: stages and suites, folders, the command line above them, and all faults at once."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from fluxperf.errors import UsageError
from fluxperf.plan.campaign import Campaign, RecipeText, ServerSpec, StageSpec, campaign_of
from fluxperf.plan.recipe.keys import TOP, stage_keys
from fluxperf.plan.recipe.load import RecipeSurroundings, load_recipe
from fluxperf.plan.settings import Settings
from tests.plan.recipe.recipes import LATER, MOCK_NAMES, URL, Recipes

# The form in which the older program of this name took its recipes.
OLDER_SUITES = f"""\
global:
  dataset: "d.jsonl"
  endpoint: "{URL}"
  model: "some-model"
  mode: "dual_round"
  timeout: 120
  max_input_length: null
  max_output_tokens: null
  max_context_tokens: 4096
  api_key: null
  tokenizer_name: null
  tokenizer_trust_remote_code: false
  shuffle_round2: true
  save_requests: false
  debug: false
  debug_log_dir: null
  slo_file: null
  output: null
  prometheus_url: null
  prometheus_metrics: []
  reset_cache_url: null
  reset_cache_between_rounds: false
  output_dir: "results"
mock_server:
  enabled: true
  host: "127.0.0.1"
  port: 8765
suites:
  - name: "Warm-up"
    stages:
      - name: "Stage 1: Low"
        env:
          CUDA_VISIBLE_DEVICES: "0"
        concurrency_levels: [2, 4]
        num_samples: [4, 8]
        max_output_tokens: 64
        min_output_tokens: 8
  - name: "Stress"
    stages:
      - name: "Stage 2: Burst"
        env:
          CUDA_VISIBLE_DEVICES: "0,1"
        concurrency_levels: [8, 16]
        num_samples: [16, 32]
"""
OLDER_RESTART = """\
global:
  dataset: "d.jsonl"
  endpoint: "http://127.0.0.1:8000/v1/chat/completions"
  mode: "dual_round"
  model: "big-model"
  shuffle_round2: false
  reset_cache_url: "http://127.0.0.1:8000/reset_prefix_cache"
  reset_cache_between_concurrency: true
vllm:
  auto_restart: true
  startup_command: "SOME_MODE=1 vllm serve big-model --port 8000 > vllm.log 2>&1"
  port: 8000
stages:
  - name: "Cache off"
    env: {ENABLE_PREFIX_CACHE: "false"}
    concurrency_levels: [5, 10]
    num_samples: [10, 20]
  - name: "Cache on"
    env: {ENABLE_PREFIX_CACHE: "true"}
    concurrency_levels: [5, 10]
    num_samples: [10, 20]
"""


def titles(campaign: Campaign) -> list[str | None]:
    return [stage.title for stage in campaign.stages]


def test_an_older_recipe_with_suites_loads(recipes: Recipes) -> None:
    campaign = recipes.load(OLDER_SUITES)
    first, second = campaign.stages
    assert titles(campaign) == ["Warm-up/Stage 1: Low", "Stress/Stage 2: Burst"]
    assert [stage.folder for stage in campaign.stages] == ["Warm-up/Stage 1_ Low", "Stress/Stage 2_ Burst"]
    assert first.settings == Settings(
        dataset="d.jsonl",
        endpoint=URL,
        model="some-model",
        timeout=120,
        concurrency=(2, 4),
        num_samples=(4, 8),
        max_output_tokens=64,
        min_output_tokens=8,
        mock_server=True,
        mock_port=8765,
        output_dir="results/Warm-up/Stage 1_ Low",
        debug_log_dir="debug_logs/Warm-up/Stage 1_ Low",
    )
    assert first.mock == second.mock == {"host": "127.0.0.1", "port": 8765}
    assert (first.env, second.env) == ({"CUDA_VISIBLE_DEVICES": "0"}, {"CUDA_VISIBLE_DEVICES": "0,1"})
    assert second.settings.max_output_tokens == 256
    assert campaign.remarks == ("max_context_tokens matters only in multi_turn, and does nothing here",)
    sha256 = hashlib.sha256(OLDER_SUITES.encode()).hexdigest()
    assert campaign.recipe == RecipeText("recipe.yaml", sha256, OLDER_SUITES)
    assert (campaign.output_dir, campaign.overrides, campaign.secrets) == ("results", (), ())


def test_an_older_recipe_with_a_server_loads(recipes: Recipes) -> None:
    campaign = recipes.load(OLDER_RESTART)
    assert titles(campaign) == ["Cache off", "Cache on"]
    for stage in campaign.stages:
        assert isinstance(stage.server, ServerSpec)
        assert stage.server.command == ("bash", "-c", "SOME_MODE=1 vllm serve big-model --port 8000 > vllm.log 2>&1")
        assert (stage.server.port, stage.server.restart) == (8000, "per_stage")
        assert stage.settings.round2_order == "same"
        assert stage.mock is None


def test_what_is_not_built_is_one_fault_among_others(recipes: Recipes) -> None:
    assert recipes.faults(OLDER_SUITES.replace("debug: false", "warmup: 5").replace("timeout: 120", "timeout: x")) == [
        "recipe.yaml:6: global.timeout: takes a number, not 'x'",
        "recipe.yaml:15: global.warmup: is not yet built",
    ]


def test_all_faults_are_told_at_once(recipes: Recipes) -> None:
    text = f"""\
global:
  dataset: none.jsonl
  endpoint: {URL}
  timeout: fast
  rowndz: 3
mock_srever: {{}}
dataset: d.jsonl
gates: [a]
server:
  command: [no-such-program]
  restart: always
stages:
  - name: A
    concurency: 4
    rounds: ${{ROUNDS}}
    env: {{A: [1]}}
  - name: A
    rounds: 2
    rounds: 3
    min_output_tokens: 300
  - num_samples: 0
  - 5
"""
    assert recipes.faults(text, {"workers": "0", "seed": "x"}) == [
        "--workers must be at least 1, not 0",
        "--seed takes a whole number, not 'x'",
        "recipe.yaml:2: global.dataset: no such file: none.jsonl; paths are relative to the working directory",
        "recipe.yaml:4: global.timeout: takes a number, not 'fast'",
        "recipe.yaml:5: global.rowndz: unknown key; did you mean rounds?",
        "recipe.yaml:6: mock_srever: unknown key; did you mean mock_server?",
        "recipe.yaml:7: dataset: unknown key at this level; it belongs in global or in a stage",
        "recipe.yaml:8: gates[0]: gate 'a': does not say when it fails: "
        "add > or < and a threshold, such as 'ttft_ms.p99 > +10%'",
        "recipe.yaml:10: server.command: there is no program 'no-such-program' in PATH",
        "recipe.yaml:11: server.restart: is one of never, per_stage, per_level, per_round, not 'always'",
        "recipe.yaml:14: stages[0].concurency: unknown key; did you mean concurrency?",
        "recipe.yaml:15: stages[0].rounds: needs ROUNDS, which is not set; ${ROUNDS:-...} gives it a default",
        "recipe.yaml:16: stages[0].env.A: must be a text, not a list or a mapping",
        "recipe.yaml:17: stages[1].name: gives the folder 'A' that stages[0].name in line 13 has: rename one",
        "recipe.yaml:19: stages[1].rounds: given twice, first in line 18; keep one of them",
        "recipe.yaml:20: stages[1].min_output_tokens: 300 is above max_output_tokens 256",
        "recipe.yaml:21: stages[2]: name is missing: results are told apart by it",
        "recipe.yaml:21: stages[2].num_samples: must be at least 1, not 0",
        "recipe.yaml:22: stages[3]: must be a mapping that begins with name: ...",
    ]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("global: {}", "1: give stages, or suites with stages"),
        ("stages: null\nsuites: null", "1: give stages, or suites with stages"),
        ("stages: []", "1: stages: is an empty list: there is nothing to run without stages"),
        ("stages: {}", "1: stages: must be a list of stages, each beginning with - name: ..."),
        ("suites: []", "1: suites: is an empty list: there is nothing to run without suites"),
        ("suites: [{name: S}]", "1: suites[0]: stages is missing: a suite needs some"),
        (
            "suites: [{name: S, stages: []}]",
            "1: suites[0].stages: is an empty list: there is nothing to run without stages",
        ),
        (
            "suites: [{name: S, stages: null, rounds: 2}]",
            "1: suites[0].rounds: unknown key; known are name, stages, env",
        ),
        ("stages: []\nsuites: []", "2: suites: give either stages or suites, not both"),
        ("gates: {a: b}\nstages: []", "1: gates: must be a list of gates, such as - ttft_ms.p99 > +10%"),
        ("global: 5\nstages: []", "1: global: must be a mapping with the options that all stages share"),
        ("stages: []\ncontinue_on_error: 5", "2: continue_on_error: must be true or false, not 5"),
        (
            "global: {continue_on_error: true}\nstages: []\ncontinue_on_error: false",
            "3: continue_on_error: contradicts the one in line 1: leave one out",
        ),
    ],
)
def test_what_is_no_campaign_is_refused(recipes: Recipes, text: str, fault: str) -> None:
    assert f"recipe.yaml:{fault}" in recipes.faults(text)


@pytest.mark.parametrize("gates", ["null", "[]", "~"])
def test_no_gates_are_no_fault(recipes: Recipes, gates: str) -> None:
    assert titles(recipes.load(f"gates: {gates}\n{recipes.with_global()}")) == ["A"]


def test_what_all_stages_miss_is_missing_in_global(recipes: Recipes) -> None:
    missing = "dataset is missing: name the file that holds the prompts"
    text = "global:\n  endpoint: {0}\nstages: [{{name: A}}, {{name: B{1}}}]"
    assert recipes.faults(text.format(URL, "")) == [f"recipe.yaml:1: global: {missing}"]
    assert recipes.faults(text.format(URL, ", dataset: d.jsonl")) == [f"recipe.yaml:3: stages[0]: {missing}"]


# Names and folders.


@pytest.mark.parametrize(
    ("name", "folder"),
    [
        ("'a/b\\c:d*e?f\"g<h>i|j'", "a_b_c_d_e_f_g_h_i_j"),
        ('"a\\tb\\x7fc"', "a_b_c"),
        ("5", "5"),
        ("1.10", "1.10"),
        (".hidden", ".hidden"),
        ("Größe", "Größe"),
        ("${HOME}", "_home_me"),
        ("run", "run"),
    ],
)
def test_name_becomes_a_folder(recipes: Recipes, name: str, folder: str) -> None:
    stage = recipes.stage(recipes.with_global(stage=f"name: {name}"))
    assert stage.folder == folder
    assert stage.settings.output_dir == f"results/{folder}"


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("''", "must not be empty: results are told apart by it"),
        ("'..'", "cannot be the name of a folder: it has only dots"),
        ("é" * 101, "is too long for the name of a folder: it has more than 200 bytes"),
        ("run.json", "cannot be the name of a folder: run.json is a file of the run"),
        ("[a]", "must be a text, not a list or a mapping"),
    ],
)
def test_what_is_no_name_is_refused(recipes: Recipes, name: str, fault: str) -> None:
    assert recipes.faults(recipes.with_global(stage=f"name: {name}")) == [f"recipe.yaml:5: stages[0].name: {fault}"]
    suite = f"{recipes.with_global().partition('stages')[0]}suites:\n  - name: {name}\n    stages: [{{name: B}}]\n"
    assert recipes.faults(suite) == [f"recipe.yaml:5: suites[0].name: {fault}"]


def test_folders_are_told_apart(recipes: Recipes) -> None:
    start = f"global: {{dataset: d.jsonl, endpoint: '{URL}'}}\n"
    assert recipes.faults(f"{start}stages:\n- name: a/b\n- name: a:b\n") == [
        "recipe.yaml:4: stages[1].name: gives the folder 'a_b' that stages[0].name in line 3 has: rename one"
    ]
    suites = "suites:\n- {name: S, stages: [{name: A}]}\n- {name: T, stages: [{name: A}, {name: a}]}\n"
    assert [stage.folder for stage in recipes.load(start + suites).stages] == ["S/A", "T/A", "T/a"]
    assert recipes.faults(start + suites.replace("T", "S")) == [
        "recipe.yaml:4: suites[1].name: gives the folder 'S' that suites[0].name in line 3 has: rename one",
        "recipe.yaml:4: suites[1].stages[0].name: gives the folder 'S/A' that suites[0].stages[0].name in line 3 has: "
        "rename one",
    ]


def test_stages_have_directories_of_their_own(recipes: Recipes) -> None:
    text = f"""
        global: {{dataset: d.jsonl, endpoint: '{URL}', output_dir: out, overwrite: true, quiet: true, output: all.json}}
        continue_on_error: true
        stages: [{{name: A, output: a.json}}, {{name: B, debug_log_dir: logs}}]
        """
    campaign = recipes.load(text)
    first, second = campaign.stages
    assert (campaign.output_dir, campaign.overwrite, campaign.quiet) == ("out", True, True)
    assert (campaign.copy_to, first.copy_to, second.copy_to) == ("all.json", "a.json", None)
    assert campaign.continue_on_error
    assert (first.settings.output_dir, second.settings.output_dir) == ("out/A", "out/B")
    assert (first.settings.debug_log_dir, second.settings.debug_log_dir) == ("debug_logs/A", "logs/B")
    assert first.settings.overwrite
    assert first.settings.quiet


def test_one_stage_alone_logs_where_it_was_told(recipes: Recipes) -> None:
    assert recipes.stage(recipes.with_global()).settings.debug_log_dir == "debug_logs"


# The command line above the recipe.

TWO = f"""
global:
  dataset: d.jsonl
  endpoint: {URL}
  api_key: k-from-recipe
  header: {{X-Key: x-from-recipe, X-B: c}}
  output_dir: out
suites:
  - name: Warm-up
    stages: [{{name: Low, concurrency: [2, 4], shuffle_round2: true}}]
  - name: Main
    stages: [{{name: High, concurrency_levels: 8, extra_body: {{a: 1, secret: hush}}}}]
"""


@pytest.mark.parametrize(
    ("given", "sentences"),
    [
        ({}, []),
        ({"timeout": "5", "quiet": False, "model": None, "label": []}, []),
        ({"output_dir": "out"}, []),
        ({"output_dir": "here"}, ["--output-dir here overrides output_dir out"]),
        (
            {"concurrency": ["5"]},
            [
                '--concurrency 5 overrides concurrency 2 4 (stage "Warm-up/Low")',
                '--concurrency 5 overrides concurrency_levels 8 (stage "Main/High")',
            ],
        ),
        ({"concurrency": ["8"]}, ['--concurrency 8 overrides concurrency 2 4 (stage "Warm-up/Low")']),
        ({"api_key": "k-from-command"}, ["--api-key overrides api_key"]),
        ({"header": ["X-Key: other"]}, ["--header 'X-Key: ****' overrides header 'X-Key: ****' 'X-B: c'"]),
        (
            {"extra_body": "{}"},
            ['--extra-body {} overrides extra_body {"a": 1, "secret": "****"} (stage "Main/High")'],
        ),
        ({"no_shuffle_round2": True}, ['--no-shuffle-round2 overrides round2_order shuffled (stage "Warm-up/Low")']),
        (
            {"round2_order": "reversed"},
            ['--round2-order reversed overrides round2_order shuffled (stage "Warm-up/Low")'],
        ),
        ({"endpoint": "http://me:pass@h/x"}, [f"--endpoint http://h/x overrides endpoint {URL}"]),
    ],
)
def test_what_the_command_line_changes_is_told(
    recipes: Recipes, given: Mapping[str, Any], sentences: list[str]
) -> None:
    assert list(recipes.load(TWO, given).overrides) == sentences


def test_the_command_line_stands_above_every_stage(recipes: Recipes) -> None:
    given = {"concurrency": ["5", "6"], "timeout": "7", "no_shuffle_round2": True, "output_dir": "here", "quiet": True}
    campaign = recipes.load(TWO, {**given, "continue_on_error": True, "recipe": "recipe.yaml", "dry_run": True})
    for stage in campaign.stages:
        assert stage.settings.concurrency == (5, 6)
        assert (stage.settings.timeout, stage.settings.round2_order) == (7, "same")
        assert stage.settings.output_dir == f"here/{stage.folder}"
    assert (campaign.output_dir, campaign.quiet, campaign.continue_on_error) == ("here", True, True)


def test_the_mock_can_be_asked_for_beside_a_recipe(recipes: Recipes) -> None:
    text = f"mock_server: {{enabled: false, port: 5, tokens: 7}}\n{recipes.with_global()}"
    campaign = recipes.load(text, {"mock_server": True, "mock_port": "6"})
    assert campaign.stages[0].mock == {"host": "127.0.0.1", "port": 6, "tokens": 7}
    assert campaign.overrides == (
        "--mock-server overrides mock_server.enabled false",
        "--mock-port 6 overrides mock_server.port 5",
    )


def test_a_range_is_told_as_one(recipes: Recipes) -> None:
    text = recipes.with_global("mode: multi_turn", "think_time: 1")
    assert recipes.load(text, {"think_time": "0.5-2"}).overrides == ("--think-time 0.5-2 overrides think_time 1",)


def test_faults_between_recipe_and_command_line_name_both(recipes: Recipes) -> None:
    assert recipes.faults(recipes.with_global("min_output_tokens: 9"), {"max_output_tokens": "8"}) == [
        "recipe.yaml:4: global.min_output_tokens: 9 is above --max-output-tokens 8"
    ]
    assert recipes.faults(recipes.with_global("max_output_tokens: 8"), {"min_output_tokens": "9"}) == [
        "--min-output-tokens 9 is above max_output_tokens 8"
    ]
    assert recipes.faults(recipes.with_global("num_samples: [1, 2]"), {"dataset": "none"}) == [
        "--dataset no such file: none; paths are relative to the working directory",
        "recipe.yaml:4: global.num_samples: cannot be planned: 2 numbers of samples (1 2) for 1 levels of concurrency "
        "(10); give one for all, or one for each",
    ]


def test_a_run_without_a_recipe_is_a_campaign_of_one_stage() -> None:
    settings = Settings(dataset="d", output_dir="out", overwrite=True, quiet=True)
    assert campaign_of(settings) == Campaign(
        stages=(StageSpec(settings=settings),), output_dir="out", overwrite=True, quiet=True
    )
    mocked = Settings(dataset="d", mock_server=True, mock_port=5)
    assert campaign_of(mocked).stages[0].mock == {"host": "127.0.0.1", "port": 5}


# Files that are no recipes.


def test_a_file_that_cannot_be_read_is_told(recipes: Recipes) -> None:
    for path, reason in (
        ("none.yaml", "No such file or directory"),
        ("bin", "Is a directory"),
        ("a\0b", "embedded null byte"),
    ):
        with pytest.raises(UsageError) as caught:
            load_recipe(Path(path), {}, recipes.surroundings())
        assert str(caught.value) == f"{path}: the recipe cannot be read: {reason}"


def test_a_file_that_is_too_large_is_no_recipe(recipes: Recipes) -> None:
    assert recipes.faults(b"#" * (2**22 + 1)) == ["recipe.yaml: more than 4 MiB: too large for a recipe"]


SURROUNDINGS = RecipeSurroundings(
    environ={"A": "1", "PATH": os.defpath}, mock_names=MOCK_NAMES, find_mock_problem=lambda *_: None, later=LATER
)


def load_or_refuse(folder: Path, data: bytes, given: Mapping[str, Any]) -> None:
    path = folder / "fuzz.yaml"
    path.write_bytes(data)
    try:
        assert load_recipe(path, given, SURROUNDINGS).stages
    except UsageError as error:
        told = str(error).splitlines()
    else:
        return
    assert told
    assert all(line.startswith((f"{path}:", "--")) for line in told)


@settings(deadline=None)
@given(st.one_of(st.binary(), st.text("stage: -[]{}&*<!|>'\"\n#$").map(str.encode)))
def test_any_bytes_are_a_recipe_or_a_usage_error(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    load_or_refuse(tmp_path_factory.getbasetemp(), data, {})


TEXTS = st.sampled_from(
    ["", "a", "5", "${A}", "${B}", "${A:-x}", "${", "true", "per_level", "x y", "http://h/", "a\n", "\x85"]
)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | TEXTS
KEYS = st.sampled_from(
    [
        *stage_keys(LATER),
        *MOCK_NAMES,
        "command",
        "shell",
        "ready",
        "url",
        "status",
        "restart",
        "before_stage",
        "enabled",
        "startup_command",
        "auto_restart",
        "timeout_s",
        "stages",
        "cwd",
        "0",
        "x",
    ]
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=5), max_leaves=12
)
BLOCKS = st.dictionaries(KEYS, VALUES, max_size=6)
STAGES = st.lists(BLOCKS.map(lambda block: {"name": "A", **block}), max_size=3)
SUITES = st.lists(st.fixed_dictionaries({"name": TEXTS, "stages": STAGES}), max_size=2)
RECIPES = st.fixed_dictionaries(
    {"global": BLOCKS.map(lambda block: {"dataset": __file__, "endpoint": URL, **block}), "stages": STAGES | SUITES},
    optional={name: VALUES for name in TOP if name not in ("global", "stages")}
    | {"suites": SUITES, "server": BLOCKS, "mock_server": BLOCKS, "hooks": BLOCKS},
)


@settings(deadline=None, max_examples=300)
@given(RECIPES, st.dictionaries(st.sampled_from(["rounds", "endpoint", "mock_server", "concurrency"]), TEXTS))
def test_any_tree_is_a_recipe_or_a_usage_error(
    tmp_path_factory: pytest.TempPathFactory, recipe: Mapping[str, Any], given: Mapping[str, Any]
) -> None:
    load_or_refuse(tmp_path_factory.getbasetemp(), yaml.safe_dump(recipe).encode(), given)
