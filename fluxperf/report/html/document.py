"""A whole HTML file around the body of a page: nothing in it asks for anything else, and the browser is told so."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from fluxperf.report.html.markup import Html, element, script_data
from fluxperf.report.html.palette import colour_variables, dark_of

_NOTICE = (
    "Plots need JavaScript. All text and tables are here without it, and every number of the plots is in the JSON "
    "files beside this page."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Assets:
    """What the page brings along: the plotting library, its licence, and our own script and styles."""

    library: str
    script: str
    style: str


def document(title: str, body: Iterable[Html], assets: Assets) -> Iterator[str]:
    """The file in pieces."""
    style = Html(colour_variables() + assets.style)
    # A script may end in a comment, but none may have the end of its element within it.
    scripts = [script.replace("</script", "<\\/script") for script in (assets.library, assets.script)]
    yield '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
    yield element("meta", http_equiv="Content-Security-Policy", content=_policy(scripts)) + "\n"
    yield element("meta", name="viewport", content="width=device-width, initial-scale=1") + "\n"
    yield element("meta", name="color-scheme", content="light dark") + "\n"
    yield element("meta", name="generator", content="FluxPerf") + "\n"
    yield element("meta", name="referrer", content="no-referrer") + "\n"
    yield element("title", title) + "\n"
    yield element("style", style) + "\n</head>\n<body>\n"
    yield element("noscript", element("p", _NOTICE, class_="warning")) + "\n"
    for piece in body:
        yield piece + "\n"
    yield element("script", script_data(json.dumps(dark_of())), type="application/json", id="dark-of") + "\n"
    for script in scripts:
        yield f"<script>{script}</script>\n"
    yield "</body>\n</html>\n"


def _policy(scripts: Iterable[str]) -> str:
    """Our own scripts may run, by their hashes, and no others; nothing may be fetched, sent or framed."""
    hashes = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts]
    allowed = " ".join(f"'sha256-{found}'" for found in hashes)
    return (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data: blob:; "
        "base-uri 'none'; form-action 'none'"
    )
