from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluxperf.masking import (
    MASK,
    looks_secret,
    mask_command,
    mask_env,
    mask_fields,
    mask_json,
    mask_url,
    scrub,
    secrets_in_command,
    secrets_in_env,
    secrets_in_json,
)

ROOT = Path(__file__).resolve().parent.parent
KEY = "sk-very+secret/täg"
URL_KEY = "sk-plain-123"


@pytest.mark.parametrize(
    "name",
    [
        "Authorization",
        "X-API-Key",
        "api_key",
        "token",
        "access_token",
        "password",
        "Cookie",
        "X-Amz-Signature",
        "client_secret",
    ],
)
def test_names_that_look_secret(name: str) -> None:
    assert looks_secret(name)


@pytest.mark.parametrize("name", ["max_tokens", "min_output_tokens", "tokenizer", "model", "X-Request-Id"])
def test_names_that_do_not(name: str) -> None:
    assert not looks_secret(name)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://host:8000/v1/chat/completions", "http://host:8000/v1/chat/completions"),
        ("http://me:pass@host/v1", "http://host/v1"),
        ("http://me:p@ss@host/v1", "http://host/v1"),
        ("http://[::1]:80/v1", "http://[::1]:80/v1"),
        ("http://host/v1?api-key=abc&version=2", f"http://host/v1?api-key={MASK}&version=2"),
        ("http://host/v1?token=&token=abc", f"http://host/v1?token={MASK}&token={MASK}"),
        ("http://host/v1?version=a%20b", "http://host/v1?version=a%20b"),
    ],
)
def test_url_is_shown_without_its_secrets(url: str, shown: str) -> None:
    assert mask_url(url) == shown


def test_fields_that_look_secret_are_masked() -> None:
    assert mask_fields([("Authorization", "Bearer x"), ("X-Trace", "7")]) == {"Authorization": MASK, "X-Trace": "7"}


@given(st.lists(st.text("ab", min_size=6, max_size=8), max_size=4), st.text("abc", min_size=20))
def test_no_secret_is_left_and_nothing_else_is_lost(secrets: list[str], text: str) -> None:
    scrubbed = scrub(text, secrets)
    assert not any(secret in scrubbed for secret in secrets)
    assert scrubbed.count("c") == text.count("c")


def test_a_placeholder_for_a_key_is_no_secret() -> None:
    assert scrub("none of the next six", ["x", "none"]) == "none of the next six"


def test_secrets_in_a_body_go_by_their_names() -> None:
    body = {"api_key": "abc", "top_k": 3, "max_tokens": 4, "inner": [{"Authorization": "Bearer q", "n": None}]}
    assert mask_json(body) == {
        "api_key": MASK,
        "top_k": 3,
        "max_tokens": 4,
        "inner": [{"Authorization": MASK, "n": None}],
    }
    assert sorted(secrets_in_json(body)) == ["Bearer q", "abc"]


def test_a_secret_that_begins_another_leaves_nothing_of_it() -> None:
    assert scrub("wrong key sk-123-456 and sk-123", ["sk-123", "sk-123-456"]) == f"wrong key {MASK} and {MASK}"


def command_line_after(code: str, *arguments: str) -> list[str]:
    """The words that ps(1) shows of a process that ran `code`."""
    code += "\nimport pathlib; sys.stdout.buffer.write(pathlib.Path('/proc/self/cmdline').read_bytes())"
    ended = subprocess.run(
        [sys.executable, "-c", f"import sys\n{code}", *arguments], cwd=ROOT, capture_output=True, check=True, timeout=30
    )
    return ended.stdout.decode().rstrip("\0").split("\0")[3:]


def hidden(text: str) -> str:
    return "*" * len(text.encode())


def test_secrets_are_gone_from_the_title_wherever_they_stand() -> None:
    code = "from fluxperf.masking import hide_in_title; hide_in_title([sys.argv[1], '', 'missing'])"
    assert command_line_after(code, KEY, "--quiet", f"--api-key={KEY}{KEY}", "") == [
        hidden(KEY),
        "--quiet",
        f"--api-key={hidden(KEY)}{hidden(KEY)}",
    ]


@pytest.mark.parametrize("words", [["--api-key", KEY], [f"--api-key={KEY}"], ["run", "--seed", "x", "--api-key", KEY]])
def test_the_command_hides_its_key_even_if_the_rest_is_wrong(words: list[str]) -> None:
    shown = command_line_after("from fluxperf.cli import main; assert main(sys.argv[1:]) == 2", *words)
    assert shown == [word.replace(KEY, hidden(KEY)) for word in words]


def test_a_forked_child_shows_no_key_either() -> None:
    code = (
        "import os; from fluxperf.masking import hide_in_title; hide_in_title([sys.argv[1]])\n"
        "if os.fork(): os._exit(os.waitstatus_to_exitcode(os.wait()[1]))"
    )
    assert command_line_after(code, KEY) == [hidden(KEY)]


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        (["vllm", "serve", "--port", "8000"], "vllm serve --port 8000"),
        (["vllm", "--api-key", KEY], f"vllm --api-key {MASK}"),
        (["vllm", f"--api-key={KEY}", "a b"], f"vllm --api-key={MASK} 'a b'"),
        (["vllm", "--hf-token", KEY, "--port", "1"], f"vllm --hf-token {MASK} --port 1"),
        (["vllm", "--enable-auth", "--port", "8000"], "vllm --enable-auth --port 8000"),
        (["x", "--max-num-batched-tokens", "8192"], "x --max-num-batched-tokens 8192"),
        (["x", "--api-key-env", "NAME", "--ssl-keyfile=k.pem"], "x --api-key-env NAME --ssl-keyfile=k.pem"),
        (["env", f"HF_TOKEN={KEY}", "A=1", "vllm"], f"env HF_TOKEN={MASK} A=1 vllm"),
        (["env", "TOKENIZERS_PARALLELISM=false"], "env TOKENIZERS_PARALLELISM=false"),
        (["curl", "-H", f"Authorization: Bearer {KEY}"], f"curl -H 'Authorization: {MASK}'"),
        (["curl", f"--header=X-API-Key:{KEY}"], f"curl '--header=X-API-Key: {MASK}'"),
        (["curl", "-u", f"me:{KEY}", "--user", "1000:1000"], f"curl -u me:{MASK} --user 1000:1000"),
        (["curl", f"http://me:{URL_KEY}@host/v1"], "curl http://host/v1"),
        (["x", f"--url=http://host/v1?token={URL_KEY}"], f"x '--url=http://host/v1?token={MASK}'"),
        (["x", "http://[broken"], "x 'http://[broken'"),
        (["x", "--body", f'{{"api_key": "{KEY}", "n": 1}}'], f'x --body \'{{"api_key": "{MASK}", "n": 1}}\''),
        (["x", "{not json", "[[1]]"], "x '{not json' '[[1]]'"),
        (["bash", "-c", "cd /m && vllm serve"], "bash -c 'cd /m && vllm serve'"),
        (["bash", "-lc", f'HF_TOKEN="{KEY}" vllm;'], f"bash -lc 'HF_TOKEN={MASK} vllm;'"),
        (["/bin/sh", "-c", f"a --api-key {KEY}; b --port 1"], f"/bin/sh -c 'a --api-key {MASK}; b --port 1'"),
        (["sh", "-c", f"a --api-key \\\n {KEY} \\\n --x"], f"sh -c 'a --api-key \\\n {MASK} \\\n --x'"),
        (["sh", "-c", f'curl -H "Authorization: Bearer {KEY}"'], f"sh -c 'curl -H \"Authorization: {MASK}\"'"),
        (["sh", "-c", 'a --api-key "$HF_TOKEN" KEY=${OTHER}'], "sh -c 'a --api-key \"$HF_TOKEN\" KEY=${OTHER}'"),
        (["sh", "-c", "a --enable-auth; b"], "sh -c 'a --enable-auth; b'"),
        (["sh", "-c", f'HF_TOKEN="{KEY}'], f"sh -c HF_TOKEN={MASK}"),
        (["docker", "exec", "c", "bash", "-c", f"KEY={KEY}"], f"docker exec c bash -c KEY={MASK}"),
        (["python", "-c", "key = 1"], "python -c 'key = 1'"),
    ],
)
def test_a_command_is_shown_without_its_secrets(words: list[str], shown: str) -> None:
    assert mask_command(words) == shown
    found = secrets_in_command(words)
    held = [key for key in (KEY, URL_KEY) if key in " ".join(words)]
    assert bool(found) == bool(held)
    assert all(key in found for key in held)


def test_a_line_within_a_line_is_masked_too() -> None:
    words = ["sh", "-c", f"nohup bash -c 'HF_TOKEN={KEY} vllm serve' & x"]
    assert KEY not in mask_command(words)
    assert secrets_in_command(words) == [KEY]


@given(st.lists(st.text("ab -=:'\"$\\;{}\n|&(`/@", max_size=12), max_size=4))
def test_any_command_can_be_shown(words: list[str]) -> None:
    assert shlex.split(mask_command(words)) == words
    mask_command(["bash", "-c", *words])


@given(st.text('bcd:/@;="\\$( ', min_size=1, max_size=8))
def test_no_quoting_lets_a_secret_through(middle: str) -> None:
    secret = f"SECRET{middle}SECRET"
    line = f"a --api-key {shlex.quote(secret)} && HF_TOKEN={shlex.quote(secret)} b"
    assert "SECRET" not in mask_command(["bash", "-c", line])
    assert secrets_in_command(["bash", "-c", line]) == [secret, secret]


def test_variables_are_shown_without_their_secrets() -> None:
    env = {
        "HF_TOKEN": KEY,
        "GONE": None,
        "MY_KEY": "",
        "CACHE": "1 'x",
        "PROXY": f"http://me:{URL_KEY}@host/",
        "ARGS": f"--port 1 --api-key {KEY}",
    }
    assert mask_env(env) == {
        "HF_TOKEN": MASK,
        "GONE": None,
        "MY_KEY": "",
        "CACHE": "1 'x",
        "PROXY": "http://host/",
        "ARGS": f"--port 1 --api-key {MASK}",
    }
    assert {KEY, URL_KEY} <= set(secrets_in_env(env))
    assert mask_env({"FLUXPERF_MOCK_PREFILL_TOKENS_PER_S": "9", "FLUXPERF_MOCK_TOKENS": "3"}) == {
        "FLUXPERF_MOCK_PREFILL_TOKENS_PER_S": "9",
        "FLUXPERF_MOCK_TOKENS": "3",
    }
