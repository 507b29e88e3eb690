"""Dose and response: how much TTFT each cached token saved, from two rounds of the same prompts.

A line through what each prompt gained and saved, by least squares. Long prompts scatter more than short ones, and
what ran together goes together, so its error is that of `fluxperf.analysis.clustered`, which assumes neither away.
Numerical libraries are loaded late, as `fluxperf.analysis.paired` says.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from fluxperf.analysis.paired import Pairs
from fluxperf.metrics import BY_NAME
from fluxperf.model.dose import DoseResponse
from fluxperf.units import NS_PER_US, ns_to_ms

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from fluxperf.analysis.clustered import Stretches

_RESPONSE = BY_NAME["ttft_ms"]
# From here on a single prompt has all the say in the slope: without it there would be none.
_ALL_THE_SAY = 1 - 1e-9


def respond(pairs: Pairs) -> DoseResponse | None:
    """TTFT saved against cached tokens gained, over the pairs that tell both.

    None where there are none: the server does not tell cached tokens, or `pairs` has no TTFT.
    """
    if _RESPONSE not in pairs.metrics:
        return None
    from fluxperf.analysis.numeric import np
    from fluxperf.analysis.ratios import column, find_pairs, find_stretches

    before, later = (column(values) for values in pairs.values[pairs.metrics.index(_RESPONSE)])
    cached, cached_later = (column(tokens) for tokens in pairs.cached_tokens)
    kept = find_pairs(pairs) & (before > 0) & (later > 0)
    told = np.concatenate([cached[cached > 0], cached_later[cached_later > 0]])
    if not told.size:
        return None
    if told.min() > 1:  # nobody told 0, so those who told nothing meant that (vLLM leaves it out)
        cached, cached_later = np.maximum(cached, 1), np.maximum(cached_later, 1)
    kept &= (cached > 0) & (cached_later > 0)
    if not kept.any():
        return None
    gained_tokens, saved_ns = (cached_later - cached)[kept], (before - later)[kept]
    return fit(gained_tokens.astype(float), saved_ns.astype(float), find_stretches(pairs, kept))


def fit(gained_tokens: NDArray[np.float64], saved_ns: NDArray[np.float64], stretches: Stretches) -> DoseResponse:
    """The line of least squares through one or more points.

    Its error takes each residual for what it would be if the line were drawn without its point (MacKinnon and
    White 1985), because the few long prompts draw the line to themselves.
    """
    from fluxperf.analysis.clustered import LEAST_STRETCHES, estimate

    count = gained_tokens.size
    mean_gain = float(gained_tokens.mean())
    apart, scatter = gained_tokens - mean_gain, saved_ns - saved_ns.mean()
    spread, total = float(apart @ apart), float(scatter @ scatter)
    if not spread:
        return DoseResponse(pairs=count, why="every prompt gained the same number of cached tokens")
    pull = apart / spread  # by which each prompt draws the slope
    slope = float(pull @ saved_ns)
    intercept = float(saved_ns.mean()) - slope * mean_gain
    residuals = scatter - slope * apart
    line = DoseResponse(
        pairs=count,
        slope_us_per_token=slope / NS_PER_US,
        intercept_ms=ns_to_ms(intercept),
        r2=1 - float(residuals @ residuals) / total if total else None,
    )
    leverage = 1 / count + apart * pull
    if leverage.max() > _ALL_THE_SAY:
        return replace(line, why="all prompts but one gained the same number of cached tokens")
    without = residuals / (1 - leverage)
    steepness = estimate(slope, pull, without, stretches)
    offset = estimate(intercept, 1 / count - mean_gain * pull, without, stretches)
    if steepness is None or offset is None:
        return replace(line, why=f"the requests do not make {LEAST_STRETCHES} stretches that did not run together")
    low, high = steepness.interval
    least, most = offset.interval
    return replace(
        line,
        slope_ci95=(low / NS_PER_US, high / NS_PER_US),
        intercept_ci95=(ns_to_ms(least), ns_to_ms(most)),
    )
