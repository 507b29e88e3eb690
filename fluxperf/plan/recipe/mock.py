"""The mock server of a stage: the block `mock_server`, or the options of the same names. What is right others know."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from fluxperf.plan.recipe.document import Block, Scalar, Value
from fluxperf.plan.recipe.faults import unknown_key
from fluxperf.plan.recipe.options import Item
from fluxperf.plan.recipe.values import Reader, Unread, read_flag

_IMPLIED = "implied"

# Why a value cannot be the mock's setting of that name; None: it can.
FindProblem = Callable[[str, object], str | None]


@dataclass(frozen=True, slots=True)
class MockReader:
    """Reads what stands under `mock_server`, of which `names` are the settings."""

    reader: Reader
    names: frozenset[str]
    find_problem: FindProblem

    def read(self, value: Value) -> dict[str, Item]:
        """The block's items; a null or a plain true or false is one that only says whether there is a mock."""
        if not isinstance(value, Block):
            try:
                on = self.reader.read(value, read_flag) if isinstance(value, Scalar) else None
            except Unread:
                return {}
            if isinstance(value, Scalar):
                return {"enabled": Item(bool(on), value.place, "mock_server")}
            self.reader.faults.add(value.place, "must be true or false, or a mapping with the mock's settings")
            return {}
        # Who writes the block wants the mock, unless some block says otherwise.
        items = {_IMPLIED: Item(True, value.place, "mock_server")}
        for key, entry in value.entries.items():
            if key != "enabled" and key not in self.names:
                known = ("enabled", *sorted(self.names))
                self.reader.faults.add(entry.place, unknown_key(key, known))
                continue
            try:
                items[key] = Item(self._read_entry(key, entry), entry.place, f"mock_server.{key}")
            except Unread:
                items[key] = Item(None, entry.place, f"mock_server.{key}", unread=True)
        return items

    def _read_entry(self, key: str, value: Value) -> Any:
        if key == "enabled":
            return bool(self.reader.read(value, read_flag))
        found = self.reader.python(value)
        problem = None if found is None else self.find_problem(key, found)
        if problem is not None and isinstance(value, Scalar) and not value.plain:
            # Within braces a variable has to be quoted, and may be meant as a number all the same.
            found = self.reader.python(replace(value, plain=True))
            problem = None if found is None else self.find_problem(key, found)
        if problem is not None:
            self.reader.refuse(value.place, problem)
        return found


def merge(layers: Iterable[Mapping[str, Item]]) -> dict[str, Item]:
    """The items of all layers, later ones above earlier ones, and in `enabled` whether there is a mock, if told."""
    merged: dict[str, Item] = {}
    for layer in layers:
        merged |= layer
    implied = merged.pop(_IMPLIED, None)
    if implied is not None:
        merged.setdefault("enabled", implied)
    return merged
