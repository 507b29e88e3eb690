"""HTML as values: text is escaped unless it is known to be HTML. Knows elements, not pages."""

from __future__ import annotations

import html
from collections.abc import Iterable
from typing import TypeAlias

# Elements without content, which have no end tag.
_VOID = frozenset({"br", "col", "hr", "img", "input", "meta"})
_NEVER_SEEN = "\N{REPLACEMENT CHARACTER}"


class Html(str):
    """Text that is HTML already, and safe to be in a page."""

    __slots__ = ()


Content: TypeAlias = str | None
Attribute: TypeAlias = str | int | float | bool | None


def visible(text: str) -> str:
    """`text` without anything that is not seen: control characters, direction marks and lone surrogates are U+FFFD."""
    return "".join(each if each.isprintable() or each in "\n\t" else _NEVER_SEEN for each in text)


def escape(text: str) -> Html:
    """`text` as HTML, also within an attribute; what is HTML already stays as it is."""
    return text if isinstance(text, Html) else Html(html.escape(visible(text)))


def join(content: Iterable[Content], between: str = "") -> Html:
    """The pieces one after the other; None is nothing."""
    return Html(escape(between).join(escape(piece) for piece in content if piece is not None))


def element(name: str, /, *content: Content, **attributes: Attribute) -> Html:
    """An element. Attributes are written with `_` for `-`, `class_` for `class`; True stands alone, None and False
    are left out.
    """
    start = "".join([name, *(_attribute(key, value) for key, value in attributes.items())])
    return Html(f"<{start}>") if name in _VOID else Html(f"<{start}>{join(content)}</{name}>")


def _attribute(key: str, value: Attribute) -> str:
    if value is None or value is False:
        return ""
    name = key.rstrip("_").replace("_", "-")
    return f" {name}" if value is True else f' {name}="{escape(str(value))}"'


def script_data(text: str) -> Html:
    """JSON as it may stand within a script element: nothing in it can end that, or begin a comment."""
    return Html(text.replace("<", "\\u003c"))
