"""The top of a page: what was measured, what its figures are worth, and the answer, in sentences."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fluxperf.model import CONTROL, Comparison, RoundResult, RunResult, Status, Verdict, worst
from fluxperf.model.evaluation import CacheEvaluation
from fluxperf.model.result import Effect
from fluxperf.report.answer import render_answer
from fluxperf.report.html.markup import Html, element, join
from fluxperf.report.text import count, number, printable, round_name

_MOST_REASONS = 12
# Longer answers are folded.
_MOST_OPEN = 14
_LABEL_LIMIT = 200
# A ratio this near to 1 is neither faster nor slower, with the digits that are shown.
_ALIKE = 0.005
BADGES = {Status.VALID: "good", Status.DEGRADED: "fair", Status.INVALID: "bad"}


def title_of(run: RunResult) -> str:
    """The models that were measured, in a line."""
    return ", ".join(configured(run, "model")) or "A run"


def configured(run: RunResult, key: str) -> list[str]:
    """What a setting was, in any stage or round, each once."""
    places: list[Mapping[str, Any]] = [run.configuration]
    places += [stage.configuration for stage in run.stages]
    places += [result.configuration for result in run.rounds]
    return list(dict.fromkeys(printable(str(place[key]), _LABEL_LIMIT) for place in places if place.get(key)))


def header(run: RunResult) -> Html:
    """Model, server, date and labels."""
    facts = [*configured(run, "endpoint"), *_engines(run), _when(run), *configured(run, "dataset")]
    labels = [
        element("li", element("b", printable(str(key), _LABEL_LIMIT)), " ", printable(str(value), _LABEL_LIMIT))
        for key, value in run.labels.items()
    ]
    return element(
        "header",
        element("p", "FluxPerf", class_="brand"),
        element("h1", title_of(run)),
        element("p", join((element("span", fact) for fact in facts), " "), class_="facts"),
        element("ul", *labels, class_="labels", aria_label="Labels") if labels else None,
    )


def _engines(run: RunResult) -> Iterator[str]:
    """What is known to answer there."""
    engines = []
    for result in run.rounds:
        cache = result.summary.cache
        if cache is not None and cache.counters is not None and cache.counters.engine is not None:
            counters = cache.counters
            engines.append(f"{counters.label or counters.engine} {counters.version or ''}".strip())
    yield from dict.fromkeys(printable(engine) for engine in engines)


def _when(run: RunResult) -> str:
    began = _date(run.started_at)
    return began if run.ended_at is None else f"{began} to {_date(run.ended_at)}"


def _date(stamp: str) -> str:
    """`2026-01-31T12:00:00Z` as people write it."""
    return printable(stamp).replace("T", " ").replace("Z", " UTC")


def badge(status: Status) -> Html:
    """The verdict in one word."""
    return element("span", status.value, class_=f"badge {BADGES[status]}")


def _failed_gates(run: RunResult) -> Html | None:
    """That the build fails, before anything that may sound good."""
    failed = sum(gate.failed for gate in run.gates)
    if not failed:
        return None
    words = f" {count(failed, 'gate')} of {len(run.gates)} failed: "
    return element("p", element("span", "failed", class_="badge bad"), words, element("a", "which", href="#gates"))


def answer_section(run: RunResult) -> Html:
    """The verdict and the answers; where it is not valid, why not comes first."""
    status = None if run.verdict is None else run.verdict.status
    reasons = () if run.verdict is None else run.verdict.reasons
    stopped = "The run was stopped before its end: what is here is what had been finished." if run.partial else None
    return element(
        "section",
        element("h2", "The answer", class_="unseen"),
        element("p", badge(status) if status is not None else element("span", "not judged", class_="badge")),
        element("p", stopped, class_="warning") if stopped else None,
        _failed_gates(run),
        _reasons(reasons) if status is not Status.VALID else None,
        join(_sentences(run)),
        _details(run),
        id="answer",
        class_=f"answer {status.value if status is not None else ''}".strip(),
    )


def _reasons(reasons: Sequence[str]) -> Html | None:
    if not reasons:
        return None
    shown = [element("li", printable(reason)) for reason in reasons[:_MOST_REASONS]]
    left = len(reasons) - len(shown)
    more = element("li", f"and {count(left, 'further reason')}") if left else None
    return element("ul", *shown, more, class_="reasons")


def _sentences(run: RunResult) -> Iterator[Html]:
    levels: dict[tuple[str | None, int], list[RoundResult]] = {}
    for result in run.rounds:
        levels.setdefault((result.stage, result.concurrency), []).append(result)
    if not levels:
        yield element("p", "No round has been finished.", class_="headline")
    for place, rounds in levels.items():
        found = _Level(run, place, rounds)
        for status, sentence in found.sentences():
            proud = status is Status.VALID and (run.verdict is None or run.verdict.status is Status.VALID)
            where = element("b", f"{_place(place)}: ") if len(levels) > 1 else None
            yield element("p", where, sentence, class_="headline" if proud else "headline humble")


def _place(place: tuple[str | None, int]) -> str:
    stage, concurrency = place
    return f"Concurrency {concurrency}" if stage is None else f"{printable(stage)}, concurrency {concurrency}"


@dataclass(frozen=True, slots=True)
class _Level:
    run: RunResult
    place: tuple[str | None, int]
    rounds: Sequence[RoundResult]

    def sentences(self) -> Iterator[tuple[Status, str]]:
        """One for each later round; of a round alone, what it came to."""
        later = [one for one in self.rounds[1:] if one.round != CONTROL]
        for result in later:
            evaluation = self._evaluation(result)
            status = self._status([self.rounds[0], result], evaluation)
            effect = self._effect(result) if evaluation is None else evaluation.effect
            yield status, _tell(result, effect, evaluation, status)
        if not later:
            result = self.rounds[0]
            status = self._status([result], None)
            yield status, _tell_alone(result, status)

    def _evaluation(self, result: RoundResult) -> CacheEvaluation | None:
        place = (*self.place, result.round)
        return next((one for one in self.run.evaluations if (one.stage, one.concurrency, one.round) == place), None)

    def _effect(self, result: RoundResult) -> Comparison | None:
        wanted = (*self.place, result.round, "ttft_ms")
        return next(
            (one for one in self.run.comparisons if (one.stage, one.concurrency, one.round, one.metric) == wanted), None
        )

    def _status(self, rounds: Sequence[RoundResult], evaluation: CacheEvaluation | None) -> Status:
        verdicts: list[Verdict | None] = [one.summary.verdict for one in rounds]
        verdicts.append(None if evaluation is None else evaluation.verdict)
        return worst(verdict.status for verdict in verdicts if verdict is not None)


def _tell(result: RoundResult, effect: Comparison | None, evaluation: CacheEvaluation | None, status: Status) -> str:
    """One sentence on a later round. What is not to be believed has no number that could be quoted."""
    name = round_name(result.round, start=True)
    if status is Status.INVALID:
        because = f" ({printable(evaluation.why)})" if evaluation is not None else ""
        return f"{name}: nothing can be told, the measurement is invalid{because}."
    if effect is None or effect.mean_ratio is None or effect.effect is Effect.UNKNOWN:
        because = f": {printable(evaluation.why)}" if evaluation is not None else ""
        return f"{name}: whether it was faster cannot be told{because}."
    interval = "" if effect.ratio_ci95 is None else f", 95 % interval {interval_text(effect.ratio_ci95)}"
    against = " than fresh prompts" if effect.baseline_round == CONTROL else ""
    if effect.effect is Effect.NOT_SHOWN:
        return f"{name}: no difference to the first token can be shown{interval}; {status}."
    return f"{name} was {factor_text(effect.mean_ratio)} to the first token{against}{interval}; {status}."


def _tell_alone(result: RoundResult, status: Status) -> str:
    name, ttft = round_name(result.round, start=True), result.summary.stats["ttft_ms"]
    if not result.summary.successful_requests:
        return f"{name}: no request succeeded."
    if status is Status.INVALID:
        return f"{name}: nothing can be told, the measurement is invalid."
    return (
        f"{name}: {number(ttft.p50, '.1f')} ms to the first token at the median, {number(ttft.p99, '.1f')} ms at p99, "
        f"over {count(result.summary.successful_requests, 'request')}; {status}."
    )


def factor_text(ratio: float) -> str:
    """A ratio of times in words: `2.6x faster`, `1.33x slower`, `as fast`."""
    return "as fast" if abs(ratio - 1) < _ALIKE else f"{_factor(ratio)}x {'faster' if ratio < 1 else 'slower'}"


def interval_text(ratios: tuple[float, float]) -> str:
    """`2.8 to 3.4`, where both ends are of one kind; `1.2x faster to 1.1x slower`."""
    fast, slow = sorted(ratios)
    if slow < 1 - _ALIKE:
        return f"{_factor(slow)} to {_factor(fast)}"
    if fast > 1 + _ALIKE:
        return f"{_factor(fast)} to {_factor(slow)}"
    return f"{factor_text(fast)} to {factor_text(slow)}"


def _factor(ratio: float) -> str:
    factor = max(ratio, 1 / ratio) if ratio > 0 else float("inf")
    return f"{factor:.{0 if factor >= 10 else 1 if factor >= 2 else 2}f}"


def _details(run: RunResult) -> Html | None:
    """What the answer stands on, as the terminal has it: each level's lines."""
    title, *lines = render_answer(run, None).splitlines() or [""]
    if not lines:
        return None
    blocks: list[Html] = []
    for line in lines:
        if not line.startswith(" "):
            blocks.append(element("h3", line))
            continue
        what, colon, text = line.strip().partition(": ")
        blocks.append(element("p", element("b", f"{what}: "), text) if colon else element("p", line.strip()))
    return element("details", element("summary", title), *blocks, class_="why", open=len(blocks) <= _MOST_OPEN)
