"""A fragment of HTML as a tree. It takes anything, also what is cut off or no HTML at all; knows no tag's meaning."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TypeAlias

DEEPEST = 100  # what is nested deeper counts as if it stood at this depth, so that no walk runs out of stack
_VOID_TAGS = "area base br col embed hr img input link meta source wbr"
_OTHER_TAGS = (
    "html body main section article header footer div p span h1 h2 h3 h4 h5 h6 pre code ul ol li blockquote "
    "table thead tbody tfoot tr td th caption colgroup figure figcaption dl dt dd details summary center "
    "a strong b em i u s del sup sub small mark kbd label button svg script style title noscript cite abbr time font "
    "math semantics annotation mrow mi mo mn msup msub msubsup mfrac msqrt mroot mtext mstyle mspace "
    "munder mover munderover mtable mtr mtd mpadded path rect line polyline polygon circle g"
)
_VOID = frozenset(_VOID_TAGS.split())
_KNOWN = _VOID | frozenset(_OTHER_TAGS.split())
# A tag or a comment as browsers write them out. A `<` ends each try, so that the time is linear whatever the text;
# the library's parser takes the square of the length for comments that do not end.
_TAG = re.compile(
    r"""<(?P<end>/?)(?P<tag>[A-Za-z][A-Za-z0-9]*)(?P<attributes>(?:[\s/]++(?:"[^"]*"|'[^']*'|[^<>"'])*+)?)>|<!--[^<>]*-->"""
)
_ATTRIBUTE = re.compile(r"""([\w:-]+)(?:\s*=\s*("[^"]*"|'[^']*'|[^\s"'>]+))?""")


@dataclass(slots=True)
class Node:
    """An element: its tag and attributes, and what is in it, texts among it. The root's tag is empty."""

    tag: str
    attributes: dict[str, str] = field(default_factory=dict)
    children: list[Child] = field(default_factory=list)

    @property
    def classes(self) -> frozenset[str]:
        """The names in its attribute `class`."""
        return frozenset(self.attributes.get("class", "").split())

    def nodes(self) -> Iterator[Node]:
        """The elements in it at any depth, in the order of the text."""
        for child in self.children:
            if isinstance(child, Node):
                yield child
                yield from child.nodes()

    def text(self) -> str:
        """All text in it, as it stands."""
        return "".join(child if isinstance(child, str) else child.text() for child in self.children)


Child: TypeAlias = Node | str


def parse_html(text: str) -> Node:
    """The tree of a fragment. Tags that HTML does not have are text: somebody's `<T>`, and none of the page's."""
    root = Node("")
    path = [root]
    place = 0
    for found in _TAG.finditer(text):
        tag = (found["tag"] or "").lower()
        if tag and tag not in _KNOWN:
            continue
        if place < found.start():
            path[-1].children.append(html.unescape(text[place : found.start()]))
        place = found.end()
        if found["end"]:
            _close(path, tag)
        elif tag:
            node = Node(tag, dict(_attributes(found["attributes"])))
            path[-1].children.append(node)
            if tag not in _VOID and len(path) < DEEPEST and not found["attributes"].endswith("/"):
                path.append(node)
    if place < len(text):
        path[-1].children.append(html.unescape(text[place:]))
    return root


def _close(path: list[Node], tag: str) -> None:
    """Leaves the innermost element of that tag, if there is one."""
    if any(node.tag == tag for node in path):
        while path.pop().tag != tag:
            pass


def _attributes(text: str) -> Iterator[tuple[str, str]]:
    for name, value in _ATTRIBUTE.findall(text):
        bare = value[1:-1] if value[:1] in ("'", '"') else value
        yield name.lower(), html.unescape(bare)
