"""Environment variables of a recipe's stages, from end to end. Runs under pytest and, without it, as a script:

python tests/test_env_variables.py                 runs the tests, one line each
"""

from __future__ import annotations

import json
import os
import shlex
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from fluxperf.environment import stage_environment
from fluxperf.files import write_stream

ROOT = Path(__file__).resolve().parent.parent
TIMEOUT_S = 60.0
PROMPTS = 8
HIDDEN = ("FLUXPERF_API_KEY", "OPENAI_API_KEY", "ENABLE_PREFIX_CACHE", "FLUXPERF_MOCK_TOKENS")

# What is not of the test's own: short rounds against the mock server, which is started for each stage.
GLOBAL = "dataset: prompts.jsonl, concurrency: 2, max_output_tokens: 4, rounds: 1, output_dir: out"
MOCK = "mock_server: {enabled: true, prefill_tokens_per_s: 4000, decode_ms: 1}"
# A hook that writes down what it finds of these variables, a line for each that is set.
SHOWN = "A B C LEVEL MY_TOKEN HF_HOME FLUXPERF_API_KEY FLUXPERF_STAGE FLUXPERF_ROUND FLUXPERF_CONCURRENCY"
SHOW = f"for name in {SHOWN}; do printenv $name | sed s/^/$name=/; done"


@dataclass(frozen=True, slots=True)
class Ran:
    """A run that has ended, and where its files are."""

    code: int
    out: str
    err: str
    place: Path

    def run_json(self) -> Any:
        """The file of the whole run."""
        return json.loads((self.place / "out" / "run.json").read_text("utf-8"))

    def seen(self, stage: str, log: str = "hooks.log") -> dict[str, str]:
        """The variables that a log of the stage tells of; of several hooks the last one's."""
        lines = (self.place / "out" / stage / log).read_text("utf-8").splitlines()
        names = SHOWN.split()
        return {
            name: text for line in lines for name, equals, text in [line.partition("=")] if equals and name in names
        }

    def cached(self, stage: str, number: int) -> float:
        """The share of a round's prompt tokens that came from the cache."""
        text = (self.place / "out" / stage / f"concurrency_2_round_{number}.json").read_text("utf-8")
        ratio: float = json.loads(text)["summary"]["cached_tokens"]["ratio"]
        return ratio


@contextmanager
def ran(recipe: str, more: Mapping[str, str] | None = None, options: Sequence[str] = ()) -> Iterator[Ran]:
    """Runs a recipe in a directory of its own, with these variables besides ours."""
    env = {name: text for name, text in os.environ.items() if name not in HIDDEN} | {**(more or {})}
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        (place / "recipe.yaml").write_text(recipe)
        prompts = (
            json.dumps({"text": f"{number} is the number of prompt {number}. " * 12}) for number in range(PROMPTS)
        )
        (place / "prompts.jsonl").write_text("\n".join(prompts))
        command = [sys.executable, str(ROOT / "bin" / "fluxperf"), "--recipe", "recipe.yaml", "--no-progress", *options]
        ended = subprocess.run(
            command, cwd=place, env=env, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
        )
        yield Ran(ended.returncode, ended.stdout, ended.stderr, place)


def test_values_are_texts_as_they_are_written() -> None:
    recipe = f"""
global: {{{GLOBAL}}}
{MOCK}
hooks: {{before_stage: "{SHOW}"}}
stages:
  - name: one
    env: {{A: false, B: 0.10, C: 0x1F, LEVEL: on}}
"""
    with ran(recipe) as run:
        assert run.code == 0, run.err
        seen = run.seen("one")
        assert [seen[name] for name in ("A", "B", "C", "LEVEL")] == ["false", "0.10", "0x1F", "on"], seen
        assert run.run_json()["stages"][0]["env"] == {"A": "false", "B": "0.10", "C": "0x1F", "LEVEL": "on"}


def test_a_stage_stands_above_its_suite_and_that_above_global() -> None:
    recipe = f"""
global: {{{GLOBAL}, env: {{A: of global, B: of global, C: of global}}}}
{MOCK}
hooks: {{before_stage: "{SHOW}"}}
suites:
  - name: suite
    env: {{B: of the suite, C: of the suite}}
    stages:
      - {{name: one, env: {{C: of the stage}}}}
      - {{name: two}}
"""
    with ran(recipe) as run:
        assert run.code == 0, run.err
        one, two = run.seen("suite/one"), run.seen("suite/two")
        assert [one[name] for name in "ABC"] == ["of global", "of the suite", "of the stage"], one
        assert [two[name] for name in "ABC"] == ["of global", "of the suite", "of the suite"], two


def test_a_stage_leaves_nothing_behind_and_null_unsets() -> None:
    recipe = f"""
global: {{{GLOBAL}}}
{MOCK}
hooks: {{before_stage: "{SHOW}"}}
stages:
  - {{name: one, env: {{A: mine, B: null}}}}
  - {{name: two}}
"""
    with ran(recipe, {"B": "from outside"}) as run:
        assert run.code == 0, run.err
        one, two = run.seen("one"), run.seen("two")
        assert (one.get("A"), one.get("B")) == ("mine", None), one
        assert (two.get("A"), two.get("B")) == (None, "from outside"), two


def test_a_stage_that_fails_leaves_nothing_behind() -> None:
    recipe = f"""
global: {{{GLOBAL}}}
continue_on_error: true
{MOCK}
stages:
  - {{name: one, env: {{A: mine}}, hooks: {{before_stage: exit 7}}}}
  - {{name: two, hooks: {{before_stage: "{SHOW}"}}}}
"""
    with ran(recipe) as run:
        assert run.code == 3, run.err
        assert "A" not in run.seen("two")
        assert [stage["state"] for stage in run.run_json()["stages"]] == ["failed", "complete"]


def test_within_a_process_the_environment_comes_back_exactly() -> None:
    before = dict(os.environ)
    try:
        with stage_environment({"PATH": "/nowhere", "FLUXPERF_TEST_ONE": "1", "HOME": None}):
            assert os.environ["PATH"] == "/nowhere"
            assert "HOME" not in os.environ
            os.environ["FLUXPERF_TEST_TWO"] = "by somebody else"
            raise InterruptedError
    except InterruptedError:
        pass
    assert dict(os.environ) == before


def test_variables_are_put_in_from_the_stage_and_then_from_outside() -> None:
    recipe = f"""
global: {{{GLOBAL}, max_output_tokens: "${{LEVEL}}"}}
{MOCK}
hooks: {{before_stage: "{SHOW}"}}
stages:
  - {{name: one, env: {{LEVEL: 3, A: "${{C}}/${{D:-none}}", B: "$$C costs $$5"}}}}
  - {{name: two}}
"""
    with ran(recipe.replace("max_output_tokens: 4, ", ""), {"LEVEL": "2", "C": "outside"}) as run:
        assert run.code == 0, run.err
        limits = [one["configuration"]["max_output_tokens"] for one in run.run_json()["stages"]]
        assert limits == [3, 2], limits
        assert run.seen("one")["A"] == "outside/none"
        assert run.seen("one")["B"] == "$C costs $5"


def test_a_variable_that_is_not_set_is_an_error_before_anything_starts() -> None:
    recipe = f"global: {{{GLOBAL}}}\n{MOCK}\nstages:\n  - {{name: one, env: {{A: '${{NOT_SET_ANYWHERE}}'}}}}\n"
    with ran(recipe) as run:
        assert run.code == 2, run.err
        assert "recipe.yaml:4: stages[0].env.A: needs NOT_SET_ANYWHERE, which is not set" in run.err, run.err
        assert not (run.place / "out").exists()


def test_hooks_know_where_the_run_stands() -> None:
    recipe = f"""
global: {{{GLOBAL}}}
{MOCK}
hooks: {{before_round: "{SHOW}"}}
stages: [{{name: one, env: {{A: mine}}}}]
"""
    with ran(recipe, options=["--rounds", "2"]) as run:
        assert run.code == 0, run.err
        seen = run.seen("one")
        stands = {"A": "mine", "FLUXPERF_STAGE": "one", "FLUXPERF_ROUND": "2", "FLUXPERF_CONCURRENCY": "2"}
        assert {name: seen.get(name) for name in stands} == stands, seen


def test_secrets_are_used_and_not_shown() -> None:
    key, token = "sk-" + "k" * 20, "hf_" + "t" * 20
    recipe = f"""
global: {{{GLOBAL}}}
{MOCK}
hooks: {{before_stage: "test $MY_TOKEN = {token} && {SHOW}"}}
stages: [{{name: one, env: {{MY_TOKEN: {token}}}}}]
"""
    with ran(recipe, {"FLUXPERF_API_KEY": key}) as run:
        assert run.code == 0, run.err
        assert "FLUXPERF_API_KEY" not in run.seen("one")
        assert run.run_json()["stages"][0]["env"] == {"MY_TOKEN": "****"}
        for path in (run.place / "out").rglob("*.json"):
            text = path.read_text("utf-8")
            assert key not in text, path
            assert token not in text, path
        assert token not in run.out + run.err


def test_a_server_that_is_started_for_a_stage_sees_its_environment() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    mock = f"{shlex.quote(sys.executable)} {shlex.quote(str(ROOT / 'mock' / 'llm_mocker.py'))} --port {port}"
    recipe = f"""
global: {{{GLOBAL}, endpoint: "http://127.0.0.1:{port}/v1/chat/completions"}}
server:
  shell: true
  command: |
    {SHOW}
    exec {mock}
  env: {{B: of the server}}
stages:
  - {{name: one, env: {{A: first, B: of the stage, FLUXPERF_MOCK_TOKENS: 1}}}}
  - {{name: two, env: {{A: second, B: of the stage}}}}
"""
    with ran(recipe, {"FLUXPERF_API_KEY": "sk-0123456789"}) as run:
        assert run.code == 0, run.err
        one, two = (run.seen(stage, "server.log") for stage in ("one", "two"))
        assert (one["A"], one["B"], two["A"], two["B"]) == ("first", "of the server", "second", "of the server")
        assert "FLUXPERF_API_KEY" not in one
        rounds = {one["stage"]: one["avg_output_tokens"] for one in run.run_json()["rounds"]}
        assert rounds["one"] < rounds["two"], rounds


def test_a_variable_turns_the_mock_servers_cache_off() -> None:
    recipe = f"""
global: {{{GLOBAL}}}
{MOCK}
stages:
  - {{name: "off", env: {{ENABLE_PREFIX_CACHE: false}}}}
  - {{name: "on", env: {{ENABLE_PREFIX_CACHE: true}}}}
"""
    with ran(recipe, options=["--rounds", "2"]) as run:
        assert run.code == 0, run.err
        assert [run.cached("off", number) for number in (1, 2)] == [0, 0]
        assert run.cached("on", 2) > 0.5


def run_tests() -> bool:
    """Every test of this file, one line each; False: one failed."""
    good = True
    for name, test in [item for item in globals().items() if item[0].startswith("test_")]:
        words = name.removeprefix("test_").replace("_", " ")
        try:
            test()
            say(f"ok       {words}")
        except Exception as error:  # whatever it is, the other tests have something to say too
            good = False
            say(f"FAILED   {words}: {type(error).__name__}: {error}")
    return good


def say(line: str) -> None:
    """Prints it."""
    write_stream(sys.stdout, f"{line}\n")


def main(words: Sequence[str]) -> int:
    """The script; its exit code."""
    if words:
        say(f"{__doc__}")
        return 0 if words[0] in ("-h", "--help") else 2
    return 0 if run_tests() else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
