"""The options in `global` and in a stage: raw values by the name of the setting, each with its place."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any

from fluxperf.plan.readers import FLAGS, TEXTS, read_text
from fluxperf.plan.recipe.document import Block, Listing, Scalar, Value
from fluxperf.plan.recipe.faults import Place
from fluxperf.plan.recipe.keys import ALIASES, BLOCKS, OF_CAMPAIGN, ORDERS, option_keys
from fluxperf.plan.recipe.values import Reader, Unread, read_flag

# Those that only a recipe has.
_MORE_FLAGS = ("shuffle_round2", "continue_on_error", "tokenizer_trust_remote_code")
_NUMBERS = ("concurrency", "num_samples")
# Settings that YAML writes as mappings most naturally, and what is between name and value on the command line.
_PAIRS = {"header": ": ", "label": "="}


@dataclass(frozen=True, slots=True)
class Item:
    """A setting as a block gives it: `key` is how it is called there. A value of None: it is as if never given.

    `unread`: the value is faulty, which has been said.
    """

    value: Any
    place: Place
    key: str
    unread: bool = False


@dataclass(frozen=True, slots=True)
class OptionReader:
    """Reads blocks of options. `later` are the names of options that are not yet built."""

    reader: Reader
    later: frozenset[str]

    def read(self, block: Block | None, *, of_stage: bool = False) -> dict[str, Item]:
        """The items of a block by the name of the setting; those that only a recipe has are among them."""
        items: dict[str, Item] = {}
        known = option_keys(self.later)
        for key, value in block.entries.items() if block is not None else ():
            name = ALIASES.get(key, key)
            if key not in known or key in BLOCKS:
                continue
            if name in items:
                self._add(value.place, f"the same as {items[name].key} in line {items[name].place.line}: leave one out")
                continue
            items[name] = self._item(name, key, value)
            if of_stage and name in OF_CAMPAIGN and items[name].value is not None:
                self._add(value.place, "belongs in global: one directory holds all stages")
        orders = [items.pop(name) for name in ORDERS if name in items]
        if orders:
            items["round2_order"] = self._settle(orders)
        return items

    def _add(self, place: Place, what: str) -> None:
        self.reader.faults.add(place, what)

    def _item(self, name: str, key: str, value: Value) -> Item:
        try:
            return Item(self._raw(name, value), value.place, key)
        except Unread:
            return Item(None, value.place, key, unread=True)

    def _raw(self, name: str, value: Value) -> Any:
        """The raw value for the setting's reader. Raises Unread."""
        reader = self.reader
        if name in self.later:
            if reader.python(value) not in (None, False, []):
                reader.refuse(value.place, "is not yet built")
            return None
        if name in FLAGS or name in _MORE_FLAGS:
            return reader.read(value, read_flag)
        if name == "output":
            return reader.read(value, read_text)
        if name in TEXTS and isinstance(value, Scalar):
            return reader.written(value)
        raw = reader.python(value)
        if name in _NUMBERS and isinstance(raw, str):
            raw = [word for word in re.split(r"[\s,]+", raw) if word]
        if name in _NUMBERS and raw == []:
            reader.refuse(value.place, "is an empty list: give a number, or leave it out")
        return self._join_pairs(value, _PAIRS[name]) if name in _PAIRS and raw is not None else raw

    def _join_pairs(self, value: Value, between: str) -> list[str]:
        """Names and values of mappings, and of mappings in a list, as one text each."""
        if isinstance(value, Listing):
            return [pair for entry in value.entries for pair in self._join_pairs(entry, between)]
        if isinstance(value, Block):
            pairs = ((name, self.reader.written(entry)) for name, entry in value.entries.items())
            return [f"{name}{between}{text or ''}" for name, text in pairs]
        return [self.reader.written(value) or ""]

    def _settle(self, orders: list[Item]) -> Item:
        """One order of later rounds from the words that a block has for it."""
        told = [replace(item, value=_order(item)) for item in orders]
        told = [item for item in told if item.value is not None]
        for item in told[1:]:
            if item.value != told[0].value:
                self._add(item.place, f"contradicts {told[0].key}, which is {told[0].value}: leave one out")
        return told[0] if told else replace(orders[0], value=None, unread=any(item.unread for item in orders))


def _order(item: Item) -> Any:
    """The order that the item asks for; None: it leaves that open."""
    if item.value is None or item.key == "round2_order":
        return item.value
    if item.key == "no_shuffle_round2":
        return "same" if item.value else None
    return "shuffled" if item.value else "same"
