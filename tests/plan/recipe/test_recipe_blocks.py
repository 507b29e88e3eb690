"""Environment, server, mock and hooks of a stage."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import pytest

from fluxperf.plan.campaign import Hook, Hooks, Ready, ServerSpec
from tests.plan.recipe.recipes import URL, Recipes

STAGE = f"stages: [{{name: A, dataset: d.jsonl, endpoint: '{URL}'}}]\n"


def with_stage(text: str, own: str = "") -> str:
    """A recipe of a block at its top and one in its stage; the first begins in line 1, the other in line 2."""
    return f"{text}\nstages: [{{name: A, dataset: d.jsonl, endpoint: '{URL}'{', ' if own else ''}{own}}}]\n"


def indented(text: str) -> str:
    return "\n".join(f"    {line}" for line in text.splitlines())


# Variables.


def test_variables_are_texts_as_they_are_written(recipes: Recipes) -> None:
    stage = recipes.stage(
        recipes.with_global(
            stage="""name: A
    env:
      ONE: 1
      OCTAL: 0755
      FRACTION: 1.10
      TRUE: true
      YES: yes
      DATE: 2024-01-01
      QUOTED: "null"
      HOME2: ${HOME}/x
      DOLLAR: a$$b
      BLANK: ""
      LINES: |
        a
        b
      NULL: null
      TILDE: ~
      NOTHING:
      NUMBER: ${N:-5}
      UNSET: ${EMPTY}
"""
        )
    )
    assert stage.env == {
        "ONE": "1",
        "OCTAL": "0755",
        "FRACTION": "1.10",
        "TRUE": "true",
        "YES": "yes",
        "DATE": "2024-01-01",
        "QUOTED": "null",
        "HOME2": "/home/me/x",
        "DOLLAR": "a$b",
        "BLANK": "",
        "LINES": "a\nb\n",
        "NULL": None,
        "TILDE": None,
        "NOTHING": None,
        "NUMBER": "5",
        "UNSET": None,
    }


def test_variables_of_global_suite_and_stage_stand_above_each_other(recipes: Recipes) -> None:
    stage = recipes.stage(f"""
        global: {{dataset: d.jsonl, endpoint: '{URL}', env: {{A: g, B: g, C: g, D: g}}}}
        suites:
          - name: S
            env: {{B: s, C: s}}
            stages: [{{name: A, env: {{C: t, D: null}}}}]
        """)
    assert stage.env == {"A": "g", "B": "s", "C": "t", "D": None}


def test_values_see_the_stages_variables_first(recipes: Recipes) -> None:
    recipes.environ |= {"M": "outside", "N": "outside", "O": "outside"}
    own = "env: {M: inside, N: null, P: '${M}'}, model: '${M}-${N:-none}-${O}-${P}'"
    stage = recipes.stage(with_stage("", own))
    assert stage.settings.model == "inside-none-outside-inside"
    assert recipes.faults(with_stage("", "env: {N: null}, model: '${N}'")) == [
        "recipe.yaml:2: stages[0].model: needs N, which is not set; ${N:-...} gives it a default"
    ]


@pytest.mark.parametrize(
    ("env", "fault"),
    [
        ("{A: [1]}", ".A: must be a text, not a list or a mapping"),
        ("{A: {B: 1}}", ".A: must be a text, not a list or a mapping"),
        ("{'': 1}", ".'': cannot be the name of a variable: it is empty, or holds a ="),
        ("{A=B: 1}", ".A=B: cannot be the name of a variable: it is empty, or holds a ="),
        ("[A]", ": must be a mapping of variables, such as CUDA_VISIBLE_DEVICES: 0"),
        ("{A: '${B}'}", ".A: needs B, which is not set; ${B:-...} gives it a default"),
    ],
)
def test_what_is_no_environment_is_refused(recipes: Recipes, env: str, fault: str) -> None:
    assert recipes.faults(with_stage("", f"env: {env}")) == [f"recipe.yaml:2: stages[0].env{fault}"]


@pytest.mark.parametrize("text", ["model: '${BYTES}'", "env: {X: '${BYTES}'}"])
def test_a_variable_that_is_no_text_is_refused(recipes: Recipes, text: str) -> None:
    recipes.environ["BYTES"] = os.fsdecode(b"\xff")
    (fault,) = recipes.faults(with_stage("", text))
    assert fault.endswith(": holds half a surrogate pair, which is no character")


# The server.


def server(recipes: Recipes, text: str, own: str = "") -> ServerSpec | None:
    return recipes.stage(with_stage(text, own)).server


@pytest.mark.parametrize(
    ("block", "expected"),
    [
        ("{command: serve}", {"command": ("serve",)}),
        ("{command: [serve, --port, 8001, 0755, true]}", {"command": ("serve", "--port", "8001", "0755", "true")}),
        ("{command: \"serve 'a b' ${N:-c d}\"}", {"command": ("serve", "a b", "c", "d")}),
        ("{command: ['serve', '${HOME}', $$]}", {"command": ("serve", "/home/me", "$")}),
        ("{command: 'serve ${X} > log', shell: true}", {"command": ("bash", "-c", "serve ${X} > log")}),
        ("{command: serve, env: {A: 1, B: ~}}", {"env": {"A": "1", "B": None}}),
        ("{command: serve, cwd: bin}", {"cwd": "bin"}),
        ("{command: ./serve, cwd: bin}", {"command": ("./serve",), "cwd": "bin"}),
        ("{command: bin/serve}", {"command": ("bin/serve",)}),
        ("{command: serve, ready: 'http://h/health'}", {"ready": Ready(url="http://h/health", statuses=(200,))}),
        ("{command: serve, ready: {url: 'http://h/'}}", {"ready": Ready(url="http://h/", statuses=(200,))}),
        (
            "{command: serve, ready: {url: 'http://h/', status: [200, 503], log_line: up}}",
            {"ready": Ready(url="http://h/", statuses=(200, 503), log_line="up")},
        ),
        ("{command: serve, ready: {status: 204}}", {"ready": Ready(statuses=(204,))}),
        ("{command: serve, ready: {log_line: up}}", {"ready": Ready(log_line="up")}),
        ("{command: serve, ready: null, log: null, cwd: null}", {"ready": Ready(), "log": None}),
        ("{command: serve, ready_timeout_s: 5, stop_timeout_s: 0}", {"ready_timeout_s": 5, "stop_timeout_s": 0}),
        (
            "{command: serve, restart: per_round, log: s.log, port: 99}",
            {"restart": "per_round", "log": "s.log", "port": 99},
        ),
    ],
)
def test_server_is_read(recipes: Recipes, block: str, expected: Mapping[str, Any]) -> None:
    for found in (server(recipes, f"server: {block}"), server(recipes, "", f"server: {block}")):
        assert found == ServerSpec(**{"command": ("serve",), **expected})


@pytest.mark.parametrize(
    ("block", "fault"),
    [
        ("{}", ": command is missing: what starts the server?"),
        ("{restart: never}", ": command is missing: what starts the server?"),
        ("{command: ''}", ".command: is an empty command"),
        ("{command: []}", ".command: is an empty command"),
        ("{command: '  ', shell: true}", ".command: is an empty command"),
        ("{command: [a, ~]}", ".command[1]: is null, which is no word of a command; put it in quotes"),
        ("{command: [a, [b]]}", ".command[1]: must be a text, not a list or a mapping"),
        ("{command: [serve], shell: true}", ".command: must be a text: the line that a shell is given"),
        ('{command: "serve \'a"}', ".command: cannot be split into words: No closing quotation"),
        ("{command: serv}", ".command: there is no program 'serv' in PATH"),
        ("{command: ./serv}", ".command: there is no file 'serv'"),
        ("{command: ./d.jsonl}", ".command: 'd.jsonl' cannot be executed"),
        ("{command: serve, env: {PATH: /nowhere}}", ".command: there is no program 'serve' in PATH"),
        ("{command: serve, cwd: nowhere}", ".cwd: there is no directory 'nowhere'"),
        (
            "{command: serve, restart: always}",
            ".restart: is one of never, per_stage, per_level, per_round, not 'always'",
        ),
        ("{command: serve, ready_timeout_s: 0}", ".ready_timeout_s: must be above 0, at most 86400, not 0"),
        ("{command: serve, port: 0}", ".port: must be at least 1, not 0"),
        ("{command: serve, ready: h}", ".ready: must be a full URL such as http://127.0.0.1:8000/health, or /health"),
        ("{command: serve, ready: [h]}", ".ready: must be a mapping with keys such as url, status, log_line"),
        ("{command: serve, ready: {status: 99}}", ".ready.status: must be at least 100, not 99"),
        ("{command: serve, ready: {ur: x}}", ".ready.ur: unknown key; did you mean url?"),
        ("{comand: serve, command: serve}", ".comand: unknown key; did you mean command?"),
        ("serve", ": must be a mapping with keys such as command, shell, restart"),
    ],
)
def test_fault_of_a_server_is_told_with_its_place(recipes: Recipes, block: str, fault: str) -> None:
    assert fault in [
        text.removeprefix("recipe.yaml:1: server") for text in recipes.faults(with_stage(f"server: {block}"))
    ]


def test_a_stage_changes_the_server_key_by_key(recipes: Recipes) -> None:
    top = "server: {command: serve, restart: per_level, log: a.log, env: {A: 1, B: 1}}"
    assert server(recipes, top, "server: {command: serve x, log: null, env: {B: 2}}") == ServerSpec(
        command=("serve", "x"), restart="per_level", env={"A": "1", "B": "2"}
    )
    assert server(recipes, top, "server: null") is None
    assert server(recipes, top, "vllm: {startup_command: x}").port == 8000  # type: ignore[union-attr]


def test_shell_lines_go_to_sh_where_there_is_no_bash(recipes: Recipes) -> None:
    (recipes.bin / "bash").unlink()
    found = server(recipes, "server: {command: x, shell: true}")
    assert found is not None
    assert found.command == ("/bin/sh", "-c", "x")


def test_a_server_needs_an_endpoint(recipes: Recipes) -> None:
    assert recipes.faults("server: {command: serve}\nstages: [{name: A, dataset: d.jsonl}]") == [
        "recipe.yaml:2: stages[0]: endpoint is missing: give the full URL of chat completions, or mock_server"
    ]


# vLLM, the older way.


@pytest.mark.parametrize(
    ("block", "expected"),
    [
        ("{startup_command: x}", {}),
        ("{startup_command: x, auto_restart: true}", {}),
        ("{startup_command: x, auto_restart: null}", {}),
        ("{startup_command: x, auto_restart: false}", {"restart": "never", "adopt": True}),
        (
            "{startup_command: x, port: 9}",
            {"port": 9, "ready": Ready(url="http://127.0.0.1:9/health", statuses=(200,))},
        ),
        ("{startup_command: x, port: null, env: {A: 1}}", {"env": {"A": "1"}}),
        ("{startup_command: x, ready: {log_line: up}}", {"ready": Ready(log_line="up")}),
        ("{startup_command: 'A=${B} x $$ $C'}", {"command": ("bash", "-c", "A=${B} x $$ $C")}),
    ],
)
def test_vllm_is_a_server(recipes: Recipes, block: str, expected: Mapping[str, Any]) -> None:
    ready = Ready(url="http://127.0.0.1:8000/health", statuses=(200,))
    facts: dict[str, Any] = {"command": ("bash", "-c", "x"), "port": 8000, "ready": ready, **expected}
    assert server(recipes, f"vllm: {block}") == ServerSpec(**facts)


@pytest.mark.parametrize(
    "block", ["null", "{}", "{auto_restart: false}", "{startup_command: null, auto_restart: false}"]
)
def test_vllm_without_a_command_starts_nothing(recipes: Recipes, block: str) -> None:
    assert server(recipes, f"vllm: {block}") is None


def test_vllm_that_is_to_be_restarted_needs_a_command(recipes: Recipes) -> None:
    assert recipes.faults(with_stage("vllm: {auto_restart: true, startup_command: null}")) == [
        "recipe.yaml:1: vllm.auto_restart: needs startup_command: the line that starts the server"
    ]


def test_vllm_beside_server_is_one_too_many(recipes: Recipes) -> None:
    text = "server: {command: serve}\nvllm: {startup_command: x}\n" + STAGE
    assert recipes.faults(text) == [
        "recipe.yaml:2: vllm: stands beside server, of which it is the old name: leave one out"
    ]
    assert recipes.stage(f"server: null\nvllm: {{startup_command: x}}\n{STAGE}").server is not None


def test_vllm_has_an_endpoint_of_its_own(recipes: Recipes) -> None:
    campaign = recipes.load("vllm: {startup_command: x, port: 9}\nstages: [{name: A, dataset: d.jsonl}]")
    assert campaign.stages[0].settings.endpoint == "http://127.0.0.1:9/v1/chat/completions"
    assert campaign.remarks == (
        "no endpoint is given: that of the vllm block is http://127.0.0.1:9/v1/chat/completions",
    )
    assert recipes.load(with_stage("vllm: {startup_command: x, port: 9}")).remarks == ()


# The mock.


@pytest.mark.parametrize(
    ("top", "own", "mock"),
    [
        ("", "", None),
        ("mock_server: null", "", None),
        ("mock_server: {enabled: false, port: 5}", "", None),
        ("mock_server: {enabled: null}", "", None),
        ("mock_server: {}", "", {}),
        ("mock_server: true", "", {}),
        ("mock_server: {enabled: true, port: 5, host: '::1', tokens: 7}", "", {"port": 5, "host": "::1", "tokens": 7}),
        (
            "mock_server: {enabled: '${NO:-true}', decode_ms: '${D:-}'}",
            "mock_server: {decode_ms: 2.5}",
            {"decode_ms": 2.5},
        ),
        ("mock_server: {port: 5, tokens: 7}", "mock_server: {tokens: null, seed: 1}", {"port": 5, "seed": 1}),
        ("mock_server: {port: 5}", "mock_server: null", None),
        ("mock_server: {port: 5}", "mock_server: false", None),
        ("mock_server: {port: 5, enabled: false}", "mock_server: true", {"port": 5}),
        ("mock_server: {port: 5, enabled: false}", "mock_server: {tokens: 7}", None),
        ("global: {mock_server: true, mock_port: 6}", "", {"port": 6}),
        ("global: {mock_server: true, mock_port: 6}", "mock_port: 7, mock_host: h", {"port": 7, "host": "h"}),
        ("global: {mock_server: true, mock_port: 6}", "mock_port: null", {"port": 0}),
        ("global: {mock_port: 6}", "", None),
        ("", "mock_server: {model: null, faults: ''}", {"faults": ""}),
    ],
)
def test_mock_is_read(recipes: Recipes, top: str, own: str, mock: Mapping[str, Any] | None) -> None:
    stage = recipes.stage(with_stage(top, own))
    expected = None if mock is None else {"host": "127.0.0.1", "port": 0, **mock}
    assert stage.mock == expected
    assert stage.settings.mock_server is (expected is not None)
    if expected is not None:
        assert (stage.settings.mock_host, stage.settings.mock_port) == (expected["host"], expected["port"])


@pytest.mark.parametrize(
    ("block", "fault"),
    [
        ("{prot: 5}", ".prot: unknown key; did you mean port?"),
        ("{port: 99999}", ".port: must be a whole number from 0 to 65535, not 99999"),
        ("{decode_ms: fast}", ".decode_ms: must be a number from 0 to 600000, not 'fast'"),
        ("{enabled: maybe}", ".enabled: must be true or false, not 'maybe'"),
        ("maybe", ": must be true or false, not 'maybe'"),
        ("[a]", ": must be true or false, or a mapping with the mock's settings"),
    ],
)
def test_fault_of_a_mock_is_told_with_its_place(recipes: Recipes, block: str, fault: str) -> None:
    assert recipes.faults(with_stage(f"mock_server: {block}")) == [f"recipe.yaml:1: mock_server{fault}"]


def test_mock_settings_are_judged_together(recipes: Recipes) -> None:
    text = with_stage("mock_server: {tls_cert: c.pem}")
    found = recipes.faults(text, find_mock_conflict=lambda facts: f"{list(facts)} needs more")
    assert found == ["recipe.yaml:1: mock_server.tls_cert: ['tls_cert'] needs more"]


def test_a_mock_takes_the_place_of_a_server_that_need_not_be_there(recipes: Recipes) -> None:
    campaign = recipes.load(
        with_stage("server: {command: vllm serve, restart: per_level, cwd: /nowhere}\nmock_server: {}")
    )
    server = campaign.stages[0].server
    assert server is not None
    assert (server.command, server.restart) == (("vllm", "serve"), "per_level")
    assert campaign.remarks == ("the mock server takes the place of the one under server",)
    only = recipes.stage(with_stage("server: {restart: per_round}\nmock_server: {}")).server
    assert only == ServerSpec(command=(), restart="per_round")


def test_with_a_mock_no_endpoint_is_needed(recipes: Recipes) -> None:
    stage = recipes.stage("mock_server: {}\nvllm: {startup_command: x}\nstages: [{name: A, dataset: d.jsonl}]")
    assert stage.settings.endpoint is None


# Hooks.


@pytest.mark.parametrize(
    ("text", "commands"),
    [
        ("null", []),
        ("[]", []),
        ("'echo ${A} $$'", [("bash", "-c", "echo ${A} $$")]),
        ("[serve, 5, '${HOME}']", [("serve", "5", "/home/me")]),
        ("[serve]", [("serve",)]),
        ("['serve a', serve]", [("bash", "-c", "serve a"), ("bash", "-c", "serve")]),
        ("[[serve, a], [serve, b]]", [("serve", "a"), ("serve", "b")]),
        ("[serve, [serve, b]]", [("bash", "-c", "serve"), ("serve", "b")]),
        ("{command: serve a}", [("serve", "a")]),
        ("{command: serve a, shell: true}", [("bash", "-c", "serve a")]),
        ("[{command: [serve, a]}, {command: serve b}]", [("serve", "a"), ("serve", "b")]),
    ],
)
def test_hook_is_read(recipes: Recipes, text: str, commands: list[tuple[str, ...]]) -> None:
    expected = Hooks(before_stage=tuple(Hook(command) for command in commands))
    assert recipes.stage(with_stage(f"hooks: {{before_stage: {text}}}")).hooks == expected
    assert recipes.stage(with_stage("", f"hooks: {{before_stage: {text}}}")).hooks == expected


def test_a_hook_has_its_time(recipes: Recipes) -> None:
    hooks = recipes.stage(with_stage("hooks: {after_stage: {command: serve, timeout_s: 5}}")).hooks
    assert hooks.after_stage == (Hook(("serve",), 5),)


def test_a_stage_changes_hooks_kind_by_kind(recipes: Recipes) -> None:
    top = "hooks: {before_stage: a, after_stage: b, before_round: c}"
    hooks = recipes.stage(with_stage(top, "hooks: {after_stage: null, before_round: d}")).hooks
    lines = [[hook.command[2] for hook in kind] for kind in (hooks.before_stage, hooks.after_stage, hooks.before_round)]
    assert lines == [["a"], [], ["d"]]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("{before_stag: a}", ".before_stag: unknown key; did you mean before_stage?"),
        ("{before_stage: [nothing, a]}", ".before_stage: there is no program 'nothing' in PATH"),
        ("{before_stage: {comand: a}}", ".before_stage.comand: unknown key; did you mean command?"),
        ("{before_stage: {shell: true}}", ".before_stage: command is missing: what is to be run?"),
        ("{before_stage: {command: a, shell: maybe}}", ".before_stage.shell: must be true or false, not 'maybe'"),
        ("{before_stage: ''}", ".before_stage: is an empty command"),
        (
            "{before_stage: {command: serve, timeout_s: -1}}",
            ".before_stage.timeout_s: must be above 0, at most 86400, not -1",
        ),
        ("{before_stage: [[nothing], [nothing]]}", ".before_stage[1]: there is no program 'nothing' in PATH"),
        ("echo", ": must be a mapping with keys such as before_stage, after_stage, before_round"),
    ],
)
def test_fault_of_a_hook_is_told_with_its_place(recipes: Recipes, text: str, fault: str) -> None:
    assert f"recipe.yaml:1: hooks{fault}" in recipes.faults(with_stage(f"hooks: {text}"))
