"""The environment of a stage: variables with their texts, as they are written."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from fluxperf.plan.recipe.document import Block, Value
from fluxperf.plan.recipe.values import Reader, Unread, resolve_null
from fluxperf.plan.recipe.variables import Lookup


def read_env(blocks: Iterable[Value | None], reader: Reader) -> dict[str, str | None]:
    """The variables of all blocks, later ones above earlier ones; None unsets.

    A value may hold variables that stand before it, else those that `reader` knows.
    """
    env: dict[str, str | None] = {}
    reader = replace(reader, lookup=make_lookup(env, reader.lookup))
    for block in blocks:
        if block is None or resolve_null(block) is None:
            continue
        if not isinstance(block, Block):
            reader.faults.add(block.place, "must be a mapping of variables, such as CUDA_VISIBLE_DEVICES: 0")
            continue
        for name, value in block.entries.items():
            if problem := _find_problem(name):
                reader.faults.add(value.place, problem)
                continue
            try:
                env[name] = reader.written(value)
            except Unread:
                env[name] = ""  # so that what needs it is no fault of its own
    return env


def make_lookup(env: Mapping[str, str | None], further: Lookup) -> Lookup:
    """Looks a variable up in `env`, where None hides it, and then further on."""
    return lambda name: env[name] if name in env else further(name)


def _find_problem(name: str) -> str | None:
    if not name or "=" in name:
        return "cannot be the name of a variable: it is empty, or holds a ="
    return None
