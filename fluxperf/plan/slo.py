"""SLO files: YAML read into an `Slo`, every mistake with its line. What meets a constraint is not decided here.

The file is walked as YAML nodes, not as the values they stand for: nodes know their line, and a
key that is given twice is still there twice.
"""

from __future__ import annotations

import math
import os
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path

import yaml

from fluxperf.errors import UsageError
from fluxperf.metrics import BY_NAME
from fluxperf.model import Constraint, Slo

_TOP_KEYS = ("slo", "constraints", "name")
_NULL = "tag:yaml.org,2002:null"
_NUMBERS = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")
_NO_CONSTRAINT = "no constraint in it; give at least one, such as slo: {ttft_ms: 1000}"
_METRICS = tuple(name for name, metric in BY_NAME.items() if metric.formula)


def load_slo(path: str | os.PathLike[str]) -> Slo:
    """The SLO in the file `path`: bounds under `slo` are exclusive, those under `constraints` inclusive.

    `slo: {ttft_ms: 1000}` and `constraints: {ttft_ms: {max: 200}}` may both be in it, and a `name`.
    Values are in the unit of the metric's name. Raises UsageError with the file, the line and the
    key, also where there is no constraint at all.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{path}: the SLO file cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: the SLO file is not UTF-8 at byte {error.start + 1}") from None
    return _read_slo(_compose(path, text))


@dataclass(frozen=True, slots=True)
class _Place:
    """A YAML node with its file and the path of keys that leads to it."""

    file: Path
    keys: tuple[str, ...]
    node: yaml.Node

    def error(self, what: str) -> UsageError:
        """The mistake, said with its place."""
        return _error(self.file, self.node.start_mark, ": ".join(part for part in (".".join(self.keys), what) if part))

    @property
    def is_null(self) -> bool:
        return self.node.tag == _NULL

    def entries(self, known: Collection[str]) -> Iterator[tuple[str, _Place]]:
        """The keys and values of a mapping (null is an empty one), each key known and there once."""
        if self.is_null:
            return
        if not isinstance(self.node, yaml.MappingNode):
            raise self.error(f"must be a mapping with keys such as {', '.join(known)}")
        seen = set()
        for key_node, value in self.node.value:
            at_key = replace(self, node=key_node)
            key = str(key_node.value)
            if key not in known:
                raise at_key.error(_unknown(key, known))
            if key in seen:
                raise at_key.error(f"{key!r} is given twice; keep one of them")
            seen.add(key)
            yield key, _Place(self.file, (*self.keys, key), value)

    def number(self) -> float:
        """A finite number of at least 0."""
        if self.node.tag not in _NUMBERS:
            raise self.error(f"must be a number such as 1000, but is {self._shown}")
        try:
            value: float = yaml.SafeLoader("").construct_object(self.node)
            usable = math.isfinite(value) and value >= 0
        except (yaml.YAMLError, ValueError, OverflowError):  # It has the tag, but is no number, or a giant.
            usable = False
        if not usable:
            raise self.error(f"must be a finite number of at least 0, but is {self._shown}")
        return value

    @property
    def _shown(self) -> str:
        if isinstance(self.node, yaml.ScalarNode):
            return repr(self.node.value)
        return "a mapping" if isinstance(self.node, yaml.MappingNode) else "a list"


def _compose(path: Path, text: str) -> _Place:
    try:
        node = yaml.compose(text, yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        raise _error(path, error.problem_mark, f"not YAML: {error.problem or error.context}") from None
    except yaml.YAMLError as error:
        raise UsageError(f"{path}: not YAML: {str(error).splitlines()[0]}") from None
    except RecursionError:
        raise UsageError(f"{path}: not an SLO file: it is nested too deeply") from None
    if node is None:
        raise UsageError(f"{path}: {_NO_CONSTRAINT}")
    return _Place(path, (), node)


def _read_slo(top: _Place) -> Slo:
    name = None
    bounds: dict[str, dict[str, float]] = {}
    for section, place in top.entries(_TOP_KEYS):
        if section == "name":
            name = _name(place)
        else:
            read = _below if section == "slo" else _inclusive
            for metric, value in place.entries(_METRICS):
                bounds.setdefault(metric, {}).update(read(value))
    if not bounds:
        raise UsageError(f"{top.file}: {_NO_CONSTRAINT}")
    return Slo(tuple(Constraint(metric, **bound) for metric, bound in bounds.items()), name)


def _name(place: _Place) -> str | None:
    if not isinstance(place.node, yaml.ScalarNode):
        raise place.error("must be a text")
    return None if place.is_null else str(place.node.value)


def _below(place: _Place) -> dict[str, float]:
    if isinstance(place.node, yaml.MappingNode):
        raise place.error("must be a number; {min: ..., max: ...} belongs under constraints")
    below = place.number()
    if not below:
        raise place.error("must be above 0, since no value is below 0")
    return {"below": below}


def _inclusive(place: _Place) -> dict[str, float]:
    if isinstance(place.node, yaml.ScalarNode):
        raise place.error("must be {min: ...}, {max: ...} or both; a plain number belongs under slo")
    bound = {key: value.number() for key, value in place.entries(("min", "max"))}
    if not bound:
        raise place.error("has neither min nor max")
    if bound.get("min", 0) > bound.get("max", math.inf):
        raise place.error(f"min {bound['min']} is above max {bound['max']}: nothing can meet that")
    return bound


def _unknown(key: str, known: Collection[str]) -> str:
    if key in BY_NAME and known is _TOP_KEYS:
        return f"{key!r} belongs under slo or constraints"
    if key in BY_NAME and known is _METRICS:
        return f"{key!r} is pooled over all events, and no value of one request; known are {', '.join(known)}"
    near = get_close_matches(key.lower(), known, 1, 0.5)
    return f"unknown key {key!r}; " + (f"did you mean {near[0]!r}?" if near else f"known are {', '.join(known)}")


def _error(path: Path, mark: yaml.Mark | None, what: str) -> UsageError:
    return UsageError(f"{path}:{mark.line + 1}: {what}" if mark else f"{path}: {what}")
