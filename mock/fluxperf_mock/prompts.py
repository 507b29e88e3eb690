"""Prompts as the model sees them: one run of bytes, four of them a token, and the keys of its cache blocks.

Four bytes a token is what common tokenizers come to for English text. It keeps what matters here: a
history that goes on is a prefix of its continuation, token for token.
"""

from __future__ import annotations

from collections.abc import Iterable

TOKEN_BYTES = 4


def render_chat(messages: Iterable[tuple[str, str]]) -> bytes:
    """The (role, content) pairs of a conversation as one text that ends where the assistant's answer begins.

    The text of a conversation, followed by the answer, is a prefix of the text of its next turn.
    """
    parts = [f"<|{role}|>\n{content}<|end|>\n" for role, content in messages]
    return "".join([*parts, "<|assistant|>\n"]).encode()


def count_tokens(text: bytes) -> int:
    """How many tokens the text is; a last token may be short."""
    return -(-len(text) // TOKEN_BYTES)


def chain_blocks(text: bytes, block_tokens: int, after: int = 0) -> list[int]:
    """A key for each whole block of the text; each stands for its block and all text before it.

    `after` is the last key of text that this text continues. Keys are good within one process only
    (Python's hash of bytes is salted), which makes them ten times cheaper than a stable digest.
    """
    size = block_tokens * TOKEN_BYTES
    keys = []
    for start in range(0, len(text) - size + 1, size):
        after = hash((after, text[start : start + size]))
        keys.append(after)
    return keys
