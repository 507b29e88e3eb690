"""What the words on the page mean: as a hint at each of them, and as a list at its end."""

from __future__ import annotations

from fluxperf.model import CONTROL, RoundName
from fluxperf.report.html.markup import Html, element, join

TERMS = {
    "TTFT": "time to first token: from sending a request to the first token of its answer",
    "ITL": "inter-token latency: the time between tokens, the average over one answer",
    "Latency": "from sending a request to the end of its answer",
    "Chunk gap": "the time between two events of a stream, whatever number of tokens they bring",
    "Goodput": "the share of all requests that met every objective of the SLO file",
    "Cached": "prompt tokens that the server says it found in its cache, as a share of all prompt tokens",
    "Cold": "whether the round's prompts were new to the server",
    "p50": "the median: half of the values are at or below it",
    "p99": "99 % of the values are at or below it",
    "95 % interval": "where the true value is, in 95 of 100 runs like this one",
    "Control round": "fresh prompts of the same lengths, sent last, which no cache can hold",
    "Knee": "the level with the highest throughput / latency: beyond it, load costs more latency than it buys "
    "throughput",
}


def term(name: str, shown: str | None = None) -> Html:
    """The word, with what it means as a hint; another text may be shown for it."""
    return element("abbr", shown or name, title=TERMS[name])


def round_title(name: RoundName) -> str:
    """`Round 2`, `Control round`: what a round is called in headings and legends."""
    return "Control round" if name == CONTROL else f"Round {name}"


def glossary() -> Html:
    """All of them, folded."""
    entries = join(join([element("dt", name), element("dd", f"{text}.")]) for name, text in TERMS.items())
    return element("details", element("summary", "What the words mean"), element("dl", entries, class_="terms"))
