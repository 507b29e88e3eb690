"""The environment of this process while a stage runs; what is in it is the recipe's business."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager


@contextmanager
def stage_environment(changes: Mapping[str, str | None]) -> Iterator[None]:
    """Sets the variables (None unsets) for the length of the block, for this process and those that it forks.

    Afterwards the environment is what it was before, whatever happened, and whoever else had changed it.
    """
    before = dict(os.environ)
    try:
        for name, text in changes.items():
            if text is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = text
        yield
    finally:
        for name in os.environ.keys() - before.keys():
            del os.environ[name]
        for name, text in before.items():
            if os.environ.get(name) != text:
                os.environ[name] = text
