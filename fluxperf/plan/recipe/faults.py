"""What is wrong with a recipe, and where: collected, so that all of it is said at once. Knows nothing of recipes."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path

from fluxperf.errors import UsageError
from fluxperf.masking import scrub

NEAR = 0.65  # as difflib counts: beyond it "recipe" would be "repeat"
MOST_CHARACTERS = 500  # of one fault: a value may be a book


@dataclass(frozen=True, slots=True)
class Place:
    """A line of the file (from 1), and the path of keys and indices that leads to what stands there."""

    line: int
    path: str = ""

    def below(self, key: str, line: int) -> Place:
        """The place of what `key` stands for."""
        shown = key if key.isprintable() and key else repr(key)
        return Place(line, f"{self.path}.{shown}" if self.path else shown)

    def entry(self, index: int, line: int) -> Place:
        """The place of a list's entry."""
        return Place(line, f"{self.path}[{index}]")


@dataclass(slots=True)
class Faults:
    """The faults found so far. One that is found again, in another stage, is the same one."""

    file: Path
    found: dict[str, int] = field(default_factory=dict)

    def add(self, place: Place, what: str) -> None:
        """A fault at a place of the file."""
        self.add_text(f"{self.file}:{place.line}: {place.path}{': ' if place.path else ''}{what}", place.line)

    def add_text(self, text: str, line: int = 0) -> None:
        """A fault of which the file is innocent."""
        text = " ".join(text.split("\n"))
        self.found.setdefault(text if len(text) <= MOST_CHARACTERS else f"{text[:MOST_CHARACTERS]}...", line)

    def raise_if_any(self, secrets: Iterable[str] = ()) -> None:
        """Raises UsageError with all faults in the order of their lines, without the secrets."""
        if self.found:
            ordered = sorted(self.found, key=lambda text: self.found[text])
            secrets = tuple(secrets)
            raise UsageError("\n".join(scrub(text, secrets) for text in ordered))


def unknown_key(key: str, known: Collection[str]) -> str:
    """What to say of a key that is none of the `known`: the nearest one, or what there is if that is not much."""
    written = key.strip().lower().replace("-", "_").replace(" ", "_")
    near = [written] if written in known else get_close_matches(written, known, 1, NEAR)
    if near:
        return f"unknown key; did you mean {near[0]}?"
    return f"unknown key; known are {', '.join(known)}" if len(known) <= 12 else "unknown key"
