"""Gates as they are written, `ttft_ms.p99 > +10%`, read into `Gate`s. Knows no run, and no plan.

A gate says when the build fails: words that narrow it down (`round2`, `round2/round1`, `concurrency=8`, `stage=NAME`),
a figure, `>` or `<`, and a threshold: a change against the baseline with sign and `%`, a value in the figure's unit, or
a ratio where it is about two rounds. What a gate needs of a plan is checked by `fluxperf.plan.gate_checks`.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from difflib import get_close_matches
from typing import NoReturn

from fluxperf.errors import UsageError
from fluxperf.metrics import BY_NAME
from fluxperf.model import CONTROL, RoundName
from fluxperf.model.contrast import Figure
from fluxperf.model.gate import Against, Gate
from fluxperf.model.shown import unit_of

STATISTICS = ("mean", "avg", "p50", "p90", "p95", "p99")
_OF_REQUESTS = ("ttft_ms", "itl_ms", "latency_ms", "ttfo_ms", "output_token_throughput")
SHARES = ("goodput", "errors", "cached_tokens")
_TOTALS = ("tokens_per_s", "requests_per_s", "duration_s")
METRICS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(_OF_REQUESTS, STATISTICS),
    "chunk_gap_ms": STATISTICS[1:],
    **dict.fromkeys(SHARES, ("ratio",)),
    **dict.fromkeys(_TOTALS, ()),
}
"""What a gate may be about, each metric with its statistics; one without has none."""
LOWER_IS_BETTER = frozenset(
    {name for name in METRICS if name in BY_NAME and BY_NAME[name].lower_is_better} | {"errors", "duration_s"}
)

_EXAMPLE = "a gate looks like 'ttft_ms.p99 > +10%', 'goodput.ratio < 0.95' or 'round2/round1 ttft_ms.p50 > 0.6'"
_TOKEN = re.compile(
    r"""\s*(?:(?P<key>[A-Za-z_]+)\s*=(?!=)\s*(?P<value>"(?:[^"\\]|\\.)*"|'[^']*'|[^\s<>"']+)(?=\s|$)"""
    r"""|(?P<operator>[<>=!~]+)|(?P<word>[^\s<>=!~"']+))"""
)
_ROUND = re.compile(r"round(\d{1,4})|(control)", re.ASCII)
_CALL = re.compile(r"(\w+)\(([\w.]+)\)")
_NUMBER = re.compile(r"(?P<sign>[+-]?)(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,3})?)(?P<unit>.*)", re.ASCII)
_LOOKALIKES = {
    "≥": ">=",
    "≤": "<=",
    "⩾": ">=",
    "⩽": "<=",
    "\u2212": "-",
    "\u2013": "-",
    "\u2014": "-",
    "→": ">",
    "«": "<",
    "»": ">",
}
# Statistics that our tables have and gates have not, and why.
_SINGLE_VALUE = "that is one request: it has no interval, and one hiccup would fail the build; take p99"
_REFUSED = {"max": _SINGLE_VALUE, "min": _SINGLE_VALUE, "stddev": "gates know no spread; take p50 and p99"}
_REFUSED_METRICS = {
    "connect_ms": "is not the server's doing alone, and 0 on warm connections; take ttft_ms",
    "wait_ms": "is the client's waiting for a connection; take ttft_ms",
}


def parse_gate(text: str) -> Gate:
    """The gate that `text` is. Raises UsageError that says what is wrong with which word, and what was likely meant.

    What is exactly at the threshold fails with `>=` and `<=`, and passes with `>` and `<`: `>= x` is above the number
    just below x. Whether it ever can or cannot fail is not asked here, but by `gate_checks.find_doubts`.
    """
    return _Reading(text).read()


def parse_gates(texts: Iterable[str]) -> tuple[Gate, ...]:
    """The gates, each once. Raises UsageError with all that is wrong, a line for each gate."""
    gates, faults = [], []
    for text in texts:
        try:
            gates.append(parse_gate(text))
        except UsageError as error:
            faults.append(str(error))
    if faults:
        raise UsageError("\n".join(faults))
    return tuple(dict.fromkeys(gates))


@dataclass(frozen=True, slots=True)
class _Threshold:
    value: float
    against: Against


@dataclass(slots=True)
class _Reading:
    """One text on its way to a gate."""

    text: str
    narrowing: dict[str, str] = field(default_factory=dict)

    def read(self) -> Gate:
        if not self.text.strip():
            raise self.fault(f"is empty; {_EXAMPLE}")
        before, operator, after = self._split()
        if not before:
            raise self.fault(f"has nothing before {operator}: which figure? {_EXAMPLE}")
        *words, name = before
        if _ROUND.fullmatch(name) or len(words) > 1 or (words and not self._looks_round(words[0])):
            self._refuse_words(before)
        figure = self._read_figure(name)
        later, earlier = self._read_rounds(words[0]) if words else (None, None)
        threshold = self._read_threshold("".join(after), figure, of_rounds=earlier is not None)
        above = operator.startswith(">")
        value = threshold.value
        return Gate(
            text=self.text.strip(),
            figure=figure,
            above=above,
            threshold=math.nextafter(value, -math.inf if above else math.inf) if "=" in operator else value,
            against=threshold.against,
            round=later,
            earlier=earlier,
            concurrency=self._read_concurrency(),
            stage=self.narrowing.get("stage"),
        )

    def fault(self, what: str) -> UsageError:
        """What to raise."""
        shown = self.text if len(self.text) <= 200 else f"{self.text[:200]}..."
        return UsageError(f"gate {shown!r}: {what}")

    def _split(self) -> tuple[list[str], str, list[str]]:
        """Words before the operator, the operator, and what follows; what narrows down is taken out."""
        words: list[str] = []
        operators: list[str] = []
        before = 0
        at, end = 0, len(self.text.rstrip())
        while at < end:
            token = _TOKEN.match(self.text, at)
            self._check_lookalikes(token[0] if token and token["key"] != "stage" else "")
            if token is None:
                raise self.fault(
                    f"cannot be read from {self.text[at:].strip()[:20]!r} on: is a quote not closed? {_EXAMPLE}"
                )
            at = token.end()
            if token["operator"]:
                operators.append(token["operator"])
                before = len(words)
            elif token["key"]:
                self._narrow(token["key"], token["value"])
            else:
                words.append(token["word"])
        if len(operators) != 1:
            self._refuse_operators(operators, words)
        if operators[0] not in (">", ">=", "<", "<="):
            raise self.fault(
                f"{operators[0]} is none of >, >=, < and <=: a measured figure is hardly ever exactly something"
            )
        return words[:before], operators[0], words[before:]

    def _refuse_operators(self, operators: Sequence[str], words: Sequence[str]) -> NoReturn:
        if operators:
            raise self.fault("has more than one comparison in it: give each condition as a gate of its own")
        figure = next((word for word in words if word.split(".")[0] in METRICS), "ttft_ms.p99")
        raise self.fault(f"does not say when it fails: add > or < and a threshold, such as '{figure} > +10%'")

    def _check_lookalikes(self, part: str) -> None:
        for character in part:
            plain = _LOOKALIKES.get(character) or unicodedata.normalize("NFKC", character)
            if not character.isascii() and plain.isascii() and not plain.isspace():
                raise self.fault(f"has {character!r} in it: write {plain}")

    def _narrow(self, key: str, value: str) -> None:
        if key in METRICS:
            raise self.fault("= is none of >, >=, < and <=: a measured figure is hardly ever exactly something")
        if key not in ("concurrency", "stage"):
            near = get_close_matches(key.lower(), ("concurrency", "stage"), 1, 0.5)
            hint = f"did you mean {near[0]}={value}?" if near else "known are concurrency=N and stage=NAME"
            raise self.fault(f"{key}= narrows nothing down; {hint}")
        if key in self.narrowing:
            raise self.fault(f"{key}= is given twice; for two of them write two gates")
        if value[0] in "\"'":
            value = re.sub(r"\\(.)", r"\1", value[1:-1], flags=re.DOTALL) if value[0] == '"' else value[1:-1]
        self.narrowing[key] = value

    def _refuse_words(self, words: Sequence[str]) -> NoReturn:
        """There is a word too many before the operator, or the figure is not the last of them."""
        figures = [word for word in words if word.split(".")[0] in METRICS]
        if not figures:
            named = " ".join(words)
            raise self.fault(f"{named!r} names no figure, such as ttft_ms.p99; known are {', '.join(METRICS)}")
        if figures[0] != words[-1]:
            raise self.fault(f"what narrows it down comes before the figure: '{words[-1]} {figures[0]} ...'")
        if words[0].lower() in ("round", "rounds") and len(words) > 2:
            raise self.fault(f"write round{words[1]}, in one word")
        stray = next((word for word in words[:-1] if not self._looks_round(word)), None)
        if stray is None:
            raise self.fault("names rounds twice; a ratio of two is round2/round1")
        if "stage" in self.narrowing:
            raise self.fault(f"{stray!r} narrows nothing down; put a stage's name with spaces in quotes")
        near = get_close_matches(stray.lower(), ("round1", "round2", "round2/round1", CONTROL), 1, 0.5)
        hint = f"did you mean {near[0]}?" if near else "a round is round1, round2 or control, two are round2/round1"
        raise self.fault(f"{stray!r} narrows nothing down; {hint}")

    @staticmethod
    def _looks_round(word: str) -> bool:
        return all(_ROUND.fullmatch(part) for part in word.split("/"))

    def _read_rounds(self, word: str) -> tuple[RoundName, RoundName | None]:
        names = [self._read_round(part) for part in word.split("/")]
        if len(names) > 2 or (len(names) == 2 and names[0] == names[1]):
            raise self.fault(f"{word!r}: two different rounds are compared, such as round2/round1")
        return names[0], names[1] if len(names) == 2 else None

    def _read_round(self, word: str) -> RoundName:
        found = _ROUND.fullmatch(word)
        number = found[1] if found else None
        if number is not None and not int(number):
            raise self.fault("rounds count from 1")
        return CONTROL if number is None else int(number)

    def _read_concurrency(self) -> int | None:
        text = self.narrowing.get("concurrency")
        if text is not None and not re.fullmatch(r"[1-9]\d{0,5}", text, re.ASCII):
            raise self.fault(f"concurrency={text}: takes one whole number of at least 1")
        return None if text is None else int(text)

    def _read_figure(self, name: str) -> Figure:
        if call := _CALL.fullmatch(name):
            raise self.fault(f"write {_nearest(call[2], call[1]) or 'ttft_ms.p99'} for {name}: metric, dot, statistic")
        metric, dot, statistic = name.partition(".")
        if metric in _REFUSED_METRICS:
            raise self.fault(f"{metric} {_REFUSED_METRICS[metric]}")
        if metric not in METRICS:
            near = _nearest(metric, statistic)
            hint = f"did you mean {near}?" if near else f"known are {', '.join(METRICS)}"
            raise self.fault(f"there is no metric {metric!r}; {hint}")
        known = METRICS[metric]
        if statistic in known:
            return Figure(metric, statistic)
        if not known and not dot:
            return Figure(metric)
        if not known:
            raise self.fault(f"{metric} has no statistics: write {metric} alone")
        every = ", ".join(f"{metric}.{one}" for one in known)
        if not statistic:
            raise self.fault(f"{metric} needs a statistic: {every}")
        raise self.fault(f"{metric} has no {statistic!r}: {_REFUSED.get(statistic, f'there are {every}')}")

    def _read_threshold(self, text: str, figure: Figure, *, of_rounds: bool) -> _Threshold:
        if not text:
            raise self.fault("has no threshold: add +10% for a change against the baseline, or a value such as 250")
        found = _NUMBER.fullmatch(text)
        if found is None or found["unit"][:1] in (",", "_", "."):
            more = ": write 0.95 or 1000, with a point and without groups of digits" if "," in text else ""
            raise self.fault(f"{text!r} is no number{more or '; a threshold is +10%, or a value such as 250'}")
        sign, number, unit = found["sign"], found["number"], found["unit"]
        value = float(number)
        if not math.isfinite(value):
            raise self.fault(f"{text!r} is too large a number")
        if of_rounds and (sign or unit):
            ratio = 1 + float(f"{sign}{number}") / 100
            raise self.fault(
                f"{text!r}: a ratio of two rounds is a plain number, such as {max(ratio, 0.6) if unit else 0.6:g}"
            )
        if unit == "%":
            return self._read_change(sign, number)
        if sign:
            self._refuse_sign(text, sign, number, figure)
        own = unit_of(figure.metric)
        if unit and unit != own:
            said = f"is in {own}" if own else "is a share from 0 to 1"
            raise self.fault(f"{unit!r} is not its unit: {figure} {said}; write the number alone")
        return _Threshold(value, Against.ROUND if of_rounds else Against.VALUE)

    def _read_change(self, sign: str, number: str) -> _Threshold:
        if not sign:
            share = f"{float(number) / 100:g}"
            raise self.fault(
                f"{number}% can be read in two ways: write +{number}% for a change against the baseline, "
                f"or {share} for a share or a ratio"
            )
        change = Decimal(number) / 100
        ratio = float(1 + change if sign == "+" else 1 - change)
        if not (0 <= ratio < math.inf):
            raise self.fault(f"{sign}{number}%: nothing falls by more than 100 %")
        return _Threshold(ratio, Against.BASELINE)

    def _refuse_sign(self, text: str, sign: str, number: str, figure: Figure) -> NoReturn:
        unit = unit_of(figure.metric)
        value = f"{number} for {number} {unit}" if unit else f"{number} for the share itself"
        never = f"{figure} is never negative; " if sign == "-" else ""
        raise self.fault(f"{text!r}: {never}write {sign}{number}% for a change against the baseline, or {value}")


def _nearest(metric: str, statistic: str) -> str | None:
    """The figure that was likely meant; None: nothing is near."""
    metric, statistic = metric.lower(), statistic.lower()
    spelled = next((name for name in METRICS if name in (f"{metric}_ms", f"{metric}_per_s", f"{metric}_s")), None)
    near = [spelled] if spelled else get_close_matches(metric, list(METRICS), 1, 0.6)
    if not near:
        return None
    known = METRICS[near[0]]
    if not known:
        return near[0]
    return f"{near[0]}.{statistic if statistic in known else known[-1]}"
