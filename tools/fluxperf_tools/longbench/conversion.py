"""Rows of sources in, a file of prompts out. Each source is read once, and prompts wait on disk until they are chosen.

Memory does not grow with the number of entries.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from fluxperf.errors import UsageError
from fluxperf.meter import Meter, track
from fluxperf.plan.tokens import Tokens
from fluxperf_tools.longbench.prompts import Unusable, choose_format, read_entry, write_prompt
from fluxperf_tools.longbench.report import Outcome, describe
from fluxperf_tools.longbench.sample import Draw, Row, Sieve, Wish, digest, split
from fluxperf_tools.longbench.sources import Source, total_bytes
from fluxperf_tools.longbench.tally import Tally
from fluxperf_tools.longbench.tasks import Format
from fluxperf_tools.longbench.texts import Texts
from fluxperf_tools.reading import Fault, Record, read_records
from fluxperf_tools.summary import counted
from fluxperf_tools.writing import write_jsonl

_BATCH_TEXTS = 64
_BATCH_CHARACTERS = 1 << 20


@dataclass(frozen=True, slots=True)
class Order:
    """What is asked for. `form` is None for auto; exactly one of `names`, `file` and `folder` is given."""

    names: tuple[str, ...]
    file: Path | None
    folder: Path | None
    output: Path
    no_clobber: bool
    strict: bool
    form: Format | None
    wish: Wish
    least_tokens: int | None
    most_tokens: int | None
    tokenizer: str | None

    @property
    def limits_tokens(self) -> bool:
        """Whether an entry can have too few tokens or too many."""
        return self.least_tokens is not None or self.most_tokens is not None

    def is_outside(self, tokens: int) -> bool:
        """Whether a text of so many tokens is left out."""
        is_short = self.least_tokens is not None and tokens < self.least_tokens
        return is_short or (self.most_tokens is not None and tokens > self.most_tokens)


class _Prompt(NamedTuple):
    rank: int
    is_named: bool
    alike: int
    group: int
    text: str


def convert(sources: Sequence[Source], order: Order, tokens: Tokens) -> list[str]:
    """Writes the file; returns the summary. Raises UsageError if nothing can be used, or as `write_jsonl`."""
    tally = Tally(order.strict)
    folder = next(folder for folder in order.output.absolute().parents if folder.exists())
    with Texts(folder) as texts:
        draw = Draw(_rows(sources, order, tokens, texts, tally), order.wish)
        tally.say_how_many_more()
        if not draw.left:
            raise UsageError(_say_why_empty(draw, order, tally))
        texts.finish()
        outcome = Outcome(sources, order, tokens, tally, draw)
        rows = track(_chosen(draw, texts, outcome), "Writing", len(draw.chosen))
        written = write_jsonl(order.output, rows, no_clobber=order.no_clobber)
    return list(describe(outcome, written))


def _rows(sources: Sequence[Source], order: Order, tokens: Tokens, texts: Texts, tally: Tally) -> Iterator[Row]:
    """All entries; the texts of those that may be chosen are kept."""
    sieve = Sieve(order.wish)
    for batch in _batches(_prompts(sources, order, tally)):
        counts = tokens.count_all([prompt.text for prompt in batch]) if order.limits_tokens else [0] * len(batch)
        for prompt, count in zip(batch, counts, strict=True):
            is_outside = order.limits_tokens and order.is_outside(count)
            is_kept = not is_outside and (not prompt.is_named or sieve.admits(prompt.rank))
            place, size = texts.add(prompt.text) if is_kept else (0, 0)
            high, low = split(prompt.rank)
            content = digest(prompt.text)
            yield Row(high, low, prompt.is_named, prompt.alike, content, prompt.group, is_outside, count, place, size)


def _batches(prompts: Iterator[_Prompt]) -> Iterator[list[_Prompt]]:
    """The prompts in lists that are not too long: tokenizers are faster with several at once."""
    batch: list[_Prompt] = []
    characters = 0
    for prompt in prompts:
        batch.append(prompt)
        characters += len(prompt.text)
        if len(batch) >= _BATCH_TEXTS or characters >= _BATCH_CHARACTERS:
            yield batch
            batch, characters = [], 0
    if batch:
        yield batch


def _prompts(sources: Sequence[Source], order: Order, tally: Tally) -> Iterator[_Prompt]:
    """The prompt of each row that can be used."""
    with Meter("Reading", total_bytes(sources), of_bytes=True) as bar:
        for source in sources:
            for found in read_records(source.path, bar.advance, source.member):
                prompt = _read(found, source, order, tally) if isinstance(found, Record) else found
                if isinstance(prompt, Fault):
                    tally.add_fault(prompt)
                else:
                    yield prompt


def _read(record: Record, source: Source, order: Order, tally: Tally) -> _Prompt | Fault:
    try:
        entry = read_entry(record.value, *source.name_task(record.place.path))
        choice = choose_format(entry, order.form)
        text = write_prompt(entry, choice.form)
    except Unusable as problem:
        return Fault(record.place, str(problem))
    is_named = entry.identity is not None
    alike = entry.text_key
    rank = order.wish.rank(entry.key if is_named else alike)
    return _Prompt(rank, is_named, int.from_bytes(alike[:8], "big"), tally.add(entry, choice), text)


def _chosen(draw: Draw, texts: Texts, outcome: Outcome) -> Iterator[dict[str, str]]:
    """The rows of the file; what they come to is noted in `outcome`."""
    for start in range(0, len(draw.chosen), _BATCH_TEXTS):
        rows = [draw[number] for number in draw.chosen[start : start + _BATCH_TEXTS]]
        prompts = [texts.read(row.place, row.size) for row in rows]
        counts = [row.tokens for row in rows] if outcome.order.limits_tokens else outcome.tokens.count_all(prompts)
        for row, prompt, count in zip(rows, prompts, counts, strict=True):
            outcome.add(row.group, count)
            yield {"text": prompt}


def _say_why_empty(draw: Draw, order: Order, tally: Tally) -> str:
    bounds = (("--min-tokens", order.least_tokens), ("--max-tokens", order.most_tokens))
    limits = " and ".join(f"{name} {limit}" for name, limit in bounds if limit is not None)
    bad = counted(tally.faults, "line is bad", "lines are bad")
    outside = f"{counted(draw.outside, 'entry is', 'entries are')} outside of {limits}"
    reasons = [reason for reason, applies in ((bad, tally.faults), (outside, draw.outside)) if applies]
    said = ", ".join(reasons) or "there are no entries in what was read"
    return f"nothing is left to write: {said}\nnothing is written to {order.output}"
