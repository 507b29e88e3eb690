"""A chart as the JSON from which BokehJS draws it in a browser. The only module that knows Bokeh."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from bokeh.embed import json_item
from bokeh.models import ColumnDataSource, FixedTicker, HoverTool, NumeralTickFormatter, Range1d
from bokeh.models.annotations import Slope
from bokeh.models.annotations.geometry import Span
from bokeh.models.labeling import NoOverlap
from bokeh.models.renderers import GlyphRenderer
from bokeh.plotting import figure

from fluxperf.report.html.chart import Chart, Mark, Rule, Scale
from fluxperf.report.html.palette import COLOURS

_FONT = "system-ui, sans-serif"
_FONT_SIZE = "12px"
# Three digits are what HdrHistogram keeps, and single precision holds seven.
_HELD = {"float64": "float32", "int64": "int32"}
_LARGEST = 2**31 - 1
_FEW = 300
_MOST_PLACES = 300
_TOOLBAR_STYLE = f":host(.bk-inner) {{ background-color: {COLOURS['card'].light}; opacity: 0.9; border-radius: 6px; }}"


def draw(chart: Chart) -> str:
    """The chart as the JSON of a Bokeh item.

    Colours are those of a light page; a dark one replaces them.
    """
    plot = figure(
        height=chart.tall,
        sizing_mode="stretch_width",
        x_axis_type="log" if chart.x.log else "linear",
        y_axis_type="log" if chart.y.log else "linear",
        x_axis_label=chart.x.title,
        y_axis_label=chart.y.title,
        tools="pan,box_zoom,wheel_zoom,reset,save",
        # A finger that moves over the page scrolls it, and a wheel does too.
        active_drag=None,
        active_scroll=None,
        toolbar_location="above",
        toolbar_inner=True,
        min_border_top=12,
        background_fill_color=None,
        border_fill_color=None,
        outline_line_color=None,
        min_border_right=20,
    )
    plot.toolbar.logo = None
    plot.toolbar.autohide = True
    plot.toolbar.stylesheets = [_TOOLBAR_STYLE]
    _set_axes(plot, chart)
    for rule in chart.rules:
        plot.add_layout(_rule(rule))
    _add_hover(plot, chart, [_add(plot, mark) for mark in chart.marks])
    return json.dumps(json_item(plot), separators=(",", ":"))


def _add_hover(plot: Any, chart: Chart, drawn: Sequence[GlyphRenderer[Any]]) -> None:
    """A box with what the nearest point says of itself; and one with all lines at the place where the pointer is."""
    for lines in dict.fromkeys(mark.hover for mark in chart.marks if mark.hover):
        renderers = [one for one, mark in zip(drawn, chart.marks, strict=True) if mark.hover == lines]
        plot.add_tools(_hover_tool(renderers, [("", "$name"), *lines], mode="mouse"))
    marks = [mark for mark in chart.marks if not mark.hover]
    if marks:
        unseen = plot.line("x", "y", source=ColumnDataSource(_at_all_places(marks)), line_alpha=0.0)
        rows = [(mark.name, f"@value_{nth}{chart.value}") for nth, mark in enumerate(marks)]
        plot.add_tools(_hover_tool([unseen], [chart.place, *rows], mode="vline", point_policy="follow_mouse"))


def _hover_tool(renderers: Sequence[Any], tooltips: Sequence[tuple[str, str]], **policies: Any) -> HoverTool:
    return HoverTool(
        renderers=list(renderers), tooltips=list(tooltips), line_policy="nearest", visible=False, **policies
    )


def _at_all_places(marks: Sequence[Mark]) -> dict[str, Any]:
    """What each line is wherever one of them changes, at most at so many places."""
    places = np.unique(np.concatenate([mark.columns["x"] for mark in marks]))
    if len(places) > _MOST_PLACES:
        places = places[np.linspace(0, len(places) - 1, _MOST_PLACES).round().astype(np.int64)]
    columns = {"x": _held(places), "y": _held(_values_at(marks[0], places))}
    if "percent" in marks[0].columns:
        columns["percent"] = _held(100 * (1 - 1 / places))
    return columns | {f"value_{nth}": _held(_values_at(mark, places)) for nth, mark in enumerate(marks)}


def _values_at(mark: Mark, places: Any) -> Any:
    """A line's values: steps stay what they were, also at the end; points are only where they are."""
    x, y = mark.columns["x"], mark.columns["y"]
    # By nearest rank, the percentile of exactly the share at which a step begins is still the value before it.
    side: Literal["left", "right"] = "left" if "percent" in mark.columns else "right"
    found = np.clip(np.searchsorted(x, places, side=side) - 1, 0, len(x) - 1)
    return y[found] if mark.shape == "step" else np.where(x[found] == places, y[found], np.nan)


def _set_axes(plot: Any, chart: Chart) -> None:
    for axis, scale in ((plot.xaxis[0], chart.x), (plot.yaxis[0], chart.y)):
        axis.axis_line_color = axis.major_tick_line_color = COLOURS["rule"].light
        axis.minor_tick_line_color = None
        axis.axis_label_text_color = axis.major_label_text_color = COLOURS["soft"].light
        axis.axis_label_text_font = axis.major_label_text_font = _FONT
        axis.axis_label_text_font_size = axis.major_label_text_font_size = _FONT_SIZE
        axis.axis_label_text_font_style = "normal"
        axis.major_label_policy = NoOverlap(min_distance=4)
        _set_ticks(axis, scale)
    for grid in plot.grid:
        grid.grid_line_color = COLOURS["grid"].light
    _set_range(plot.x_range, chart.x)
    _set_range(plot.y_range, chart.y)
    if chart.x.least is not None and chart.x.most is not None:
        plot.x_range = Range1d(start=chart.x.least, end=chart.x.most)
    if chart.y.least is not None and chart.y.most is not None:
        plot.y_range = Range1d(start=chart.y.least, end=chart.y.most)


def _set_ticks(axis: Any, scale: Scale) -> None:
    if scale.ticks:
        axis.ticker = FixedTicker(ticks=list(scale.ticks))
        axis.major_label_overrides = dict(scale.ticks)
        return
    axis.formatter = NumeralTickFormatter(format="0,0.[000]")


def _set_range(extent: Any, scale: Scale) -> None:
    """Of a range that follows its data: one end may be fixed."""
    if scale.least is not None:
        extent.start = scale.least
    if scale.most is not None:
        extent.end = scale.most


def _rule(rule: Rule) -> Slope | Span:
    look: dict[str, Any] = {
        "line_color": COLOURS[rule.colour].light,
        "line_dash": rule.dash,
        "line_width": 1.5,
        "level": "underlay",
    }
    if rule.slope is None:
        return Span(location=rule.x, dimension="height", **look)
    return Slope(gradient=rule.slope, y_intercept=rule.intercept, **look)


def _add(plot: Any, mark: Mark) -> GlyphRenderer[Any]:
    columns = _steps(mark.columns) if mark.shape == "step" else mark.columns
    source = ColumnDataSource({name: _held(values) for name, values in columns.items()})
    colour = COLOURS[mark.colour].light
    line = {"source": source, "line_color": colour, "line_dash": mark.dash, "line_width": 2}
    if mark.shape in ("line", "linked", "step"):
        added = plot.line("x", "y", **line)
        if mark.shape == "linked":
            plot.scatter("x", "y", source=source, size=7, fill_color=colour, line_color=None)
    elif mark.shape == "crosses":
        added = plot.scatter("x", "y", source=source, marker="x", size=9, line_color=colour, line_width=2)
    else:
        # Thousands of points lie on each other: their density is to be seen.
        alpha = 0.75 if len(mark.columns["x"]) < _FEW else 0.35
        look = {"fill_color": colour, "fill_alpha": alpha, "line_color": None}
        added = plot.scatter("x", "y", source=source, size=6, **look)
    renderer: GlyphRenderer[Any] = added
    renderer.name = mark.name
    renderer.nonselection_glyph = renderer.muted_glyph = None
    return renderer


def _steps(columns: Mapping[str, Any]) -> Mapping[str, Any]:
    """Steps as the corners of a line."""
    return {
        name: np.repeat(values, 2)[:-1] if name == "y" else np.repeat(values, 2)[1:] for name, values in columns.items()
    }


def _held(values: Any) -> Any:
    """An array in as few bytes as do; other values as they are."""
    if not isinstance(values, np.ndarray) or values.dtype.name not in _HELD:
        return values
    if values.dtype.name == "int64" and len(values) and int(np.abs(values).max()) > _LARGEST:
        return values.astype(np.float64)
    return values.astype(_HELD[values.dtype.name])
