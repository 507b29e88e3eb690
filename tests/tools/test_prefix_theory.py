"""The generator's theory against FluxPerf's own run at the mock server: the same cached tokens for every prompt."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fluxperf_tools.generate_prefix_dataset import main
from tests.end_to_end.command import fluxperf_in
from tests.end_to_end.servers import running_mock

FAST = "--prefill-tokens-per-s 1e7 --decode-ms 0 --overhead-ms 0"
PLAIN = "--groups 4 --per-group 5 --shared-tokens 101 --unique-tokens 30"
TREES = "--groups 3 --per-group 2 --shared-tokens 50 --unique-tokens 23 --turns 3 --branching 2"


@pytest.mark.parametrize(
    ("design", "block_tokens", "cache_tokens", "order"),
    [
        (PLAIN, 16, 400_000, "shuffled"),
        (f"{PLAIN} --zipf 1", 8, 400, "shuffled"),
        (f"{PLAIN} --repeat-distance 1", 1, 300, "file"),
        (TREES, 16, 600, "file"),
    ],
)
def test_every_prompt_hits_what_the_theory_says(
    tmp_path: Path, design: str, block_tokens: int, cache_tokens: int, order: str
) -> None:
    output = tmp_path / "prefixes.jsonl"
    sizes = f"--block-sizes {block_tokens} --cache-tokens {cache_tokens}"
    assert main(["--output", str(output), *f"{design} --tokenizer mock --permutations 1 {sizes}".split()]) == 0
    theory = json.loads(output.with_suffix(".theory.json").read_text("utf-8"))
    (expected,) = [one for one in theory["block_caches"] if one["cache_tokens"] == cache_tokens]
    with (
        running_mock(*FAST.split(), "--block-tokens", str(block_tokens), "--cache-tokens", str(cache_tokens)) as mock,
        fluxperf_in(tmp_path) as fluxperf,
    ):
        options = f"--concurrency 1 --round1-order {order} --no-shuffle-round2 --max-output-tokens 4"
        ended = fluxperf(f"--endpoint {mock.url} --dataset {output} --output-dir out {options}")
        assert ended.code == 0, ended.err
        for number in (1, 2):
            round_ = expected[f"{order}_order"][f"round_{number}"]
            requests = {one["index"]: one for one in fluxperf.round(1, number)["requests"]}
            assert [requests[index]["input_tokens"] for index in sorted(requests)] == [
                prompt["tokens"] for prompt in theory["prompts"]
            ]
            assert [requests[index]["cached_tokens"] for index in sorted(requests)] == round_[
                "cached_tokens_of_prompts"
            ]
            assert 0 < round_["hit_rate"] < 1
