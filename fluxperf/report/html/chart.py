"""A plot as values: what is drawn, on which axes, in which colours, and what it says in words. Draws nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float64]
Ints: TypeAlias = NDArray[np.int64]
Flags: TypeAlias = NDArray[np.bool_]
# Linked points are points with a line through them.
Shape: TypeAlias = Literal["line", "step", "linked", "points", "crosses"]
Dash: TypeAlias = Literal["solid", "dashed", "dotted", "dotdash"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """An axis. `ticks`: where there are marks, and what they say; empty: wherever it suits."""

    title: str
    log: bool = False
    least: float | None = None
    most: float | None = None
    ticks: Mapping[float, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """Points or a line. `columns` has `x` and `y`, and what hovering shows beside them.

    `hover` are the lines that its points have: a name, and a format such as `@before{0.0} ms`. Lines have none: where
    the pointer is, the chart says what all of them are.
    """

    shape: Shape
    name: str
    colour: str
    columns: Mapping[str, NDArray[Any]]
    hover: tuple[tuple[str, str], ...] = ()
    dash: Dash = "solid"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A straight line through all of the plot: y = `intercept` + `slope` * x, or, without a slope, at `x`."""

    colour: str
    slope: float | None = None
    intercept: float = 0.0
    x: float | None = None
    dash: Dash = "dashed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """A plot. `says` has its main numbers in a sentence or two, for who cannot see it; `note` stands below it.

    `tall` in pixels. `place` names what is on the x axis, and its format; `value` is the format of the lines' y.
    """

    title: str
    x: Scale
    y: Scale
    marks: tuple[Mark, ...]
    says: str
    rules: tuple[Rule, ...] = ()
    note: str | None = None
    tall: int = 260
    place: tuple[str, str] = ("", "")
    value: str = ""


@dataclass(frozen=True, slots=True)
class Missing:
    """What stands in the place of a plot that would have nothing to show, and why."""

    title: str
    why: str
