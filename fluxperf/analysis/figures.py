"""The table of figures, and how each is measured and compared: from which numbers, in which way.

Values are those of a round's summary, as run.json and the tables have them; what its requests say goes into the bounds.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from fluxperf.analysis import repeats
from fluxperf.analysis.means import contrast_means, measure_mean
from fluxperf.analysis.quantiles import contrast_samples, measure_quantile
from fluxperf.analysis.samples import SINGLE, Sample, Samples
from fluxperf.analysis.shares import contrast_shares, measure_share, share_of
from fluxperf.analysis.totals import contrast_totals, measure_total
from fluxperf.analysis.twins import contrast_twins
from fluxperf.analysis.uncertain import Uncertain, unknown
from fluxperf.metrics import BY_NAME, CHUNK_GAP
from fluxperf.model import RoundResult
from fluxperf.model.contrast import Figure, Way

SHARES = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99}
_OF_REQUESTS = ("mean", "avg", *SHARES)
_OF_EVENTS = ("avg", *SHARES)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What one metric's figures are. `statistics` is empty where the metric is a figure by itself."""

    statistics: tuple[str, ...]
    lower_is_better: bool
    unit: str
    text: str


def _of_metric(name: str, statistics: tuple[str, ...]) -> Row:
    metric = BY_NAME[name]
    whose = "of all gaps between events" if name == CHUNK_GAP.name else "of the successful requests"
    return Row(statistics=statistics, lower_is_better=metric.lower_is_better, unit=metric.unit, text=whose)


FIGURES: Mapping[str, Row] = {
    **{name: _of_metric(name, _OF_REQUESTS) for name in SINGLE},
    CHUNK_GAP.name: _of_metric(CHUNK_GAP.name, _OF_EVENTS),
    "tokens_per_s": Row(statistics=(), lower_is_better=False, unit="tokens/s", text="output tokens / duration"),
    "requests_per_s": Row(statistics=(), lower_is_better=False, unit="1/s", text="successful requests / duration"),
    "duration_s": Row(statistics=(), lower_is_better=True, unit="s", text="first send to last end"),
    "goodput": Row(statistics=("ratio",), lower_is_better=False, unit="", text="requests that met the SLO / all"),
    "errors": Row(statistics=("ratio",), lower_is_better=True, unit="", text="requests that failed / all"),
    "cached_tokens": Row(
        statistics=("ratio",), lower_is_better=False, unit="", text="prompt tokens from the cache / all, by usage"
    ),
}
SUCCESSES = Figure("successes", "ratio")
"""What `errors.ratio` leaves, for comparisons only."""


def find_figure(text: str) -> Figure:
    """The figure of this name, as `ttft_ms.p99` or `tokens_per_s`. Raises ValueError, which names the nearest one."""
    metric, dot, statistic = text.partition(".")
    row = FIGURES.get(metric)
    if row is not None:
        if statistic in row.statistics or not (dot or row.statistics):
            return Figure(metric, statistic or None)
        if not row.statistics:
            raise ValueError(f"{text}: there is no such figure; {metric} has no statistics: name it by itself")
        said = "there is no such figure;" if statistic else "which statistic?"
        raise ValueError(f"{text}: {said} {metric} has {', '.join(f'{metric}.{one}' for one in row.statistics)}")
    known = [f"{name}.{one}" if one else name for name, row in FIGURES.items() for one in row.statistics or ("",)]
    near = difflib.get_close_matches(text, known, 1, 0.5) or difflib.get_close_matches(metric, FIGURES, 1, 0.5)
    hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(FIGURES)}"
    raise ValueError(f"{text}: there is no such figure; {hint}")


def is_lower_better(figure: Figure) -> bool:
    """Whether less of it is better."""
    return FIGURES[figure.metric].lower_is_better if figure != SUCCESSES else False


def value_of(figure: Figure, result: RoundResult, samples: Samples | None = None) -> float | None:
    """The figure of a round, in its unit, as its summary has it; None where there is none.

    Only the geometric mean is read from the requests: pass `samples` where more is asked of the same rounds.
    """
    summary, metric, statistic = result.summary, figure.metric, figure.statistic
    if metric in summary.unmeasured:
        return None
    if statistic == "mean":
        found = measure_mean((samples or Samples()).of(result), metric, "mean")
        return None if found is None else found.value / BY_NAME[metric].per_unit
    if metric in summary.stats:
        value: float | None = getattr(summary.stats[metric], statistic or "")
        return value
    return _COUNTED[metric](result)


_COUNTED: Mapping[str, Callable[[RoundResult], float | None]] = {
    "tokens_per_s": lambda result: result.summary.tokens_per_s,
    "requests_per_s": lambda result: result.summary.requests_per_s,
    "duration_s": lambda result: result.summary.duration_s or None,
    "goodput": lambda result: None if result.summary.goodput is None else result.summary.goodput.ratio,
    "errors": lambda result: _part(result.summary.failed_requests, result.summary.total_requests),
    "successes": lambda result: _part(result.summary.successful_requests, result.summary.total_requests),
    "cached_tokens": lambda result: (
        None if result.summary.cached_tokens is None else result.summary.cached_tokens.ratio
    ),
}


def _part(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def measure(figure: Figure, rounds: Sequence[RoundResult], samples: Samples | None = None) -> Uncertain | None:
    """The figure of one round, or of the same round in several runs, in its unit; None where there is no value.

    Raises what reading the rounds' requests raises.
    """
    samples = samples or Samples()
    values = _values(figure, rounds, samples)
    if values is None:
        return None
    if values.count > 1:
        shared = figure.statistic == "ratio"
        return repeats.measure_shares(values) if shared else repeats.measure_repeats(values)
    found = _measure_one(figure, samples.of(rounds[0]))
    if found is None:
        return _untold(values.mean, rounds, rounds)
    return _as_told(found, values.mean, 1 / _per_unit(figure))


def contrast(
    figure: Figure, base: Sequence[RoundResult], new: Sequence[RoundResult], samples: Samples | None = None
) -> Uncertain | None:
    """The figure of `new` over that of `base`: the same round in one or several runs each. None: one has no value.

    With several runs on a side by the spread between them. With one, by pairs if both drew the same prompts of the same
    dataset. Shares that are 0 in `base` give infinity, and None where they are 0 in both; so do other values of 0.
    Raises what reading the rounds' requests raises.
    """
    samples = samples or Samples()
    before, later = _values(figure, base, samples), _values(figure, new, samples)
    if before is None or later is None:
        return None
    if before.count > 1 or later.count > 1:
        shared = figure.statistic == "ratio"
        return (repeats.contrast_repeated_shares if shared else repeats.contrast_repeats)(before, later)
    if not before.mean and (not later.mean or figure.statistic != "ratio"):
        return None
    ratio = later.mean / before.mean if before.mean else math.inf
    found = _contrast_one(figure, samples.of(base[0]), samples.of(new[0]))
    if found is None:
        return _untold(ratio, base, new)
    return found if figure.statistic == "mean" else _as_told(found, ratio, 1.0)


def rounds_ratio(
    figure: Figure, runs: Sequence[tuple[RoundResult, RoundResult]], samples: Samples | None = None
) -> Uncertain | None:
    """A later round over an earlier one of the same run (earlier, later), in one or several runs; None: no value.

    Raises what reading the rounds' requests raises.
    """
    samples = samples or Samples()
    # A run that lacks one of the two has no ratio; what is left of it must not be held against another run.
    whole = [pair for pair in runs if all(value_of(figure, one, samples) is not None for one in pair)]
    earlier, later = [before for before, _ in whole], [after for _, after in whole]
    if len(whole) == 1:
        return contrast(figure, earlier, later, samples)
    first, second = _values(figure, earlier, samples), _values(figure, later, samples)
    if first is None or second is None:
        return None
    within = repeats.contrast_within(first, second)
    if within is None and figure.statistic == "ratio":
        return repeats.contrast_repeated_shares(first, second)
    return within


@dataclass(frozen=True, slots=True)
class Reading:
    """The same three with the samples of their rounds kept, so that each is read once."""

    samples: Samples = field(default_factory=Samples)

    def measure(self, figure: Figure, rounds: Sequence[RoundResult]) -> Uncertain | None:
        """As the function."""
        return measure(figure, rounds, self.samples)

    def contrast(self, figure: Figure, base: Sequence[RoundResult], new: Sequence[RoundResult]) -> Uncertain | None:
        """As the function."""
        return contrast(figure, base, new, self.samples)

    def rounds_ratio(self, figure: Figure, runs: Sequence[tuple[RoundResult, RoundResult]]) -> Uncertain | None:
        """As the function."""
        return rounds_ratio(figure, runs, self.samples)


def _values(figure: Figure, rounds: Sequence[RoundResult], samples: Samples) -> repeats.Values | None:
    """The figure of each round that has it; None where none has."""
    found = [value_of(figure, result, samples) for result in rounds]
    values = tuple(value for value in found if value is not None)
    if not values:
        return None
    if figure.statistic != "ratio" or figure.metric == "cached_tokens":
        return repeats.Values(values)
    requests = max(min(result.summary.total_requests for result in rounds), 1)
    share = math.fsum(values) / len(values)
    return repeats.Values(values, (share * (1 - share) + 1 / requests) / requests)


def _measure_one(figure: Figure, sample: Sample) -> Uncertain | None:
    metric, statistic = figure.metric, figure.statistic
    if statistic == "ratio":
        share = share_of(sample, metric)
        return None if share is None else measure_share(share)
    if metric == CHUNK_GAP.name:
        return None
    if statistic is None:
        return measure_total(sample, metric)
    if statistic in SHARES:
        return measure_quantile(sample, metric, SHARES[statistic])
    return measure_mean(sample, metric, statistic)


def _contrast_one(figure: Figure, base: Sample, new: Sample) -> Uncertain | None:
    metric, statistic = figure.metric, figure.statistic
    if statistic == "ratio":
        first, second = share_of(base, metric), share_of(new, metric)
        return None if first is None or second is None else contrast_shares(first, second)
    if metric == CHUNK_GAP.name:
        return None
    if statistic is None:
        return contrast_totals(base, new, metric)
    if statistic in SHARES:
        return (contrast_twins if base.draws_as(new) else contrast_samples)(base, new, metric, SHARES[statistic])
    return contrast_means(base, new, metric, statistic)


def _per_unit(figure: Figure) -> float:
    """How many of its raw unit are one of its unit."""
    return BY_NAME[figure.metric].per_unit if figure.metric in BY_NAME else 1


def _as_told(found: Uncertain, value: float, scale: float) -> Uncertain:
    """With the value of the summary, and bounds in its unit."""

    def limits(confidence: float) -> tuple[float, float]:
        low, high = found.limits(confidence)
        return low * scale, high * scale

    return replace(found, value=value, limits=limits)


def _untold(value: float, base: Sequence[RoundResult], new: Sequence[RoundResult]) -> Uncertain:
    """A value of which single requests say nothing."""
    counts = (base[0].summary.successful_requests, new[0].summary.successful_requests)
    why = "single requests do not tell how sure it is: repeat the run"
    return Uncertain(value=value, limits=unknown(), way=Way.TWO_SAMPLES, counts=counts, why=why)
