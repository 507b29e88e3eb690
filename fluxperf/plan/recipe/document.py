"""A YAML file as a tree in which everything knows its place. Aliases and merges are resolved; what values mean is not.

Built from YAML's nodes, not from the values they stand for: nodes know their line, whether they were quoted, how a
number was written, and a key that is given twice is still there twice.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import yaml

from fluxperf.errors import UsageError
from fluxperf.plan.recipe.faults import Faults, Place

MOST_BYTES = 4 * 2**20
MOST_NODES = 100_000  # with each alias counted as what it stands for
DEEPEST = 60

_YAML = "tag:yaml.org,2002:"
TEXT, NULL = f"{_YAML}str", f"{_YAML}null"
_SCALARS = frozenset(_YAML + name for name in ("str", "null", "bool", "int", "float"))
_MERGE = f"{_YAML}merge"


class Loader(yaml.SafeLoader):
    """YAML 1.1 as PyYAML has it, and numbers such as 1e6, which YAML 1.2 knows (its core schema, 10.3.2)."""


Loader.add_implicit_resolver(f"{_YAML}float", re.compile(r"[-+]?\d+(?:\.\d*)?[eE][-+]?\d+$"), [*"-+0123456789"])
_LOADER = Loader("")


@dataclass(frozen=True, slots=True)
class Scalar:
    """A value as it is written. `tag`: the type that it was told to have; None: YAML's rules decide, if it is plain."""

    place: Place
    text: str
    plain: bool
    tag: str | None = None


@dataclass(frozen=True, slots=True)
class Listing:
    """A list."""

    place: Place
    entries: tuple[Value, ...]


@dataclass(frozen=True, slots=True)
class Block:
    """A mapping; keys are texts."""

    place: Place
    entries: Mapping[str, Value]


Value: TypeAlias = Scalar | Listing | Block


@dataclass(frozen=True, slots=True)
class Document:
    """The tree, and the nodes that it was built from, whose marks say where each stands in `text`."""

    top: Block
    node: yaml.MappingNode
    text: str


def read_document(file: Path, data: bytes, faults: Faults) -> Document:
    """The file's tree. Raises UsageError if it is none; faults in it are added, and what is faulty is left out."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise UsageError(f"{file}:{line}: not UTF-8: byte 0x{data[error.start]:02x}; convert the file") from None
    node = _compose(file, text)
    if node is None:
        raise UsageError(f"{file}: the recipe is empty; it needs global, and stages or suites")
    if not isinstance(node, yaml.MappingNode):
        raise UsageError(f"{file}:{_line(node)}: a recipe is a mapping with keys such as global and stages")
    top = _Builder(file, faults).build(node, Place(_line(node)))
    if not isinstance(top, Block):  # tagged as something else
        raise UsageError("\n".join(faults.found))
    return Document(top, node, text)


def _compose(file: Path, text: str) -> yaml.Node | None:
    try:
        node: yaml.Node | None = yaml.compose(text, Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"{file}:{mark.line + 1}" if mark else str(file)
        reasons = [" ".join(part.split()) for part in (error.context, error.problem) if part]
        lines = text.splitlines()
        near = lines[mark.line] if mark and mark.line < len(lines) else ""
        hint = '; within braces and brackets put ${...} in quotes: "${...}"' if "${" in near else ""
        raise UsageError(f"{place}: not YAML: {', '.join(reasons)}{hint}") from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise UsageError(f"{file}:{line}: not YAML: a character that it does not allow: {_shown(error)}") from None
    except RecursionError:
        raise UsageError(f"{file}: not a recipe: it is nested too deeply") from None
    except (ValueError, OverflowError) as error:  # an escape or a version that is no number of a character
        raise UsageError(f"{file}: not YAML: {error}") from None
    return node


def _shown(error: yaml.reader.ReaderError) -> str:
    character = error.character
    return ascii(chr(character) if isinstance(character, int) else character)


def _line(node: yaml.Node) -> int:
    line: int = node.start_mark.line
    return line + 1


@dataclass(slots=True)
class _Builder:
    """Turns nodes into values, and counts them: a few aliases can stand for more than fits in any memory."""

    file: Path
    faults: Faults
    nodes: int = 0

    def build(self, node: yaml.Node, place: Place, depth: int = 0) -> Value | None:
        """None: it is faulty."""
        self.nodes += 1
        if self.nodes > MOST_NODES:
            raise UsageError(f"{self.file}: the recipe has more than {MOST_NODES:,} values, with its aliases resolved")
        if depth > DEEPEST:
            raise UsageError(f"{self.file}:{place.line}: {_cut(place.path)}: nested more than {DEEPEST} levels deep")
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node, place)
        if node.tag not in (f"{_YAML}map", f"{_YAML}seq"):
            self.faults.add(place, f"the tag {node.tag!r} means nothing in a recipe")
            return None
        if isinstance(node, yaml.MappingNode):
            entries = dict(self._entries(node, place, depth))
            return Block(place, {key: value for key, value in entries.items() if value is not None})
        built = [self.build(entry, place.entry(at, _line(entry)), depth + 1) for at, entry in enumerate(node.value)]
        return Listing(place, tuple(value for value in built if value is not None))

    def _scalar(self, node: yaml.ScalarNode, place: Place) -> Scalar | None:
        plain = node.style is None
        tag = None if node.tag == (resolve_tag(node.value) if plain else TEXT) else node.tag
        problem = find_character(node.value)
        if tag is not None and tag not in _SCALARS:
            problem = f"the tag {tag!r} means nothing in a recipe"
        if problem is not None:
            self.faults.add(place, problem)
            return None
        return Scalar(place, node.value, plain, tag)

    def _entries(self, node: yaml.MappingNode, place: Place, depth: int) -> Iterator[tuple[str, Value | None]]:
        """Keys with their values; what is merged in comes first, so that the mapping's own keys stand above it."""
        merged = [value for key, value in node.value if key.tag == _MERGE]
        for source in merged:
            yield from self._merged(source, place, depth)
        seen: dict[str, int] = {}
        for key_node, value_node in node.value:
            line = _line(key_node)
            if key_node.tag == _MERGE:
                continue
            if not isinstance(key_node, yaml.ScalarNode) or find_character(key_node.value):
                self.faults.add(Place(line, place.path), "a key must be a text")
                continue
            key = key_node.value
            below = place.below(key, line)
            if key in seen:
                self.faults.add(below, f"given twice, first in line {seen[key]}; keep one of them")
                continue
            seen[key] = line
            yield key, self.build(value_node, below, depth + 1)

    def _merged(self, source: yaml.Node, place: Place, depth: int) -> Iterator[tuple[str, Value | None]]:
        """The entries of what `<<` names: a mapping, or a list of some, of which the first wins."""
        self.nodes += 1
        if depth > DEEPEST or self.nodes > MOST_NODES:
            raise UsageError(f"{self.file}:{_line(source)}: {_cut(place.path)}: merged too often")
        if isinstance(source, yaml.MappingNode):
            yield from self._entries(source, place, depth + 1)
        elif isinstance(source, yaml.SequenceNode):
            for entry in reversed(source.value):
                yield from self._merged(entry, place, depth + 1)
        else:
            self.faults.add(Place(_line(source), place.path), "<< takes a mapping, or a list of mappings")


def resolve_tag(text: str) -> str:
    """The type that YAML's rules give to a text without quotes."""
    tag: str = _LOADER.resolve(yaml.ScalarNode, text, (True, False))  # type: ignore[no-untyped-call]
    return tag


def find_character(text: str) -> str | None:
    """What is wrong with a text that nothing outside of YAML can carry; None: it is all right."""
    if "\0" in text:
        return "holds a NUL character, which no file name, variable or command can"
    if any("\ud800" <= character <= "\udfff" for character in text):
        return "holds half a surrogate pair, which is no character"
    return None


def _cut(path: str) -> str:
    return path if len(path) <= 60 else f"{path[:60]}..."
