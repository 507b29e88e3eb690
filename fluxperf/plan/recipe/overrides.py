"""What the command line changes of a recipe, as sentences; no key is in them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from fluxperf.masking import mask_fields, mask_json, mask_url
from fluxperf.plan.readers import READERS, Fault
from fluxperf.plan.recipe.options import Item
from fluxperf.plan.settings import option_name


@dataclass(slots=True)
class Notes:
    """Sentences, and the stages that each is about."""

    found: dict[str, list[str]] = field(default_factory=dict)

    def add(self, text: str, stage: str) -> None:
        """Says it of a stage."""
        self.found.setdefault(text, []).append(stage)

    def sentences(self, stages: int) -> tuple[str, ...]:
        """Each sentence once, with its stages where it is not about all of so many."""
        return tuple(f"{text}{_name_stages(names, stages)}" for text, names in self.found.items())


def _name_stages(names: list[str], stages: int) -> str:
    if len(names) == stages:
        return ""
    return (
        f" (stage{'s' if len(names) > 1 else ''} {', '.join(json.dumps(name, ensure_ascii=False) for name in names)})"
    )


def select_given(given: Mapping[str, Any]) -> dict[str, Any]:
    """The settings among the options of the command line that were really given."""
    return {
        name: raw for name, raw in given.items() if name in READERS and not (raw is None or raw is False or raw == [])
    }


def tell_overrides(given: Mapping[str, Any], items: Mapping[str, Item]) -> Iterator[str]:
    """A sentence for each option that changes what the recipe says."""
    for option, raw in given.items():
        name, new = ("round2_order", "same") if option == "no_shuffle_round2" else (option, raw)
        item = items.get(name)
        if item is None or item.value is None:
            continue
        try:
            before, after = READERS[name](item.value), READERS[name](new)
        except Fault:  # which is told elsewhere
            continue
        if before != after:
            shown = "" if raw is True else _show(name, after)
            key = name if name == "round2_order" else item.key
            yield f"{option_name(option)}{shown} overrides {key}{_show(name, before)}"


def _show(name: str, value: Any) -> str:
    """The value with a space before it; nothing of a key."""
    if name == "api_key":
        return ""
    if isinstance(value, bool):
        return f" {str(value).lower()}"
    if name == "header":
        return "".join(f" '{key}: {text}'" for key, text in mask_fields(value).items())
    if name == "think_time":
        return " " + "-".join(f"{seconds:g}" for seconds in dict.fromkeys(value))
    if name == "label":
        return "".join(f" {key}={text}" for key, text in value)
    if isinstance(value, tuple):
        return "".join(f" {entry}" for entry in value)
    if isinstance(value, Mapping):
        return f" {json.dumps(mask_json(value), ensure_ascii=False)}"
    return f" {mask_url(value) if name.endswith(('url', 'endpoint')) else value}"
