"""A calibration as text: one line a step, no wider than 80 columns, and the verdict below."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from fluxperf.calibrate.step import Step

WIDTH = 80
_HEAD = (
    "Streams  Tokens/s   TTFT error, ms    Gap error, ms     Client CPU   Server late",
    "                      p50      p99     p50      p99  share us/token      p99, ms",
)


def render_steps(steps: Sequence[Step]) -> str:
    """The steps in order of their load; below the table, what is wrong with those that are marked."""
    rows = [_row(step) for step in sorted(steps, key=lambda step: step.streams)]
    lines = [*_HEAD, "-" * WIDTH, *rows]
    if any(step.limit == "client" for step in steps):
        lines.append("* the client could not keep up")
    if any(step.limit == "server" for step in steps):
        lines.append("! the test server did not keep its schedule")
    return "\n".join(lines)


def render_head(entry: Mapping[str, Any]) -> str:
    """What was measured, and how, as one sentence."""
    schedule = entry["schedule"]
    server = "the compiled server" if entry["server"] == "compiled" else "the mock server (no C compiler was used)"
    cores = "on cores of their own" if entry["cores_apart"] else "on the same core, the only one there is"
    return (
        f"Client with one worker, HTTP/{entry['protocol']}, against {server}, {cores}; answers of "
        f"{schedule['tokens']} tokens, TTFT {schedule['ttft_ms']:g} ms, a token each {schedule['itl_ms']:g} ms."
    )


def render_text(text: str) -> str:
    """A sentence, broken to the width of the table."""
    return textwrap.fill(text, WIDTH, break_long_words=False, break_on_hyphens=False)


def _row(step: Step) -> str:
    mark = {"client": "*", "server": "!", None: " "}[step.limit]
    errors = {name: _number(figure.error_ms, 3) for name, figure in step.figures.items()}
    return (
        f"{step.streams:>6,}{mark} {step.tokens_per_s:>9,.0f}"
        f"{errors['ttft_p50']:>9}{errors['ttft_p99']:>9}{errors['gap_p50']:>8}{errors['gap_p99']:>9}"
        f"{step.cpu_share:>7.0%}{_number(step.cpu_us_per_token, 1):>9}{_number(step.late_p99_ms, 3):>12}"
    )


def _number(value: float | None, digits: int) -> str:
    """`value` with so many digits after the point, or fewer where it would not fit in 8 characters; `-`: none."""
    if value is None:
        return "-"
    text = f"{round(value, digits) + 0.0:.{digits}f}"  # no -0.000
    return text if len(text) < 9 else f"{value:.0f}"
