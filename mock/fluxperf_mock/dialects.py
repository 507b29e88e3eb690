"""`--engine`: what the mock shows and does in the manner of each engine. Another engine is a row in `DIALECTS`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import fluxperf
from fluxperf_mock import families, resets
from fluxperf_mock.exposition import Group
from fluxperf_mock.faults import CACHED_TOKENS, FAULTS, METRICS, PREEMPTIONS, RESET, Faults, Need
from fluxperf_mock.resets import Reset


@dataclass(frozen=True, slots=True)
class About:
    """What a server says about itself; of its `slots`, the first `running` are busy."""

    model: str
    slots: int
    running: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """One engine. `info` are pages of JSON, by path.

    `metrics_path` is None where there are no metrics. `cached_tokens`: usage tells them. `server` is the header of that
    name in all responses, `start_header` the name of one of the page of metrics, with the start in Unix time.
    """

    metrics: tuple[Group, ...] = ()
    metrics_path: str | None = "/metrics"
    reset: Reset | None = None
    info: Mapping[str, Callable[[About], object]] = field(default_factory=dict)
    cached_tokens: bool = True
    server: str | None = None
    start_header: str | None = None

    def offers(self, need: Need) -> bool:
        """Whether it has what a fault needs."""
        return {
            RESET: self.reset is not None,
            METRICS: self.metrics_path is not None,
            CACHED_TOKENS: self.cached_tokens,
            PREEMPTIONS: any(
                metric.name == "num_preemptions_total" for group in self.metrics for metric in group.metrics
            ),
        }[need]


def _version(about: About) -> object:
    return {"version": fluxperf.__version__}


def _sglang_info(about: About) -> object:
    return {
        "model_path": about.model,
        "served_model_name": about.model,
        "max_running_requests": about.slots,
        "version": fluxperf.__version__,
    }


def _props(about: About) -> object:
    return {
        "total_slots": about.slots,
        "model_alias": about.model,
        "model_path": about.model,
        "build_info": f"fluxperf-mock-{fluxperf.__version__}",
    }


def _slots(about: About) -> object:
    return [{"id": number, "is_processing": number < about.running} for number in range(about.slots)]


DIALECTS: dict[str, Dialect] = {
    "vllm": Dialect(
        metrics=(families.VLLM, families.STARTED, families.MEMORY), reset=resets.VLLM, info={"/version": _version}
    ),
    "sglang": Dialect(
        metrics=(families.SGLANG, families.MEMORY),
        reset=resets.SGLANG,
        info={"/get_server_info": _sglang_info, "/server_info": _sglang_info},
    ),
    "llamacpp": Dialect(
        metrics=(families.LLAMACPP, families.MEMORY),
        reset=resets.LLAMACPP,
        info={"/props": _props, "/slots": _slots},
        server="llama.cpp",
        start_header="process-start-time-unix",
    ),
    "lmcache": Dialect(
        metrics=(
            families.VLLM_WITHOUT_HITS,
            families.LMCACHE,
            families.LMCACHE_RATE,
            families.STARTED,
            families.MEMORY,
        ),
        reset=resets.LMCACHE,
        info={"/version": _version},
    ),
    "trtllm": Dialect(
        metrics=(families.TRTLLM, families.MEMORY),
        metrics_path="/prometheus/metrics",
        # Statistics of the iterations since it was last asked: none.
        info={"/version": _version, "/metrics": lambda about: []},
    ),
    "none": Dialect(metrics_path=None, cached_tokens=False),
}


def find_conflict(engine: str, faults: Faults) -> str | None:
    """Why the faults cannot be seen at the engine, as a sentence; None: they can."""
    for name in faults:
        need = FAULTS[name].needs
        if need is not None and not DIALECTS[engine].offers(need):
            able = ", ".join(other for other, dialect in DIALECTS.items() if dialect.offers(need))
            return f"the fault {name} cannot be seen at engine {engine}, which has no {need}; use one of {able}"
    return None
