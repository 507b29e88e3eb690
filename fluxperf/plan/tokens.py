"""`Tokens`: how many tokens a text has, by the model's own tokenizer or as an estimate. Knows no entries' forms.

Counting belongs before or after what is timed, never inside it. No special tokens are added: what a
server's chat template puts around a message is not in these numbers.
"""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from hashlib import sha256
from typing import TYPE_CHECKING, Protocol

from fluxperf.errors import UsageError
from fluxperf.plan.entry import estimate_tokens
from fluxperf.plan.tokenizer_file import find_tokenizer

if TYPE_CHECKING:
    from tokenizers import Tokenizer

_PARALLELISM = "TOKENIZERS_PARALLELISM"
# A text that is to be cut is looked at only as far as tokens as wide as these would reach.
_WIDE_TOKEN_CHARACTERS = 16
_MARGIN_CHARACTERS = 1024


class Tokens(Protocol):
    """Counts tokens. `name` is "estimate", or what was given as --tokenizer; `exact`: it is no estimate.

    `sha256` is the hex digest of its file; None: there is none.
    """

    @property
    def name(self) -> str: ...  # noqa: D102

    @property
    def exact(self) -> bool: ...  # noqa: D102

    @property
    def sha256(self) -> str | None: ...  # noqa: D102

    def count(self, text: str) -> int:
        """The tokens in the text."""
        ...

    def count_all(self, texts: Sequence[str]) -> list[int]:
        """The tokens in each; faster than one by one."""
        ...

    def cut(self, text: str, limit: int) -> str:
        """A beginning of the text with at most `limit` tokens, counted by itself; the text if it has no more."""
        ...


class _Estimate:
    """The rule of thumb of `estimate_tokens`."""

    name = "estimate"
    exact = False
    sha256 = None

    def count(self, text: str) -> int:
        return estimate_tokens(text)

    def count_all(self, texts: Sequence[str]) -> list[int]:
        return [estimate_tokens(text) for text in texts]

    def cut(self, text: str, limit: int) -> str:
        if limit < 1 or estimate_tokens(text) <= limit:
            return text if limit >= 1 else ""
        # The estimate never falls as a text grows, and the lightest characters are four a token.
        lengths = range(min(len(text), 4 * limit + 4) + 1)
        return text[: bisect_right(lengths, limit, key=lambda length: estimate_tokens(text[:length])) - 1]


ESTIMATE: Tokens = _Estimate()


class FileTokens:
    """A model's own tokens, by its tokenizer.json. `sha256` is the hex digest of that file's bytes.

    One thread does it all, and none is left behind, so that the process can be forked; unless it is
    `parallel`, which makes `count_all` faster with every core.
    """

    exact = True

    def __init__(self, name: str, data: bytes, *, parallel: bool = False) -> None:
        """`data` is the content of a tokenizer.json. Raises ValueError if it is none, ImportError without the extra."""
        from tokenizers import Tokenizer

        self.name = name
        self.sha256 = sha256(data).hexdigest()
        self._parallel = parallel
        self._tokenizer = Tokenizer.from_buffer(data)
        _count_everything(self._tokenizer)

    def count(self, text: str) -> int:
        """The tokens in the text."""
        return self.count_all([text])[0]

    def count_all(self, texts: Sequence[str]) -> list[int]:
        """The tokens in each."""
        texts = [_without_surrogates(text) for text in texts]
        with _threads(self._parallel):
            return [len(one) for one in self._tokenizer.encode_batch_fast(texts, add_special_tokens=False)]

    def cut(self, text: str, limit: int) -> str:
        """A beginning of the text with at most `limit` tokens, counted by itself; the text if it has no more.

        It ends between two tokens of the text and two of its characters. That may not be enough, since
        a beginning can have other tokens than the whole: then it is cut again.
        """
        beginning = text[: limit * _WIDE_TOKEN_CHARACTERS + _MARGIN_CHARACTERS]
        if self.count(beginning) <= limit:
            if len(beginning) == len(text):
                return text
            beginning = text
        while (end := self._find_end(beginning, limit)) is not None:
            beginning = beginning[:end]
        return beginning

    def _find_end(self, text: str, limit: int) -> int | None:
        """Where the first `limit` tokens end, which is before the text does; None: it has no more than these."""
        with _threads(self._parallel):
            offsets = self._tokenizer.encode(_without_surrogates(text), add_special_tokens=False).offsets
        if len(offsets) <= limit:
            return None
        # A token that is a part of a character has the place of all of it, which may be the text's last.
        return min(offsets[limit - 1][1] if limit > 0 else 0, len(text) - 1)


def load_tokens(name: str | None, revision: str | None = None, *, parallel: bool = False) -> Tokens:
    """The tokens of a folder with a tokenizer.json, of such a file, or of a model of the hub; None: ESTIMATE.

    `revision` is the branch, tag or commit on the hub. `parallel`: `count_all` may use every core, which
    leaves threads: nothing for a process that will fork. Raises UsageError that says what to do, and
    RunFailed if the hub cannot be reached.
    """
    if name is None:
        return ESTIMATE
    _check_library(name)
    path = find_tokenizer(name, revision)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UsageError(f"tokenizer {name}: {path} cannot be read: {error.strerror or error}") from None
    try:
        return FileTokens(name, data, parallel=parallel)
    except ValueError as error:
        hint = "; it is a pointer of Git LFS: git lfs pull fetches it" if data.startswith(b"version https") else ""
        raise UsageError(f"tokenizer {name}: {path} is not a tokenizer.json that can be used: {error}{hint}") from None


def _check_library(name: str) -> None:
    try:
        import tokenizers  # noqa: F401
    except ImportError as error:
        raise UsageError(
            f"tokenizer {name}: the tokenizers library is missing ({error}): "
            "pip install 'fluxperf[tokenizers]', or in a clone: pip install tokenizers huggingface-hub"
        ) from None


def _count_everything(tokenizer: Tokenizer) -> None:
    """Turns off what a file may ask for in training or for batches of one length, and which makes counts wrong."""
    tokenizer.no_truncation()
    tokenizer.no_padding()
    if getattr(tokenizer.model, "dropout", None):  # of merges, at random
        tokenizer.model.dropout = None


def _without_surrogates(text: str) -> str:
    """The text with a question mark for each half of a character; the library takes none."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode(errors="replace").decode()
    return text


@contextmanager
def _threads(parallel: bool) -> Iterator[None]:
    """Unless `parallel`, the library works in this thread alone within the block.

    Only there: a server that is started later has the environment as the user set it.
    """
    if parallel:
        yield
        return
    before = os.environ.get(_PARALLELISM)
    os.environ[_PARALLELISM] = "false"
    try:
        yield
    finally:
        if before is None:
            del os.environ[_PARALLELISM]
        else:
            os.environ[_PARALLELISM] = before
