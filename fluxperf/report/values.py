"""Values as files hold them: rounded where more digits mean nothing, absent where there is no number, and UTF-8."""

from __future__ import annotations

import math
import re
from dataclasses import fields

from fluxperf.model import Stats

STATS = tuple(field.name for field in fields(Stats))

MS_DIGITS = 6  # a nanosecond
S_DIGITS = 9

_SURROGATE = re.compile("[\ud800-\udfff]")


def rounded(value: float | None, digits: int = MS_DIGITS) -> float | None:
    """`value` to `digits` decimals; None for None, NaN and the infinities."""
    return None if value is None or not math.isfinite(value) else round(value, digits)


def spread(stats: Stats) -> dict[str, float | None]:
    """The eight figures of one metric by name, in the order that CSV and JSON have them."""
    return {name: rounded(getattr(stats, name)) for name in STATS}


def encodable(text: str) -> str:
    """`text` with U+FFFD in place of surrogates that stand alone, which UTF-8 cannot hold."""
    return _SURROGATE.sub("\N{REPLACEMENT CHARACTER}", text)
