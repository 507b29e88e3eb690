from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from fluxperf_mock import MockSettings
from fluxperf_mock.cli import HELP, USAGE, main, parse_settings
from fluxperf_mock.dialects import DIALECTS
from fluxperf_mock.faults import FAULTS

ROOT = Path(__file__).resolve().parents[2]


def test_without_options_the_settings_are_the_defaults() -> None:
    assert parse_settings([]) == MockSettings()


def test_every_option_sets_its_field() -> None:
    given = MockSettings(
        host="::1",
        port=0,
        prefill_tokens_per_s=1e6,
        decode_ms=0.5,
        jitter=0,
        overhead_ms=0,
        cache_tokens=0,
        block_tokens=32,
        max_num_seqs=3,
        tokens=7,
        model="tiny",
        seed=1,
        max_concurrent_streams=5,
        replicas=2,
        tls_cert="c.pem",
        tls_key="k.pem",
        engine="sglang",
        faults="drift=0.4,reset-lies",
    )
    argv = "--host ::1 --port=0 --prefill-tokens-per-s 1e6 --decode-ms .5 --jitter 0 --overhead-ms 0 --cache-tokens 0"
    argv += " --block-tokens 32 --max-num-seqs=3 --tokens 7 --model tiny --seed 1"
    argv += " --max-concurrent-streams 5 --replicas=2 --tls-cert c.pem --tls-key k.pem"
    argv += " --engine sglang --faults=drift=0.4,reset-lies"
    assert parse_settings(argv.split()) == given


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ("--port x", "--port must be a whole number from 0 to 65535, not 'x'"),
        ("--port 8001.5", "--port must be a whole number"),
        ("--port=", "--port must be a whole number"),
        ("--port", "--port needs a value"),
        ("--port 1 --port 2", "--port is given twice"),
        ("--jitter -1", "--jitter must be a number from 0 to 0.3, not -1.0"),
        ("--jitter nan", "--jitter must be a number"),
        ("--decode-ms fast", "--decode-ms must be a number"),
        ("--max-num-seqs 0", "--max-num-seqs must be a whole number from 1"),
        ("--model=", "--model must be a name"),
        ("--decode 5", "there is no option --decode; did you mean --decode-ms?"),
        ("--cache-token 5", "there is no option --cache-token; did you mean --cache-tokens?"),
        ("--frobnicate", "there is no option --frobnicate; see fluxperf mock --help"),
        ("-p 5", "there is no option -p"),
        ("8001", "'8001' is no option"),
        ("-- 8001", "there is no option --"),
        ("--engine vlm", "--engine must be one of vllm, sglang, llamacpp, lmcache, trtllm, none, not 'vlm'; did you"),
        ("--faults reset-lie", "--faults names 'reset-lie', which is no fault; did you mean reset-lies?"),
        (
            "--faults=drift=2",
            "--faults gives a value to drift that cannot be: it must be a number from 0 to 1, not '2'",
        ),
        ("--engine sglang --faults preempt", "the fault preempt cannot be seen at engine sglang"),
        ("--replicas 0", "--replicas must be a whole number from 1 to 256, not 0"),
        ("--max-concurrent-streams 0", "--max-concurrent-streams must be a whole number from 1"),
        ("--tls-cert c.pem", "--tls-cert needs --tls-key beside it"),
        ("--tls-key=k.pem", "--tls-key needs --tls-cert beside it"),
        ("--tls-cert= --tls-key k.pem", "--tls-cert must be a name"),
        (
            "--tls-cert /nowhere.pem --tls-key /nowhere.pem",
            "cannot read the TLS certificate /nowhere.pem: No such file",
        ),
        ("--self-test --port 1", "--self-test takes no other option than --replicas"),
        ("--self-test=yes", "there is no option --self-test"),
    ],
)
def test_wrong_usage_ends_with_2_and_says_why(argv: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(argv.split()) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("fluxperf mock: ")
    assert message in said.err
    assert said.err.count("\n") == 1


def test_help_shows_every_default_and_nothing_that_is_not_built(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    assert capsys.readouterr().out == HELP
    assert all(name in USAGE for name in DIALECTS)
    assert all(f"{fault.text}\n" in HELP for fault in FAULTS.values())
    assert "not yet" not in HELP
    assert "Usage: fluxperf mock [options]" in USAGE
    shown = re.findall(r"\[default: (.+)\]", USAGE)
    assert shown == [
        "127.0.0.1",
        "8001",
        "8000",
        "10",
        "0.05",
        "10",
        "400000",
        "16",
        "64",
        "128",
        "128",
        "42",
        "1",
        "vllm",
    ]


def test_a_port_in_use_ends_with_3(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert main(["--port", str(port)]) == 3
    said = capsys.readouterr()
    assert f"cannot listen on 127.0.0.1 port {port}: another program listens there" in said.err
    assert said.out == ""


def test_an_address_that_is_not_ours_ends_with_3(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--host", "192.0.2.1"]) == 3
    assert "cannot listen on 192.0.2.1" in capsys.readouterr().err


@pytest.mark.parametrize(("signum", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_the_script_of_a_clone_serves_until_a_signal(signum: signal.Signals, code: int) -> None:
    command = [sys.executable, str(ROOT / "mock" / "llm_mocker.py"), "--port", "0"]
    with subprocess.Popen(command, cwd="/", stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert re.fullmatch(r"fluxperf mock listening on http://127\.0\.0\.1:\d+/v1/chat/completions\n", line)
        process.send_signal(signum)
        rest, errors = process.communicate(timeout=10)
    assert (process.returncode, rest, errors) == (code, "", "")
