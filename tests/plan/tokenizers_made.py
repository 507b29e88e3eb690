"""Small tokenizers of the kinds that models have, made here from words and sentences of our own."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tokenizers import Tokenizer

SENTENCES = [
    "The quick cache answers before the slow model has read the question.",
    "A prefix that was sent before need not be computed again, it's in the cache.",
    "Caching, recaching and the cached: how long does the longest prompt wait?",
    "  def answer(question):\n        return cache[question]\n\n",
    "缓存命中率是多少。模型先读问题、再回答。",
    "Größere Modelle brauchen länger, naïve caches aren't faster. 123 4567 😀",
]

# Those whose training does not give the same each time are put together from these.
WORDS = ["the", "cache", "cached", "question", "model", "prompt", "answer", "before", "longest", "need", "again"]
ENDINGS = ["ing", "ed", "er", "re", "st"]
LETTERS = [*"abcdefghijklmnopqrstuvwxyz", *"ABCTGMß", *"0123456789"]


def byte_level() -> Tokenizer:
    """Byte-level BPE with a pattern that looks ahead, as Llama 3, Qwen and GPT have it; offsets without white space."""
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers, processors, trainers

    pattern = r"(?i:'s|'t|'re)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(pattern), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    special = ["<|begin|>", "<|end|>"]
    trainer = trainers.BpeTrainer(
        vocab_size=420, initial_alphabet=alphabet, special_tokens=special, show_progress=False
    )
    made.train_from_iterator(SENTENCES * 3, trainer)
    made.post_processor = processors.Sequence(
        [
            processors.ByteLevel(trim_offsets=True),
            processors.TemplateProcessing(
                single="<|begin|> $A <|end|>", special_tokens=[("<|begin|>", 0), ("<|end|>", 1)]
            ),
        ]
    )
    return made


def word_piece() -> Tokenizer:
    """WordPiece as BERT has it: lower case, no accents, no token for white space, [UNK] for what it does not know."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

    pieces = ["[UNK]", *WORDS, *LETTERS, *(f"##{piece}" for piece in (*LETTERS, *ENDINGS)), *".,:?'。缓存"]
    vocabulary = {piece: number for number, piece in enumerate(dict.fromkeys(pieces))}
    made = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]", max_input_chars_per_word=30))
    made.normalizer = normalizers.BertNormalizer()
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return made


def unigram() -> Tokenizer:
    """Unigram with a mark for spaces, as T5 has it, after a normalisation that makes more characters of some."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

    pieces = [*(f"▁{word}" for word in WORDS), *ENDINGS, "▁", *LETTERS, *".,:?'。缓存\u0308"]
    scores = {piece: -3.0 if len(piece) > 1 else -6.0 for piece in pieces}
    made = Tokenizer(models.Unigram([("<unk>", 0.0), *scores.items()], unk_id=0, byte_fallback=False))
    made.normalizer = normalizers.NFKD()
    made.pre_tokenizer = pre_tokenizers.Metaspace()
    return made


def byte_fallback() -> Tokenizer:
    """BPE over whole texts, with a mark for spaces and bytes for what it does not know, as Llama 2 has it."""
    from tokenizers import Tokenizer, models, normalizers, trainers

    made = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    made.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    special = ["<unk>", *(f"<0x{byte:02X}>" for byte in range(256))]
    trainer = trainers.BpeTrainer(vocab_size=420, special_tokens=special, show_progress=False)
    made.train_from_iterator(SENTENCES[:4] * 3, trainer)
    return made


KINDS: dict[str, Callable[[], Tokenizer]] = {
    made.__name__: made for made in (byte_level, word_piece, unigram, byte_fallback)
}
