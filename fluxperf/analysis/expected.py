"""How much of a round a prefix cache could have served: what its prompts have in common, and what was sent before."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from statistics import median_low

from fluxperf.model import PromptBytes, Timeline

# The sizes of a cache block in tokens that engines have, unless they are told otherwise.
BLOCKS = (1, 16, 32, 256)
# A chat template is rarely longer. What a fit finds beyond it is the fit's fault, unless half of
# the prompts found as much in the cache.
TEMPLATE_TOKENS = 64
# Prompts of one length say nothing of the template; what half of them found is it, if it is not most of the prompt.
# And no more than what is too much for their text.
MOST_OF_A_PROMPT, BYTES_A_TOKEN = 0.9, 4


def expected_when_repeated(requests: Iterable[Timeline]) -> dict[int, float]:
    """The share of prompt tokens that an endless cache holds, if all prompts were sent before; by block size.

    The last token is computed in any case, because the first one of the answer comes out of it.
    """
    prompts = [request.input_tokens for request in requests if request.input_tokens]
    return {
        block: _share(((tokens - 1) // block * block for tokens in prompts), prompts) for block in BLOCKS if prompts
    }


def expected_at_first(
    requests: Iterable[Timeline], prompts: Sequence[PromptBytes], mean_hits: float = 0
) -> dict[int, float]:
    """The same of prompts that are new: what each has in common with the beginning of another one, by block size.

    Prompts are known in bytes, and a line through (bytes, tokens) of those whose usage is known says how many tokens
    that is. Where it begins are the tokens of the chat template, or of a system prompt that the server adds, which all
    of them share. `mean_hits` are the tokens that a prompt found by the server's counters.

    `requests` are in order of index, then turn. A later turn of a session has all of the turn before it in common, with
    what that was answered. Where turns were left out in between, it has what it found: its system messages, and no more
    can be said. Without `prompts` nothing is known of the first turns.
    """
    tokens, found = {}, []
    repeated = array("q")  # of each later turn, how much of it was sent or answered before
    later_tokens = array("q")
    before: Timeline | None = None
    for request in requests:
        if request.input_tokens and not request.turn:
            tokens[request.index] = request.input_tokens
            found.append(request.believed_cached_tokens)
        elif request.input_tokens:
            repeated.append(_repeated(before, request))
            later_tokens.append(request.input_tokens)
        before = request
    known = [prompt for prompt in prompts if prompt.index in tokens]
    if not known and not repeated:
        return {}
    if not known:
        totals = [*tokens.values(), *later_tokens]
        return {block: _share((common // block * block for common in repeated), totals) for block in BLOCKS}
    lengths, counts = [prompt.length for prompt in known], [tokens[prompt.index] for prompt in known]
    template, per_byte = fit_line(lengths, counts, _found_by_most(found, mean_hits))
    shared = [
        min(template + per_byte * prompt.shared, tokens[prompt.index] - 1) if place else 0.0
        for place, prompt in enumerate(known)
    ]
    return {
        block: _share((common // block * block for common in (*shared, *repeated)), [*counts, *later_tokens])
        for block in BLOCKS
    }


def _repeated(before: Timeline | None, request: Timeline) -> int:
    """How many tokens of a later turn are those of the turn before it and of its answer."""
    if before is None or (before.index, before.turn + 1) != (request.index, request.turn):
        return 0
    if before.dropped_turns != request.dropped_turns:
        # All that is said after the system messages has moved. How long these are only the one knows who found them.
        return request.believed_cached_tokens or 0
    return min(before.input_tokens + before.output_tokens, request.input_tokens - 1)


def _found_by_most(found: Sequence[int | None], mean_hits: float) -> float:
    """What half of the prompts found in the cache, at the least. The first ones had to put it there."""
    if all(tokens is None for tokens in found):
        return mean_hits
    return median_low(tokens or 0 for tokens in found)


def fit_line(lengths: Sequence[int], tokens: Sequence[int], found_by_most: float = 0) -> tuple[float, float]:
    """Tokens before the first byte, and tokens a byte: by least squares, within what can be.

    `found_by_most`: so many tokens were found in the cache for half of the prompts.
    """
    mean_length, mean_tokens = sum(lengths) / len(lengths), sum(tokens) / len(tokens)
    spread = sum((length - mean_length) ** 2 for length in lengths)
    if spread:
        pairs = zip(lengths, tokens, strict=True)
        slope = sum((length - mean_length) * (count - mean_tokens) for length, count in pairs) / spread
        most = max(TEMPLATE_TOKENS, found_by_most)
        template = min(max(mean_tokens - slope * mean_length, 0), most, min(tokens))
    elif found_by_most < MOST_OF_A_PROMPT * mean_tokens:
        template = min(found_by_most, max(mean_tokens - mean_length / BYTES_A_TOKEN, 0))
    else:
        template = 0.0
    return template, max(mean_tokens - template, 0) / mean_length if mean_length else 0.0


def _share(parts: Iterable[float], totals: Sequence[int]) -> float:
    return sum(parts) / sum(totals)
