"""`Session`: what is kept of a conversation, cleaned and in turns. It knows no other conversations, and no files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from itertools import groupby
from operator import attrgetter
from typing import Any, TypeAlias

import msgspec

from fluxperf_tools.sharegpt.conversation import Conversation, Message
from fluxperf_tools.sharegpt.leftovers import clean_text, make_sendable

# What was done to messages, by name; `NOTES` says each in words.
Changes: TypeAlias = Counter[str]
NOTES = {
    "cleaned": "messages cleaned of scrapers' leftovers",
    "empty": "empty messages left out",
    "unasked": "answers to no question left out",
    "joined": "messages joined to the one before, of the same role",
    "repeated": "questions repeated word for word left out",
    "other": "messages of tools left out",
}


@dataclass(frozen=True, slots=True)
class Turn:
    """A question with the system messages before it, and its answer if there is one. No text is empty."""

    system: tuple[str, ...]
    question: str
    answer: str | None


@dataclass(frozen=True, slots=True)
class Session:
    """The turns of a conversation. `id` is the dump's, or None."""

    id: str | None
    turns: tuple[Turn, ...]

    def cut(self, max_turns: int | None) -> Session:
        """The session with its first turns only."""
        return replace(self, turns=self.turns[:max_turns])

    @property
    def texts(self) -> list[str]:
        """What FluxPerf sends of it: system messages and questions."""
        return [text for turn in self.turns for text in (*turn.system, turn.question)]

    @property
    def content(self) -> bytes:
        """16 bytes that are equal for sessions with the same messages, whatever their ids."""
        turns = [(turn.system, turn.question, turn.answer) for turn in self.turns]
        return blake2b(msgspec.json.encode(turns), digest_size=16).digest()

    def row(self) -> dict[str, Any]:
        """The line of the dataset. Both lists are of one length; null stands beside what has no answer."""
        questions: list[Any] = []
        answers: list[str | None] = []
        for turn in self.turns:
            questions += [*({"role": "system", "content": text} for text in turn.system), turn.question]
            answers += [*(None for _ in turn.system), turn.answer]
        return {"session_id": self.id, "user_messages": questions, "assistant_messages": answers}


@dataclass(slots=True)
class _Draft:
    """A turn whose answer may go on."""

    system: tuple[str, ...]
    question: str
    answers: list[str] = field(default_factory=list)


def make_session(conversation: Conversation, changes: Changes) -> Session:
    """The conversation in turns, cleaned; it has none if nothing was asked. What was done is added to `changes`.

    A turn is a question and the answer to it. Answers before the first question, and those whose
    question turned out empty, go; a question whose answer turned out empty stays, without one.
    Messages of one role with none of another between are one, a blank line between their texts; a
    question that is sent again as it stands, though, counts once.
    """
    said = [message for message in conversation.messages if message.role != "other"]
    changes["other"] += len(conversation.messages) - len(said)
    drafts: list[_Draft] = []
    system: list[str] = []
    is_asked = False
    for role, run in groupby(said, key=attrgetter("role")):
        texts = [text for text in (_clean(message, changes) for message in run) if text]
        if role == "system":
            system += texts
        elif role == "user":
            is_asked = bool(texts)
            if is_asked:
                drafts.append(_Draft(tuple(system), _join(_without_repeats(texts, changes), changes)))
                system = []
        elif is_asked:
            drafts[-1].answers += texts
        else:
            changes["unasked"] += len(texts)
    turns = (Turn(draft.system, draft.question, _join(draft.answers, changes) or None) for draft in drafts)
    return Session(conversation.id and make_sendable(conversation.id), tuple(turns))


def _clean(message: Message, changes: Changes) -> str:
    text = clean_text(message.text, message.role == "assistant")
    if not text:
        changes["empty"] += 1
    elif text != message.text:
        changes["cleaned"] += 1
    return text


def _without_repeats(texts: Sequence[str], changes: Changes) -> list[str]:
    kept = [text for place, text in enumerate(texts) if not place or text != texts[place - 1]]
    changes["repeated"] += len(texts) - len(kept)
    return kept


def _join(texts: Sequence[str], changes: Changes) -> str:
    changes["joined"] += max(len(texts) - 1, 0)
    return "\n\n".join(texts)
