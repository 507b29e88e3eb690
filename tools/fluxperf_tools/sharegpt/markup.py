"""Answers that a dump keeps as the HTML of the page they were shown on, turned back into markdown.

It knows what ChatGPT's page made of markdown. Which texts are such HTML is `leftovers`' business.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import takewhile

from fluxperf_tools.sharegpt.tree import Child, Node, parse_html

_MARKS = {"strong": "**", "b": "**", "em": "*", "i": "*", "del": "~~", "s": "~~"}
_HEADINGS = {f"h{level}": f"{'#' * level} " for level in range(1, 7)}
_BLOCK_TAGS = (
    "html body main section article header footer div p figure dl dt dd details summary center "
    "pre ul ol li blockquote table thead tbody tfoot tr hr"
)
_BLOCKS = frozenset(_BLOCK_TAGS.split()) | frozenset(_HEADINGS)
_UNSEEN = frozenset(("button", "svg", "script", "style", "title", "noscript"))  # the page's own
_LANGUAGE = re.compile(r"(?:^|\s)(?:language|lang)-([\w+#.-]+)")
_WORD = re.compile(r"[\w+#.-]{1,20}")
_TICKS = re.compile("`+")

Lines = list[str]


def to_markdown(html: str) -> str:
    """The text of an HTML fragment, as markdown; whatever it is, some text comes out."""
    return "\n".join(_join(_blocks(parse_html(html).children)))


def _join(blocks: Iterable[Lines]) -> Lines:
    """The lines of all blocks, an empty one between two."""
    lines: Lines = []
    for block in blocks:
        lines += ["", *block] if lines else block
    return lines


def _blocks(children: Iterable[Child]) -> Iterator[Lines]:
    """The blocks that the children are; what stands between two is a paragraph."""
    line: list[Child] = []
    for child in children:
        if isinstance(child, Node) and child.tag in _BLOCKS:
            yield from _paragraph(line)
            line = []
            yield from _block(child)
        else:
            line.append(child)
    yield from _paragraph(line)


def _paragraph(children: Sequence[Child], before: str = "") -> Iterator[Lines]:
    text = _inline(children).strip()
    if text:
        yield f"{before}{text}".split("\n")


def _block(node: Node) -> Iterator[Lines]:
    if node.tag in _HEADINGS:
        yield from _paragraph(node.children, _HEADINGS[node.tag])
    elif node.tag == "pre":
        yield from _code(node)
    elif node.tag in ("ul", "ol"):
        yield from _list(node)
    elif node.tag == "blockquote":
        if lines := _join(_blocks(node.children)):
            yield [f"> {line}".rstrip() for line in lines]
    elif node.tag == "table":
        yield from _table(node)
    elif node.tag == "hr":
        yield ["---"]
    else:
        yield from _blocks(node.children)


def _list(node: Node) -> Iterator[Lines]:
    """A list as one block: items close together, nested ones within their item."""
    start = node.attributes.get("start", "")
    number = int(start) if re.fullmatch(r"[0-9]{1,9}", start) else 1
    lines: Lines = []
    for child in node.children:
        content = child.children if isinstance(child, Node) and child.tag == "li" else [child]
        item = _item(content)
        if item:
            mark = "- " if node.tag == "ul" else f"{number}. "
            number += 1
            lines.append(mark + item[0])
            lines += [f"{' ' * len(mark)}{line}" if line else "" for line in item[1:]]
    if lines:
        yield lines


def _item(children: Sequence[Child]) -> Lines:
    lines: Lines = []
    for block in _blocks(children):
        is_list = bool(re.match(r"(?:-|\d+\.) ", block[0]))
        lines += ["", *block] if lines and not is_list else block
    return lines


def _code(node: Node) -> Iterator[Lines]:
    """A block of code. Beside the code the page's `<pre>` has a headline with the language and a button."""
    code = next((inner for inner in node.nodes() if inner.tag == "code"), None)
    text = (code or node).text().strip("\n").rstrip()
    if not text:
        return
    found = _LANGUAGE.search(code.attributes.get("class", "")) if code else None
    headline = takewhile(lambda inner: inner is not code, node.nodes() if code else ())
    named = next((inner.text().strip() for inner in headline if inner.tag == "span"), "")
    language = found[1] if found else named if _WORD.fullmatch(named) else ""
    fence = "`" * max(3, _longest_ticks(text) + 1)
    yield [f"{fence}{language}", *text.split("\n"), fence]


def _table(node: Node) -> Iterator[Lines]:
    rows = []
    for row in (inner for inner in node.nodes() if inner.tag == "tr"):
        cells = [child for child in row.children if isinstance(child, Node) and child.tag in ("td", "th")]
        rows.append([" ".join(_inline(cell.children).split()).replace("|", "\\|") for cell in cells])
    rows = [row for row in rows if row]
    if rows:
        width = max(map(len, rows))
        lines = [f"| {' | '.join([*row, *[''] * (width - len(row))])} |" for row in rows]
        yield [lines[0], f"|{' --- |' * width}", *lines[1:]]


def _inline(children: Iterable[Child]) -> str:
    return "".join(child if isinstance(child, str) else _inline_node(child) for child in children)


def _inline_node(node: Node) -> str:
    """What an element is within a line. Elements that only say how something looks are what is in them."""
    if node.tag in _UNSEEN:
        return ""
    if node.tag == "br":
        return "\n"
    if node.tag == "code":
        return _snippet(node.text())
    if node.tag == "img":
        source = node.attributes.get("src")
        return f"![{node.attributes.get('alt', '')}]({source})" if source else ""
    if node.classes & {"math", "katex", "katex-display"}:
        return _formula(node)
    text = _inline(node.children)
    if not text.strip():
        return text
    if node.tag in _MARKS:
        core = text.strip()
        return text.replace(core, f"{_MARKS[node.tag]}{core}{_MARKS[node.tag]}", 1)
    target = node.attributes.get("href") if node.tag == "a" else None
    return f"[{text}]({target})" if target and target != text else text


def _snippet(text: str) -> str:
    if not text:
        return ""
    ticks = "`" * (_longest_ticks(text) + 1 if "`" in text else 1)
    pad = " " if text[0] == "`" or text[-1] == "`" else ""
    return f"{ticks}{pad}{text}{pad}{ticks}"


def _formula(node: Node) -> str:
    """A formula's source, which the page keeps beside what it draws."""
    source = next((inner.text() for inner in node.nodes() if inner.tag == "annotation"), None)
    if source is None:
        return _inline(node.children)
    is_display = bool(node.classes & {"math-display", "katex-display"})
    return f"$${source}$$" if is_display else f"${source}$"


def _longest_ticks(text: str) -> int:
    return max((len(ticks) for ticks in _TICKS.findall(text)), default=0)
