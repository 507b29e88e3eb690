"""Steps as a calibration measures them."""

from __future__ import annotations

from fluxperf.calibrate.step import Figure, Step

TRUE_MS = {"ttft_p50": 50.0, "ttft_p99": 50.5, "gap_p50": 10.0, "gap_p99": 10.25}


def make_step(
    streams: int, *, late_ms: float = 0.02, lost: int = 0, cpu_share: float = 0.25, **errors_ms: float | None
) -> Step:
    """A step of answers of 64 tokens, one each 10 ms; figures are off by `errors_ms`, else by nothing."""
    figures = {}
    for name, true_ms in TRUE_MS.items():
        error_ms = errors_ms.get(name, 0.0)
        figures[name] = Figure(None if error_ms is None else true_ms + error_ms, true_ms)
    return Step(
        streams=streams,
        requests=4 * streams,
        duration_s=2.56,
        tokens_per_s=100.0 * streams,
        figures=figures,
        lost=lost,
        cpu_s=0.004 * streams,
        cpu_share=cpu_share,
        tokens=256 * streams,
        late_mean_ms=late_ms,
        late_p99_ms=late_ms * 3,
        answer_ms=680,
        timestamps="kernel",
    )
