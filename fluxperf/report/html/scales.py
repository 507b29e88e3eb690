"""Axes that suit the values on them: from 0, or logarithmic where those are far apart, with marks people can read."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from fluxperf.report.html.chart import Floats, Scale

# From here on a linear axis shows nothing of what is small.
_LOG_FROM = 30
_ROOM = 1.12
# Which multiples of a power of ten are marked, if the axis spans at most so many of them.
_MULTIPLES = (
    (0.4, (1.0, 1.2, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0)),
    (1.2, (1.0, 1.5, 2.0, 3.0, 5.0, 7.0)),
    (3.0, (1.0, 2.0, 5.0)),
    (math.inf, (1.0,)),
)


def scale_for(title: str, values: Iterable[Floats]) -> Scale:
    """An axis for all of the values."""
    found = [part for part in values if len(part)]
    least = min((float(part.min()) for part in found), default=0.0)
    most = max((float(part.max()) for part in found), default=0.0)
    if least > 0 and most / least > _LOG_FROM:
        return log_scale(title, least, most)
    return Scale(title=title, least=min(least * 1.05, 0.0), most=most * 1.05 if most > 0 else 1.0)


def log_scale(title: str, least: float, most: float) -> Scale:
    """A logarithmic axis with room for values from `least` to `most`, which are above 0."""
    least, most = least / _ROOM, most * _ROOM
    return Scale(title=title, log=True, least=least, most=most, ticks=_log_ticks(least, most))


def _log_ticks(least: float, most: float) -> Mapping[float, str]:
    """Marks within the axis, and for a decade on either side of it, where one may move to."""
    multiples = next(found for widest, found in _MULTIPLES if math.log10(most / least) <= widest)
    decades = range(math.floor(math.log10(least)) - 1, math.ceil(math.log10(most)) + 1)
    return {value: f"{value:,.10g}" for decade in decades for value in (10.0**decade * one for one in multiples)}
