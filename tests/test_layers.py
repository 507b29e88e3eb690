"""Imports go down only, and the pure layers stay pure. Imports inside functions and under TYPE_CHECKING count too."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

# What each part of FluxPerf may import of FluxPerf, besides itself and the version. A new module needs a row.
BOTTOM = {"units", "errors", "files", "masking", "mapped"}
VALUES = BOTTOM | {"model", "metrics"}
MIDDLE = VALUES | {"clock", "fetch", "spool", "api", "plan", "tally"}
SIDES = {"analysis", "report", "watch", "fluxperf_mock"}
LAYERS = {
    "__init__": set[str](),
    "units": set[str](),
    "definitions": set[str](),
    "errors": set[str](),
    "files": {"units", "errors"},
    "words": {"errors"},
    "masking": {"units", "errors"},
    "mapped": {"units", "errors"},
    "spool": BOTTOM,
    "clock": BOTTOM,
    "fetch": BOTTOM | {"clock"},
    "meter": BOTTOM | {"clock"},
    "model": BOTTOM,
    "api": BOTTOM | {"model"},
    "metrics": BOTTOM | {"model"},
    "plan": VALUES,
    "tally": VALUES,
    "analysis": VALUES | {"tally"},
    "report": VALUES,
    "watch": BOTTOM | {"model", "clock", "fetch"},
    "processes": BOTTOM | {"clock", "fetch", "plan"},
    "fluxperf_mock": BOTTOM | {"clock"},
    "fluxperf_tools": VALUES | {"clock", "meter", "plan", "words"},
    "engine": MIDDLE,
    "launch": MIDDLE | {"engine"},
    "environment": set[str](),
    "sent": BOTTOM,
    "output": VALUES | {"report"},
    "site": MIDDLE | {"watch", "engine"},
    "hosting": MIDDLE | {"engine", "fluxperf_mock", "processes", "site"},
    "hooking": MIDDLE | {"processes", "site", "voice"},
    "particulars": MIDDLE | {"engine", "sent", "site"},
    "stage": MIDDLE
    | SIDES
    | {"crew", "engine", "hosting", "launch", "output", "particulars", "past", "remains", "sent", "site"},
    "crew": MIDDLE | {"watch", "engine", "particulars"},
    "remains": MIDDLE | {"output"},
    "past": MIDDLE | {"analysis", "hosting", "particulars", "sent", "watch"},
    "voice": MIDDLE | {"meter", "watch"},
    "survey": MIDDLE | {"engine", "environment", "launch", "meter", "output", "site", "voice", "watch"},
    "saved": MIDDLE | {"definitions", "survey"},
    "resumption": MIDDLE | {"saved", "survey"},
    "machine": BOTTOM,
    "revision": BOTTOM,
    "outline": MIDDLE | {"report"},
    "provenance": MIDDLE | {"definitions", "machine", "revision", "site"},
    "ledger": MIDDLE | SIDES | {"output", "provenance", "voice"},
    "chronicle": MIDDLE | SIDES | {"output", "provenance", "saved"},
    "calibrate": BOTTOM | {"launch"},
    "books": MIDDLE | {"chronicle", "output", "provenance", "resumption", "saved", "survey", "voice"},
    "course": MIDDLE
    | SIDES
    | {"calibrate", "chronicle", "crew", "engine", "environment", "hooking", "hosting", "launch", "ledger", "output"}
    | {"particulars", "past", "provenance", "resumption", "sent", "site", "stage", "survey", "voice"},
    "runner": MIDDLE
    | SIDES
    | {"aftermath", "books", "course", "crew", "ledger", "hosting", "launch", "outline", "output", "resumption"}
    | {"saved", "sent", "survey", "voice"},
    "aftermath": MIDDLE
    | SIDES
    | {"baselines", "compare", "definitions", "output", "presentation", "stored", "survey", "voice"},
    "usage": set[str](),
    "stored": VALUES,
    "baselines": VALUES | {"clock", "stored", "words"},
    "compare": VALUES | {"analysis", "baselines", "clock", "plan", "report", "stored", "words"},
    "presentation": VALUES | {"analysis", "clock", "plan", "report", "stored", "words"},
    "cli": MIDDLE | SIDES | {"baselines", "calibrate", "compare", "presentation", "runner", "survey", "usage", "words"},
    "__main__": {"cli"},
}
PURE = {"api", "model", "metrics", "plan", "tally", "analysis", "report"}
ASYNCHRONOUS = (ast.AsyncFunctionDef, ast.Await, ast.AsyncFor, ast.AsyncWith)
# Where the libraries that do IO may be used; the launcher runs the engine's event loop in each worker.
IO_LIBRARIES = {"trio": {"engine", "launch"}, "httpx": {"engine", "fetch"}, "h2": {"engine", "fluxperf_mock"}}


def imports(tree: ast.AST) -> Iterator[str]:
    """Every dotted name that is imported: `from a import b` gives `a.b`, a relative import begins with a dot."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{'.' * node.level}{node.module or ''}.{alias.name}" for alias in node.names)


def may_import(layer: str, name: str) -> bool:
    top, below, *_ = [*name.split("."), ""]
    if top in ("fluxperf", "fluxperf_mock", "fluxperf_tools"):
        return (below if top == "fluxperf" else top) in LAYERS[layer] | {layer, "", "__version__"}
    if top in IO_LIBRARIES:
        return layer in IO_LIBRARIES[top]
    return top != "" and not (top == "time" and layer in PURE)


def offences(layer: str, source: str) -> list[str]:
    """What a module of `layer` does against the rules."""
    tree = ast.parse(source)
    found = [f"imports {name}" for name in imports(tree) if not may_import(layer, name)]
    for node in ast.walk(tree) if layer in PURE else ():
        if isinstance(node, ASYNCHRONOUS):
            found.append(f"line {node.lineno} is asynchronous")
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print":
            found.append(f"line {node.lineno} prints")
    return found


MODULES = {
    str(path.relative_to(ROOT)): path
    for folder in ("fluxperf", "mock/fluxperf_mock", "tools/fluxperf_tools")
    for path in sorted((ROOT / folder).rglob("*.py"))
}


@pytest.mark.parametrize("name", MODULES)
def test_module_keeps_to_its_layer(name: str) -> None:
    parts = MODULES[name].relative_to(ROOT).with_suffix("").parts
    layer = "fluxperf_tools" if parts[0] == "tools" else parts[1]
    assert layer in LAYERS, f"{layer} has no row in LAYERS"
    assert offences(layer, MODULES[name].read_text("utf-8")) == []


@pytest.mark.parametrize(
    ("layer", "source"),
    [
        ("model", "from fluxperf.metrics import METRICS"),
        ("model", "from fluxperf import metrics"),
        ("model", "import fluxperf.metrics"),
        ("engine", "def later():\n    from fluxperf.launch.fork import fork"),
        ("plan", "if TYPE_CHECKING:\n    from fluxperf.runner import Run"),
        ("report", "from fluxperf.clock import now_ns"),
        ("engine", "from .. import runner"),
        ("engine", "import fluxperf_mock.server"),
        ("launch", "from httpx import AsyncClient"),
        ("api", "from time import monotonic_ns"),
        ("analysis", "async def merge(): ..."),
        ("report", "print('done')"),
        ("fluxperf_mock", "from fluxperf.model import Timeline"),
        ("engine", "import fluxperf_tools.reading"),
        ("fluxperf_tools", "from fluxperf.engine.worker import Worker"),
    ],
)
def test_an_offence_is_found(layer: str, source: str) -> None:
    assert offences(layer, source) != []


def test_datasets_is_no_package() -> None:
    """A package of that name would hide Hugging Face's `datasets` from everything that runs in a clone."""
    assert not (ROOT / "datasets" / "__init__.py").exists()
