"""The colours of the page, light and dark, by what they are for. Series are told apart by the colour-blind, too."""

from __future__ import annotations

from dataclasses import dataclass

from fluxperf.model import RoundName
from fluxperf.report.html.chart import Dash


@dataclass(frozen=True, slots=True)
class Colour:
    """One colour on a light and on a dark page."""

    light: str
    dark: str


# Each light colour is there once: plots on a dark page have it replaced. Series are in the order of Okabe and Ito's
# palette (jfly.uni-koeln.de/color), as light or dark as 3:1 against the page asks for.
COLOURS = {
    "page": Colour("#fcfcfb", "#15181c"),
    "card": Colour("#ffffff", "#1c2025"),
    "ink": Colour("#1a1d21", "#e6e8eb"),
    "soft": Colour("#59616b", "#a1a9b3"),
    "line": Colour("#dfe2e6", "#333940"),
    "grid": Colour("#e8ebee", "#2a2f35"),
    "rule": Colour("#7b838d", "#8a929c"),
    "link": Colour("#0a5ea8", "#7cb8ef"),
    "good": Colour("#17723f", "#5cc98b"),
    "fair": Colour("#8a5a00", "#e8b04a"),
    "bad": Colour("#b3261e", "#ff8a80"),
    "series-1": Colour("#0072b2", "#56b4e9"),
    "series-2": Colour("#c75000", "#f0883e"),
    "series-3": Colour("#00805c", "#2fc497"),
    "series-4": Colour("#b0508a", "#dd8fbf"),
    "series-5": Colour("#806b00", "#d9c84a"),
    "series-6": Colour("#6b5ecb", "#a99bf5"),
    "series-7": Colour("#5e6770", "#b3bac2"),
    "series-8": Colour("#8b4a2b", "#d09a7c"),
}
_SERIES = tuple(name for name in COLOURS if name.startswith("series-"))
_CONTROL = "series-7"
_DASHES: tuple[Dash, ...] = ("solid", "dashed", "dotdash", "dotted")


def series_colour(nth: int) -> str:
    """The name of the colour of a series, from 0; they repeat."""
    return _SERIES[nth % len(_SERIES)]


def series_dash(nth: int) -> Dash:
    """The dashes of a series, from 0, which differ from its neighbours'."""
    return _DASHES[nth % len(_DASHES)]


def round_colour(name: RoundName) -> str:
    """The name of a round's colour: the same everywhere on the page."""
    return series_colour(name - 1) if isinstance(name, int) else _CONTROL


def round_dash(name: RoundName) -> Dash:
    """The dashes of a round's lines."""
    return series_dash(name - 1) if isinstance(name, int) else "dotted"


def colour_variables() -> str:
    """The colours as CSS, by their names: light, and dark on a screen that is. Paper is always light."""
    light, dark = (
        "".join(f"--{name}:{getattr(colour, way)};" for name, colour in COLOURS.items()) for way in ("light", "dark")
    )
    return f":root{{{light}}}\n@media screen and (prefers-color-scheme:dark){{:root{{{dark}}}}}\n"


def dark_of() -> dict[str, str]:
    """Each light colour's dark one."""
    return {colour.light: colour.dark for colour in COLOURS.values()}
