"""The forms an entry of a dataset may have, each turned into an `Entry`. Knows bytes, but no files and no lines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, cast

import msgspec

from fluxperf.errors import DatasetError
from fluxperf.plan.entry import Entry, Message, Turn
from fluxperf.plan.syntax import explain

Mode: TypeAlias = Literal["dual_round", "multi_turn"]

# Where an entry has several, the first of these counts: the one that tells most.
FORMS = ("messages", "conversations", "user_messages", "prompt", "text")
_ROLES = {"human": "user", "gpt": "assistant", "chatgpt": "assistant", "bing": "assistant", "bard": "assistant"}
SYSTEM_ROLES = ("system", "developer")
_SENDABLE = (*SYSTEM_ROLES, "user", "assistant", "tool", "function")
_KEPT_KEYS = ("name", "tool_calls", "tool_call_id")


class Line(msgspec.Struct, frozen=True):
    """The keys of an entry that mean something here; null is as good as absent, and others are skipped.

    `data` is no key of an entry, but of a document that wraps a list of them.
    """

    messages: Any = None
    conversations: Any = None
    user_messages: Any = None
    prompt: Any = None
    text: Any = None
    session_id: Any = None
    id: Any = None
    max_output_tokens: Any = None
    data: msgspec.Raw = msgspec.Raw()

    @property
    def form(self) -> str | None:
        """The name of the form that the entry has; None: no known one."""
        return next((name for name in FORMS if getattr(self, name) is not None), None)

    @property
    def wraps_entries(self) -> bool:
        """Whether this is no entry, but `{"data": [...]}` with the entries in it."""
        return bytes(memoryview(self.data)[:1]) == b"[" and self.form is None


_decoder: msgspec.json.Decoder[str | Line] = msgspec.json.Decoder(str | Line)


def decode_line(data: bytes) -> str | Line:
    """The entry's JSON text, decoded but not yet judged; DatasetError: it is not UTF-8, not JSON, or no entry."""
    try:
        data.decode()  # The decoder does not look into what it skips.
        return _decoder.decode(data)
    except (UnicodeDecodeError, msgspec.DecodeError, RecursionError):
        raise DatasetError(_no_entry(data)) from None


def read_entry(data: bytes, index: int, mode: Mode) -> Entry:
    """The entry that the JSON text `data` (UTF-8, no BOM) holds; DatasetError says what is wrong with it.

    dual_round: one turn. A text or prompt is one user message; `messages` are sent as they stand up
    to the last user message; of `conversations` and `user_messages` the first user message is sent,
    with the system message before it. multi_turn: each user message is a turn, with the system
    message before it; assistant and tool messages are dropped, since the server gives its own answers.
    Only what would be sent is judged, and in sessions each role.
    """
    line = decode_line(data)
    if isinstance(line, str):
        return Entry(index, None, ((_prompt(line, "the text"),),))
    name = line.form
    if name is None:
        raise DatasetError(_no_entry(data))
    value = getattr(line, name)
    if name in ("prompt", "text"):
        turns: tuple[Turn, ...] = ((_prompt(value, name),),)
    elif mode == "multi_turn":
        turns = _each_user_message(_items(value, name))
    else:
        turns = (_to_last_user(_items(value, name)) if name == "messages" else _to_first_user(_items(value, name)),)
    return Entry(index, _session_id(line), turns, _max_output_tokens(line))


@dataclass(frozen=True, slots=True)
class _Item:
    """A message of the data before it is judged. `where` is its path in the entry."""

    role: str
    where: str
    value: dict[str, Any]


def _items(value: object, name: str) -> list[_Item]:
    if not isinstance(value, list):
        raise DatasetError(f"{name} must be a list of messages, but is {_kind(value)}")
    return [_item(one, f"{name}[{place}]", name == "user_messages") for place, one in enumerate(value)]


def _item(value: object, where: str, is_user: bool) -> _Item:
    if is_user and isinstance(value, str):
        return _Item("user", where, {"content": value})
    if not isinstance(value, dict):
        raise DatasetError(f"{where} must be {'a string or ' if is_user else ''}an object, but is {_kind(value)}")
    role = value.get("role", value.get("from", "user" if is_user else None))
    if not isinstance(role, str):
        raise DatasetError(f"{where} has no role: it needs a role or from, such as user, assistant or system")
    role = role.lower()
    return _Item(_ROLES.get(role, role), where, value)


def _to_last_user(items: Sequence[_Item]) -> Turn:
    """All messages up to the last user message."""
    last = max((place for place, item in enumerate(items) if item.role == "user"), default=-1)
    return _turn(items, items[: last + 1])


def _to_first_user(items: Sequence[_Item]) -> Turn:
    """The first user message, and what system messages stand before it."""
    first = next((place for place, item in enumerate(items) if item.role == "user"), -1)
    return _turn(items, [item for item in items[: first + 1] if item.role in ("user", *SYSTEM_ROLES)])


def _each_user_message(items: Sequence[_Item]) -> tuple[Turn, ...]:
    """A turn for each user message, with what system messages stand before it."""
    turns: list[Turn] = []
    turn: list[_Item] = []
    for item in items:
        _check_role(item)
        if item.role in ("user", *SYSTEM_ROLES):
            turn.append(item)
        if item.role == "user":
            turns.append(_turn(items, turn))
            turn = []
    return tuple(turns) or (_turn(items, ()),)


def _turn(items: Sequence[_Item], chosen: Sequence[_Item]) -> Turn:
    if not chosen:
        roles = ", ".join(sorted({item.role for item in items})) or "none"
        raise DatasetError(f"no user message: there is nothing to send (the roles are: {roles}); remove the entry")
    return tuple(map(_message, chosen))


def _check_role(item: _Item) -> None:
    if item.role not in _SENDABLE:
        raise DatasetError(f"{item.where} has the unknown role {item.role!r}; known are {', '.join(_SENDABLE)}")


def _message(item: _Item) -> Message:
    _check_role(item)
    value = item.value
    key = "value" if "from" in value and "content" not in value else "content"
    where = f"{item.where}.{key}"
    content = value.get(key)
    if item.role == "user":
        message = _prompt(content, where)
    elif content is None and value.get("tool_calls"):
        message = {"role": item.role, "content": None}
    else:
        message = {"role": item.role, "content": _text(content, where)}
    for kept in _KEPT_KEYS:
        if value.get(kept) is not None:
            message[kept] = value[kept]
    return message


def _prompt(value: object, where: str) -> Message:
    text = _text(value, where)
    if not text or text.isspace():
        raise DatasetError(f"{where} is empty: there is nothing to send; remove the entry or give it a text")
    return {"role": "user", "content": text}


def _text(value: object, where: str) -> str:
    """A text, or the text parts of a list put together with nothing between."""
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return "".join(_part(part, f"{where}[{place}]") for place, part in enumerate(value))
    raise DatasetError(f"{where} must be a string, but is {_kind(value)}")


def _part(part: object, where: str) -> str:
    kind = part.get("type", "text") if isinstance(part, dict) else None
    if kind == "text":
        text = cast("dict[str, object]", part).get("text")
        if isinstance(text, str):
            return text
    elif isinstance(kind, str):
        raise DatasetError(f"{where} is of type {kind!r}: only text can be sent; remove the entry or the part")
    raise DatasetError(f'{where} must be a text part, such as {{"type": "text", "text": "..."}}')


def _session_id(line: Line) -> str | None:
    name, value = ("id", line.id) if line.session_id is None else ("session_id", line.session_id)
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    raise DatasetError(f"{name} must be a string or a number, but is {_kind(value)}")


def _max_output_tokens(line: Line) -> int | None:
    value = line.max_output_tokens
    if value is None or (type(value) is int and value > 0):
        return value
    shown = value if isinstance(value, int | float) else _kind(value)
    raise DatasetError(f"max_output_tokens must be a whole number above 0, but is {shown}")


_KINDS = {str: "a string", bool: "a boolean", int: "a number", float: "a number", list: "a list", dict: "an object"}
_KEYS_SHOWN = 12


def _kind(value: object) -> str:
    return "null" if value is None else _KINDS[type(value)]


def _no_entry(data: bytes) -> str:
    """What is wrong with bytes that are not JSON, or JSON of no known form."""
    forms = f"an entry is a string, or an object with one of {', '.join(FORMS)}"
    try:
        value = msgspec.json.decode(data)
    except (UnicodeDecodeError, msgspec.DecodeError, RecursionError):
        return explain(data)[1]
    if not isinstance(value, dict):
        return f"no known form: it is {_kind(value)}, but {forms}"
    keys = [f"{key[:40]!r}{' (null)' if value[key] is None else ''}" for key in value][:_KEYS_SHOWN]
    more = ", ..." if len(value) > _KEYS_SHOWN else ""
    return f"no known form: it has the keys {', '.join(keys) or '(none)'}{more}, but {forms}"
