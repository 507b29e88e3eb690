"""Hooks: commands run to their end, and what they leave in the background, until the close."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from typing import Any

import pytest

from fluxperf.errors import HookFailed, Interrupted
from fluxperf.plan.campaign import Hook
from fluxperf.processes.hooks import HookLaunch, HookRunner
from tests.processes.lab import Lab, act, until


def runner(lab: Lab, **changes: Any) -> HookRunner:
    means: dict[str, Any] = {
        "environ": lab.environ,
        "hidden": (),
        "key": None,
        "log": lab.log,
        "say": lab.said.append,
    }
    return HookRunner(HookLaunch(**means | changes))


@pytest.fixture
def hooks(lab: Lab) -> Iterator[HookRunner]:
    hooks = runner(lab)
    yield hooks
    hooks.close()


def test_commands_run_in_their_order_into_one_log(lab: Lab, hooks: HookRunner) -> None:
    hooks.run("before_stage", [Hook(act("say", "one")), Hook((*act("say", "two"),))], {})
    lines = lab.log.read_text().splitlines()
    assert [line.split(", ")[0] for line in lines] == [
        "--- fluxperf: before_stage",
        "one",
        "--- fluxperf: before_stage",
        "two",
    ]
    assert lab.left() == []


def test_its_environment(lab: Lab) -> None:
    path = lab.place / "facts"
    environ = lab.environ | {"STAGE_SAYS": "x", "OPENAI_API_KEY": "other", "COPY": "the-key"}
    hooks = runner(lab, environ=environ, hidden=("OPENAI_API_KEY",), key="the-key")
    facts = {"FLUXPERF_STAGE": "low", "FLUXPERF_ROUND": "1"}
    hooks.run("before_round", [Hook(act("facts", path))], facts)
    told = json.loads(path.read_text())["environ"]
    told.pop("LC_CTYPE", None)
    assert told == lab.environ | {"STAGE_SAYS": "x"} | facts


def test_a_failure_is_told_with_the_end_of_the_log_and_ends_the_hook(lab: Lab) -> None:
    hooks = runner(lab, secrets=("sk-secret",))
    failing = Hook((*act("say", "because of sk-secret", "exit", 4), "--token", "another-secret"))
    with pytest.raises(HookFailed) as caught:
        hooks.run("after_stage", [Hook(act("say", "before")), failing, Hook(act("say", "never"))], {})
    text = str(caught.value)
    assert text.startswith("hook after_stage failed: exit status 4; its command is: ")
    assert text.endswith("  | because of ****")
    assert "another-secret" not in text
    assert "before" not in text.split("\n", 1)[1]
    assert "never" not in lab.log.read_text()


def test_a_failure_takes_along_what_the_command_had_started(lab: Lab, hooks: HookRunner) -> None:
    with pytest.raises(HookFailed, match="exit status 1"):
        hooks.run("before_stage", [Hook(("bash", "-c", "sleep 600 & exit 1"))], {})
    assert lab.left() == []


def test_what_cannot_be_started_is_told(lab: Lab, hooks: HookRunner) -> None:
    with pytest.raises(HookFailed, match="hook before_stage cannot be started: no-such-command: No such file"):
        hooks.run("before_stage", [Hook(("no-such-command",))], {})


def test_one_that_does_not_end_is_ended(lab: Lab, hooks: HookRunner) -> None:
    with pytest.raises(HookFailed, match=r"it did not end within 0\.5 s"):
        hooks.run("before_stage", [Hook(act("hang"), timeout_s=0.5)], {})
    assert lab.left() == []


def test_what_it_leaves_lives_until_the_close(lab: Lab, hooks: HookRunner) -> None:
    hooks.run("before_stage", [Hook(("bash", "-c", "sleep 600 & sleep 600 &"))], {})
    hooks.run("before_round", [Hook(act("say", "next"))], {})
    assert len(lab.left()) == 2
    hooks.close()
    assert lab.left() == []


def test_ctrl_c_ends_the_command(lab: Lab, hooks: HookRunner) -> None:
    def interrupt(signum: int, _frame: object) -> None:
        raise Interrupted(signum)

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.3)
        with pytest.raises(Interrupted):
            hooks.run("before_stage", [Hook(act("say", "on", "hang"))], {})
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    until(lambda: lab.left() == [])
