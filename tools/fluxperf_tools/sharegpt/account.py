"""The account of a conversion for people: what became of the entries, and what is in the file that was written."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Any

import msgspec

from fluxperf.plan.tokens import Tokens
from fluxperf_tools.sharegpt.gathering import Gathered, Limits
from fluxperf_tools.sharegpt.pool import Choice, Pool
from fluxperf_tools.sharegpt.session import NOTES
from fluxperf_tools.summary import align, counted, sized
from fluxperf_tools.validation_figures import spread
from fluxperf_tools.writing import Written


@dataclass(slots=True)
class Sent:
    """What FluxPerf would send of the rows that went through `count`. `alike`: rows that ask what one before asks."""

    tokens: Tokens
    turns: array[int] = field(default_factory=lambda: array("Q"))
    counts: array[int] = field(default_factory=lambda: array("Q"))
    alike: int = 0
    _asked: set[bytes] = field(default_factory=set)

    def count(self, rows: Iterable[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
        """The rows, each counted as it goes by."""
        for row in rows:
            messages = row["user_messages"]
            texts = [message if isinstance(message, str) else message["content"] for message in messages]
            self.turns.append(sum(isinstance(message, str) for message in messages))
            self.counts.append(sum(self.tokens.count_all(texts)))
            digest = blake2b(msgspec.json.encode(messages), digest_size=8).digest()
            self.alike += digest in self._asked
            self._asked.add(digest)
            yield row


def account_of_entries(gathered: Gathered, pool: Pool, limits: Limits, choice: Choice) -> Iterator[str]:
    """What was read, what was left out and why, and what was chosen."""
    counts = {
        "bad": gathered.bad,
        "without a question": gathered.unasked,
        f"of fewer than {counted(limits.min_turns, 'turn')}": gathered.too_few_turns,
        f"of fewer than {limits.min_tokens} tokens": gathered.too_few_tokens,
        f"of more than {limits.max_tokens} tokens": gathered.too_many_tokens,
        "duplicates": pool.duplicates,
    }
    rows = [("entries read", gathered.read), *((f"- {name}", count) for name, count in counts.items() if count)]
    rows.append(("= sessions", pool.distinct))
    if gathered.cut:
        rows.append((f"  cut to {counted(limits.max_turns or 0, 'turn')}", gathered.cut))
    if pool.ambiguous:
        rows.append(("  ids of several sessions", pool.ambiguous))
    yield from align(rows)
    asked = choice.max_sessions
    if not gathered.is_whole:
        yield f"  The first {counted(len(pool), 'session')} there were: reading ended with the last of them."
    elif asked is not None and asked > len(pool):
        yield f"  {asked:,} were asked for, but there are {len(pool):,}: all were taken, each once."
    elif asked is not None:
        yield f"  {len(pool):,} of them were chosen by the seed {choice.seed}."


def account_of_cleaning(gathered: Gathered) -> Iterator[str]:
    """What was done to messages."""
    rows = [(words, gathered.changes[name]) for name, words in NOTES.items() if gathered.changes[name]]
    yield from align([(count, words) for words, count in rows])


def account_of_output(path: Path, written: Written, sent: Sent) -> Iterator[str]:
    """What is in the file."""
    replaced = ", in the place of the file that was there" if written.replaced else ""
    yield f"{path}: {counted(written.rows, 'session')}, {sized(written.size_bytes)}{replaced}"
    turns, counts = spread(sent.turns), spread(sent.counts)
    how = f"by {sent.tokens.name}" if sent.tokens.exact else "estimated"
    if turns and counts:
        rows = [("turns", f"{turns}; {turns.total:,} in all")]
        rows += [("tokens asked", f"{counts}"), ("", f"{counts.total:,} in all ({how})")]
        yield from align(rows)
    if sent.alike:
        verb = "asks" if sent.alike == 1 else "ask"
        yield f"  {counted(sent.alike, 'session')} {verb} what another one asks, but got other answers."
