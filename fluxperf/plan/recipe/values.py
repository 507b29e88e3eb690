"""Values of a recipe as Python's: variables put in, then typed by YAML's rules. Faults are added where they stand."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

import yaml

from fluxperf.plan.readers import Fault, Read
from fluxperf.plan.recipe.document import NULL, TEXT, Block, Listing, Loader, Scalar, Value, find_character, resolve_tag
from fluxperf.plan.recipe.faults import Faults, Place, unknown_key
from fluxperf.plan.recipe.variables import Lookup, substitute

LARGEST_BITS = 1000  # of a whole number; Python takes quadratic time to write one
_CONSTRUCTORS = {
    f"tag:yaml.org,2002:{name}": getattr(yaml.SafeLoader, f"construct_yaml_{name}") for name in ("bool", "int", "float")
}
_LOADER = Loader("")


class Unread(Exception):
    """The value cannot be read, and the faults say why."""


def resolve_null(value: Value | None) -> Value | None:
    """The value, or None where it is written as null."""
    if isinstance(value, Scalar) and (value.tag or (resolve_tag(value.text) if value.plain else TEXT)) == NULL:
        return None
    return value


def entries(block: Value | None) -> Mapping[str, Value]:
    """The entries of a mapping; none of anything else."""
    return block.entries if isinstance(block, Block) else {}


@dataclass(frozen=True, slots=True)
class Reader:
    """Reads values with one stage's variables."""

    faults: Faults
    lookup: Lookup

    def python(self, value: Value) -> Any:
        """The value as Python has it. Raises Unread."""
        if isinstance(value, Block):
            return {key: self.python(entry) for key, entry in value.entries.items()}
        if isinstance(value, Listing):
            return [self.python(entry) for entry in value.entries]
        text = self.put_in(value)
        tag = value.tag or (resolve_tag(text) if value.plain else TEXT)
        if tag == NULL:
            return None
        try:
            found = _CONSTRUCTORS[tag](_LOADER, yaml.ScalarNode(tag, text)) if tag in _CONSTRUCTORS else text
        except (ValueError, LookupError, OverflowError):  # it has the tag, but is none
            self.refuse(value.place, f"is not what it was tagged as, or a giant: {text[:40]!r}")
        if isinstance(found, int) and found.bit_length() > LARGEST_BITS:
            self.refuse(value.place, f"is too large a number: {text[:40]}...")
        return found

    def written(self, value: Value) -> str | None:
        """A text as it is written, whatever YAML would make of it; None where that is null. Raises Unread."""
        if not isinstance(value, Scalar):
            self.refuse(value.place, "must be a text, not a list or a mapping")
        text = self.put_in(value)
        return None if resolve_null(Scalar(value.place, text, value.plain, value.tag)) is None else text

    def put_in(self, value: Scalar) -> str:
        """The text with its variables put in. Raises Unread."""
        try:
            text = substitute(value.text, self.lookup)
        except Fault as fault:
            self.refuse(value.place, str(fault))
        if problem := find_character(text):
            self.refuse(value.place, problem)
        return text

    def read(self, value: Value, read: Read) -> Any:
        """What `read` makes of it; None if it is null. Raises Unread."""
        found = self.python(value)
        if found is None:
            return None
        try:
            return read(found)
        except Fault as fault:
            self.refuse(value.place, str(fault))

    def refuse(self, place: Place, what: str) -> NoReturn:
        """Adds the fault and raises Unread."""
        self.faults.add(place, what)
        raise Unread

    def block(self, value: Value, known: Collection[str]) -> Iterator[tuple[str, Value]]:
        """The entries of a mapping of which these keys are known; what is no mapping, and other keys, are faults."""
        if not isinstance(value, Block):
            if resolve_null(value) is not None:
                self.faults.add(value.place, f"must be a mapping with keys such as {', '.join(list(known)[:3])}")
            return
        check_keys(value, known, self.faults)
        yield from ((key, entry) for key, entry in value.entries.items() if key in known)


def check_keys(block: Block, known: Collection[str], faults: Faults) -> None:
    """Every key that is not known is a fault."""
    for key, value in block.entries.items():
        if key not in known:
            faults.add(value.place, unknown_key(key, known))


def read_flag(raw: Any) -> bool:
    """True or false, in quotes as well; raises Fault."""
    if isinstance(raw, str) and raw.strip().lower() in ("true", "false"):
        return raw.strip().lower() == "true"
    if not isinstance(raw, bool):
        raise Fault(f"must be true or false, not {raw!r}")
    return raw
