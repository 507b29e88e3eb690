"""How much of a round a prefix cache could have served: what its prompts have in common, and what was sent before."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from fluxperf.model import PromptBytes, Timeline

# The size of a cache block in tokens: SGLang and llama.cpp go token by token, vLLM by 16, TensorRT-LLM by 32 and
# LMCache by 256, unless they are told otherwise.
ENGINE_BLOCKS: Mapping[str, int] = {"sglang": 1, "llamacpp": 1, "vllm": 16, "trtllm": 32, "lmcache": 256}
DEFAULT_BLOCK = 16
BLOCKS = tuple(sorted({*ENGINE_BLOCKS.values(), DEFAULT_BLOCK}))
# A chat template is rarely longer; what a fit finds beyond it is the fit's fault.
MOST_TEMPLATE_TOKENS = 64


def expected_when_repeated(requests: Iterable[Timeline]) -> dict[int, float]:
    """The share of prompt tokens that an endless cache holds, if all prompts were sent before; by block size.

    The last token is computed in any case, because the first one of the answer comes out of it.
    """
    prompts = [request.input_tokens for request in requests if request.input_tokens]
    return {
        block: _share(((tokens - 1) // block * block for tokens in prompts), prompts) for block in BLOCKS if prompts
    }


def expected_at_first(requests: Iterable[Timeline], prompts: Sequence[PromptBytes]) -> dict[int, float]:
    """The same of prompts that are new: what each has in common with the beginning of another one, by block size.

    Prompts are known in bytes, and a line through (bytes, tokens) of those whose usage is known says how many tokens
    that is. Where it begins are the tokens of the chat template, which all of them share.
    """
    tokens = {request.index: request.input_tokens for request in requests if request.input_tokens}
    known = [prompt for prompt in prompts if prompt.index in tokens]
    if not known:
        return {}
    template, per_byte = fit_line([prompt.length for prompt in known], [tokens[prompt.index] for prompt in known])
    shared = [
        min(template + per_byte * prompt.shared, tokens[prompt.index] - 1) if place else 0.0
        for place, prompt in enumerate(known)
    ]
    totals = [tokens[prompt.index] for prompt in known]
    return {block: _share((common // block * block for common in shared), totals) for block in BLOCKS}


def fit_line(lengths: Sequence[int], tokens: Sequence[int]) -> tuple[float, float]:
    """Tokens before the first byte, and tokens a byte: by least squares, within what can be."""
    mean_length, mean_tokens = sum(lengths) / len(lengths), sum(tokens) / len(tokens)
    spread = sum((length - mean_length) ** 2 for length in lengths)
    if spread:
        pairs = zip(lengths, tokens, strict=True)
        slope = sum((length - mean_length) * (count - mean_tokens) for length, count in pairs) / spread
        template = min(max(mean_tokens - slope * mean_length, 0), MOST_TEMPLATE_TOKENS, min(tokens))
    else:
        template = 0.0
    return template, max(mean_tokens - template, 0) / mean_length if mean_length else 0.0


def _share(parts: Iterable[float], totals: Sequence[int]) -> float:
    return sum(parts) / sum(totals)
