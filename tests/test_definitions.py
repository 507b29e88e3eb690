"""A change of what metrics mean must not go by unnoticed: results before it and after it are not alike."""

from __future__ import annotations

import ast
import hashlib
import inspect

import fluxperf.metrics
import fluxperf.tally
from fluxperf.definitions import DEFINITIONS
from fluxperf.metrics import METRICS

KNOWN = {1: "f098234c863edef0"}


def digest() -> str:
    """Of all that decides a figure: the code without words about it, and the units."""
    parts = [(metric.name, metric.unit, metric.per_unit, metric.lower_is_better) for metric in METRICS]
    formulas = [node for node in tree(fluxperf.metrics).body if isinstance(node, ast.FunctionDef)]
    text = "\n".join(map(ast.unparse, formulas)) + ast.unparse(tree(fluxperf.tally)) + repr(parts)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def tree(module: object) -> ast.Module:
    """The module's code without docstrings."""
    found = ast.parse(inspect.getsource(module))  # type: ignore[arg-type]
    for node in ast.walk(found):
        if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Module) and ast.get_docstring(node) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    return found


def test_a_change_of_definitions_is_counted() -> None:
    assert KNOWN[DEFINITIONS] == digest(), (
        "metrics.py or tally.py have changed: if a figure now means something else, count DEFINITIONS up; "
        "then put the new digest here"
    )
