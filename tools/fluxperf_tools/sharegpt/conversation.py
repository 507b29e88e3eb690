"""The forms that a conversation has in ShareGPT dumps, each read into a `Conversation`. It knows no files, nor cleans.

{"id": "QWJhYvA_0", "conversations": [{"from": "human", "value": "..."}, {"from": "gpt", "value": "..."}]}
{"id": ..., "items": [...]}                                             the site's own, and older dumps
{"messages": [{"role": "user", "content": "..."}, ...]}                 as OpenAI has them; also a bare list
{"conversation_id": 1, "conversation": [{"human": "...", "assistant": "..."}, ...]}
{"session_id": ..., "user_messages": [...], "assistant_messages": [...]}          what this tool writes
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, cast

from fluxperf.errors import DatasetError

Role: TypeAlias = Literal["system", "user", "assistant", "other"]

_ROLES: dict[str, Role] = {
    "system": "system",
    "developer": "system",
    **dict.fromkeys(("human", "user", "prompter"), "user"),
    **dict.fromkeys(("gpt", "assistant", "chatgpt", "bing", "bard", "model", "bot"), "assistant"),
    **dict.fromkeys(("tool", "function", "function_call", "tool_call", "tool_response", "observation"), "other"),
}
_LISTS = ("conversations", "items", "messages", "conversation")
_IDS = ("session_id", "id", "conversation_id")
_TEXTS = ("value", "content", "text", "markdown")


@dataclass(frozen=True, slots=True)
class Message:
    """What somebody said, as the dump has it; "other" is a tool's call or its result."""

    role: Role
    text: str


@dataclass(frozen=True, slots=True)
class Conversation:
    """An entry of a dump. `id` is None where it has none."""

    id: str | None
    messages: tuple[Message, ...]


def read_conversation(entry: object) -> Conversation:
    """The conversation that an entry (decoded JSON) holds; DatasetError says what is wrong with it."""
    if isinstance(entry, list):
        return Conversation(None, tuple(_messages(entry, "the list")))
    if not isinstance(entry, dict):
        raise DatasetError(f"an entry must be an object, but is {_kind(entry)}")
    if isinstance(entry.get("user_messages"), list):
        return Conversation(_id(entry), tuple(_messages(_interleaved(entry), "user_messages")))
    name = next((name for name in _LISTS if entry.get(name) is not None), None)
    if name is None:
        keys = ", ".join(repr(key[:40]) for key in list(entry)[:12])
        raise DatasetError(f"no conversation: it has the keys {keys or '(none)'}, but none of {', '.join(_LISTS)}")
    items = entry[name]
    if not isinstance(items, list):
        raise DatasetError(f"{name} must be a list of messages, but is {_kind(items)}")
    return Conversation(_id(entry), tuple(_messages(items, name)))


def _interleaved(entry: dict[str, Any]) -> list[Any]:
    """The messages of a row of our own in their order, each answer behind its question."""
    questions = entry["user_messages"]
    answers = entry.get("assistant_messages")
    answers = answers if isinstance(answers, list) and len(answers) == len(questions) else [None] * len(questions)
    items: list[Any] = []
    for question, answer in zip(questions, answers, strict=True):
        item = {"role": "user", **question} if isinstance(question, dict) else question
        item = {"role": "user", "content": item} if isinstance(item, str) else item
        items.append(item)
        if isinstance(item, dict) and item["role"] == "user":
            items.append({"role": "assistant", "content": answer})  # null, too: what follows is another turn
    return items


def _messages(items: list[Any], name: str) -> Iterator[Message]:
    for place, item in enumerate(items):
        where = f"{name}[{place}]"
        if not isinstance(item, dict):
            raise DatasetError(f"{where} must be an object, but is {_kind(item)}")
        if "human" in item and "from" not in item and "role" not in item:  # question and answer as one
            yield Message("user", _text(item["human"], f"{where}.human"))
            yield Message("assistant", _text(item.get("assistant"), f"{where}.assistant"))
        else:
            yield _message(item, where)


def _message(item: dict[str, Any], where: str) -> Message:
    name = item.get("from", item.get("role"))
    if not isinstance(name, str):
        raise DatasetError(f"{where} has no role: it needs from or role, such as human or gpt")
    role = _ROLES.get(name.strip().lower())
    if role is None:
        raise DatasetError(f"{where} has the unknown role {name[:40]!r}; known are {', '.join(_ROLES)}")
    if role == "other":
        return Message(role, "")
    key = next((key for key in _TEXTS if item.get(key) is not None), None)
    return Message(role, _text(item[key], f"{where}.{key}") if key else "")


def _text(value: object, where: str) -> str:
    """A text; of a list of parts the texts, put together with nothing between, as FluxPerf reads them."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return "".join(_part(part, f"{where}[{place}]") for place, part in enumerate(value))
    raise DatasetError(f"{where} must be a string, but is {_kind(value)}")


def _part(part: object, where: str) -> str:
    if isinstance(part, str):
        return part
    text = cast("dict[str, object]", part).get("text") if isinstance(part, dict) else None
    if isinstance(text, str):
        return text
    raise DatasetError(f"{where} is no text: only text can be sent")


def _id(entry: dict[str, Any]) -> str | None:
    value = next((entry[name] for name in _IDS if entry.get(name) is not None), None)
    if isinstance(value, bool) or not isinstance(value, str | int):
        return None
    return str(value).strip() or None


def _kind(value: object) -> str:
    if value is None:
        return "null"
    kinds: dict[type, str] = {str: "a string", bool: "a boolean", list: "a list", dict: "an object"}
    return kinds.get(type(value), "a number")
