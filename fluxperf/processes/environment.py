"""The environment of what we start: the stage's, without the keys that are FluxPerf's alone."""

from __future__ import annotations

from collections.abc import Collection, Mapping


def child_environment(
    environ: Mapping[str, str], hidden: Collection[str], key: str | None, more: Mapping[str, str | None]
) -> dict[str, str]:
    """`environ` without the variables `hidden`, and with `more` on top (None unsets).

    No variable has the API key `key` as its value, wherever it comes from.
    """
    inherited: dict[str, str | None] = {name: text for name, text in environ.items() if name not in hidden}
    return {name: text for name, text in (inherited | {**more}).items() if text is not None and text != (key or None)}
