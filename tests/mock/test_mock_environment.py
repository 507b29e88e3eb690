from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import httpx
import pytest

from fluxperf.errors import UsageError
from fluxperf_mock import MockSettings
from fluxperf_mock.cli import main
from fluxperf_mock.environment import read_surroundings

ROOT = Path(__file__).resolve().parents[2]
DEFAULT_CACHE_TOKENS = MockSettings().cache_tokens


def settings_of(env: dict[str, str], **options: Any) -> MockSettings:
    return read_surroundings(env, options).apply(options)


def test_without_variables_there_is_nothing_to_say() -> None:
    surroundings = read_surroundings({"PATH": "/bin", "FLUXPERF_API_KEY": "x"}, ())
    assert surroundings.apply({}) == MockSettings()
    assert str(surroundings) == ""


def test_every_setting_has_its_variable() -> None:
    asked = MockSettings(
        host="::1",
        port=0,
        prefill_tokens_per_s=1e6,
        decode_ms=0.5,
        jitter=0,
        overhead_ms=0,
        cache_tokens=1,
        block_tokens=32,
        max_num_seqs=3,
        max_concurrent_streams=5,
        replicas=2,
        tokens=7,
        model="tiny",
        seed=1,
        tls_cert="c.pem",
        tls_key="k.pem",
        engine="sglang",
        faults="drift=0.4",
    )
    env = {f"FLUXPERF_MOCK_{field.name.upper()}": str(getattr(asked, field.name)) for field in fields(asked)}
    assert settings_of(env) == asked


def test_an_option_wins_over_its_variable_and_that_is_said() -> None:
    env = {"FLUXPERF_MOCK_TOKENS": "7", "FLUXPERF_MOCK_SEED": "not looked at", "ENABLE_PREFIX_CACHE": "Yes"}
    surroundings = read_surroundings(env, {"seed": 3})
    assert surroundings.apply({"seed": 3}) == MockSettings(tokens=7, seed=3)
    assert str(surroundings) == (
        "from the environment: FLUXPERF_MOCK_TOKENS=7, ENABLE_PREFIX_CACHE=Yes; options win over FLUXPERF_MOCK_SEED"
    )


@pytest.mark.parametrize("off", ["false", "0", "no", "off", "False", "OFF", " no "])
def test_the_prefix_cache_is_turned_off_whatever_the_options_say(off: str) -> None:
    assert settings_of({"ENABLE_PREFIX_CACHE": off}, cache_tokens=5).cache_tokens == 0
    assert settings_of({"ENABLE_PREFIX_CACHE": off, "FLUXPERF_MOCK_CACHE_TOKENS": "5"}).cache_tokens == 0


@pytest.mark.parametrize(
    ("env", "options", "cache_tokens"),
    [
        ({}, {}, DEFAULT_CACHE_TOKENS),
        ({}, {"cache_tokens": 5}, 5),
        ({}, {"cache_tokens": 0}, DEFAULT_CACHE_TOKENS),
        ({"FLUXPERF_MOCK_CACHE_TOKENS": "0"}, {}, DEFAULT_CACHE_TOKENS),
        ({"FLUXPERF_MOCK_CACHE_TOKENS": "6"}, {}, 6),
    ],
)
@pytest.mark.parametrize("on", ["true", "1", "yes", "on", "TRUE"])
def test_the_prefix_cache_is_turned_on_where_there_was_none(
    on: str, env: dict[str, str], options: dict[str, Any], cache_tokens: int
) -> None:
    assert settings_of({"ENABLE_PREFIX_CACHE": on, **env}, **options).cache_tokens == cache_tokens


@pytest.mark.parametrize(
    ("env", "message"),
    [
        ({"FLUXPERF_MOCK_PORT": "x"}, "FLUXPERF_MOCK_PORT must be a whole number from 0 to 65535, not 'x'"),
        ({"FLUXPERF_MOCK_TOKENS": ""}, "FLUXPERF_MOCK_TOKENS must be a whole number"),
        ({"FLUXPERF_MOCK_MODEL": ""}, "FLUXPERF_MOCK_MODEL must be a name"),
        ({"FLUXPERF_MOCK_FAULTS": "drfit"}, "FLUXPERF_MOCK_FAULTS names 'drfit', which is no fault"),
        ({"FLUXPERF_MOCK_TOKEN": "3"}, "FLUXPERF_MOCK_TOKEN, which is no setting .* did you mean FLUXPERF_MOCK_TOKENS"),
        ({"FLUXPERF_MOCK_": "3"}, "FLUXPERF_MOCK_, which is no setting"),
        ({"FLUXPERF_MOCK_TLS_KEY": "k.pem"}, "FLUXPERF_MOCK_TLS_KEY needs --tls-cert beside it"),
        ({"ENABLE_PREFIX_CACHE": "maybe"}, "ENABLE_PREFIX_CACHE must be one of true, 1, .*, not 'maybe'"),
        ({"ENABLE_PREFIX_CACHE": ""}, "ENABLE_PREFIX_CACHE must be one of"),
    ],
)
def test_what_cannot_be_names_its_variable(env: dict[str, str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        settings_of(env)


def test_the_command_ends_with_2_for_a_variable_that_cannot_be(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ENABLE_PREFIX_CACHE", "perhaps")
    assert main(["--port", "0"]) == 2
    assert "fluxperf mock: ENABLE_PREFIX_CACHE must be" in capsys.readouterr().err


@pytest.mark.parametrize("command", [["-m", "fluxperf_mock"], [str(ROOT / "mock" / "llm_mocker.py")]])
def test_a_server_takes_its_environment_says_so_and_is_healthy(command: list[str]) -> None:
    env = {
        **os.environ,
        "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'mock'}",
        "FLUXPERF_MOCK_PORT": "0",
        "FLUXPERF_MOCK_MODEL": "named",
        "ENABLE_PREFIX_CACHE": "false",
    }
    with subprocess.Popen(
        [sys.executable, *command], env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        # A pipe is no terminal: that the line is there before the end shows that it was flushed.
        url = process.stdout.readline().removeprefix("fluxperf mock listening on ").strip()
        health = httpx.get(url.replace("/v1/chat/completions", "/health"), trust_env=False)
        models = httpx.get(url.replace("/chat/completions", "/models"), trust_env=False)
        process.send_signal(signal.SIGTERM)
        errors = process.communicate(timeout=10)[1]
    assert health.status_code == 200
    assert [model["id"] for model in models.json()["data"]] == ["named"]
    assert errors == (
        "fluxperf mock: from the environment: FLUXPERF_MOCK_MODEL=named, FLUXPERF_MOCK_PORT=0, "
        "ENABLE_PREFIX_CACHE=false\n"
    )
