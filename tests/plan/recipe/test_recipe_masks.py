from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluxperf.errors import UsageError
from fluxperf.plan.recipe.document import read_document
from fluxperf.plan.recipe.faults import Faults
from fluxperf.plan.recipe.masks import mask_text
from tests.plan.recipe.recipes import URL, Recipes

SECRET = "hunter2-and-more"


def mask(text: str) -> tuple[str, list[str]]:
    return mask_text(read_document(Path("r.yaml"), text.encode(), Faults(Path("r.yaml"))))


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("global: {api_key: S}", "global: {api_key: ****}"),
        ("global: {api_key: 'S'}", "global: {api_key: '****'}"),
        ("global: {api_key: &k S}\nx: *k", "global: {api_key: &k ****}\nx: *k"),
        ("global: {api_key: '${X:-S}'}", "global: {api_key: '****'}"),
        ("env: {HF_TOKEN: S, OTHER: plain}", "env: {HF_TOKEN: ****, OTHER: plain}"),
        ("server: {env: {MY_KEY: S}}", "server: {env: {MY_KEY: ****}}"),
        ("header: ['X-Api-Key: S', 'X-B: c']", "header: ['X-Api-Key: ****', 'X-B: c']"),
        ("header: {Authorization: Bearer S}", "header: {Authorization: ****}"),
        ("header: 'Authorization: Bearer S'", "header: 'Authorization: ****'"),
        ("extra_body: {a: {secret: S, b: c}, max_tokens: 5}", "extra_body: {a: {secret: ****, b: c}, max_tokens: 5}"),
        ('extra_body: \'{"api_key": "S"}\'', 'extra_body: \'{"api_key": "****"}\''),
        ("endpoint: http://me:S@h/v1?a=b", "endpoint: http://me:****@h/v1?a=b"),
        ("endpoint: http://h/v1?api_key=S", "endpoint: http://h/v1?api_key=****"),
        ("prometheus_url: 'http://me:S@h/'", "prometheus_url: 'http://me:****@h/'"),
        ("env: {PROXY: 'http://me:S@h/'}", "env: {PROXY: 'http://me:****@h/'}"),
        ("command: serve --api-key S --port 8", "command: serve --api-key **** --port 8"),
        ("command: [serve, --api-key, S]", "command: [serve, --api-key, ****]"),
        ("command: [serve, --api-key=S]", "command: [serve, --api-key=****]"),
        ("startup_command: MY_KEY=S vllm serve", "startup_command: MY_KEY=**** vllm serve"),
        ("startup_command: |\n  export A_TOKEN=S\n  serve", "startup_command: |\n  export A_TOKEN=****\n  serve"),
        ("hooks: {before_stage: 'curl --token S'}", "hooks: {before_stage: 'curl --token ****'}"),
        ("hooks: {before_stage: [[curl, --token, S]]}", "hooks: {before_stage: [[curl, --token, ****]]}"),
        ("api_key: S # S it is", "api_key: **** # **** it is"),
        ("# api_key: S\na: b", "# api_key: ****\na: b"),
        ("a: b  # command: serve --api-key S", "a: b  # command: serve --api-key ****"),
        ("x: &x {api_key: S}\nglobal: {<<: *x}", "x: &x {api_key: ****}\nglobal: {<<: *x}"),
        # Written otherwise than it is meant.
        ('api_key: "S\\u0021"', "api_key: ****"),
        ("api_key: |\n  S\nx: y", "api_key: ****\n  ****\nx: y"),
        ("api_key: >-\n  S\n  S", "api_key: ****\n  ****\n  ****"),
    ],
)
def test_secret_is_masked(text: str, masked: str) -> None:
    shown, secrets = mask(text.replace("S", SECRET).replace("****", "****"))
    assert shown == masked.replace("S", SECRET)
    assert "****" in shown
    assert SECRET not in shown
    assert secrets or text.lstrip().startswith("#") or "# command" in text


@pytest.mark.parametrize(
    "text",
    [
        "global: {api_key_env: MY_KEY, client_key: key.pem, max_output_tokens: 5, tokenizer: x}",
        "api_key: ${MY_KEY}",
        "api_key: null",
        "header: ['Authorization: Bearer ${TOKEN}']",
        "env: {HF_TOKEN: '${HF_TOKEN}', TOKENIZERS_PARALLELISM: false}",
        "mock_server: {tokens: 5, cache_tokens: 6, tls_key: k.pem}",
        "extra_body: {stop_token_ids: [1], top_k: 5}",
        "command: [serve, --max-tokens, 5]",
        "endpoint: http://h:8000/v1",
    ],
)
def test_what_is_no_secret_is_shown(text: str) -> None:
    assert mask(text) == (text, [])


@given(st.text("ab:#-[]{}|>&*'\" \n=") | st.text())
def test_lines_stay_where_they_are(text: str) -> None:
    text = f"a: b\nenv: {{A_KEY: {SECRET}}}\n{text}"
    try:
        document = read_document(Path("r.yaml"), text.encode(errors="replace"), Faults(Path("r.yaml")))
    except UsageError:
        return
    shown, _ = mask_text(document)
    assert shown.count("\n") == document.text.count("\n")
    assert SECRET not in shown


def test_secrets_with_their_variables_put_in_are_known(recipes: Recipes) -> None:
    recipes.environ |= {"K": "key-in-env", "P": "pass-word"}
    campaign = recipes.load(f"""
        global: {{dataset: d.jsonl, endpoint: '{URL}', api_key: '${{K}}', env: {{A_TOKEN: 'to-${{K}}'}}}}
        server: {{command: 'serve --api-key k-${{K}}', env: {{B_TOKEN: 'b-${{K}}'}}}}
        hooks: {{before_stage: [serve, --token, 'h-${{K}}']}}
        stages: [{{name: A, reset_cache_url: 'http://me:${{P}}@h/', header: {{X-Key: 'x-${{K}}'}}}}]
        """)
    wanted = {f"{start}key-in-env" for start in ("", "to-", "k-", "b-", "h-", "x-")} | {"pass-word"}
    assert wanted <= set(campaign.secrets)
    assert campaign.recipe is not None
    assert "${K}" in campaign.recipe.text
    assert "key-in-env" not in repr(campaign.recipe)


def test_no_fault_shows_a_secret(recipes: Recipes) -> None:
    faults = recipes.faults(recipes.with_global(f"api_key: {SECRET}", f"rounds: {SECRET}", f"label: {SECRET}"))
    assert len(faults) == 2
    assert SECRET not in " ".join(faults)
