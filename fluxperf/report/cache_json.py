"""What is known of the cache, as the JSON files have it: `summary.cache` of a round, `evaluations` of a run."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from fluxperf.model import CacheCounters, CacheFigures, Check
from fluxperf.model.evaluation import CacheEvaluation
from fluxperf.report.values import rounded


def cache_entry(cache: CacheFigures) -> dict[str, Any]:
    """Both witnesses, what could have hit by block size in tokens, other traffic, and the reset before the round."""
    return {
        "hit_rate": rounded(cache.hit_rate),
        "expected_hit_rate": rounded(cache.expected_rate),
        "block_tokens": cache.block_tokens,
        "expected": {str(block): rounded(share) for block, share in cache.expected.items()},
        "repeats": cache.repeats,
        "usage": None if cache.usage is None else asdict(cache.usage) | {"ratio": rounded(cache.usage.ratio)},
        "server": None if cache.counters is None else _counters(cache.counters),
        "sent_tokens": cache.sent_tokens,
        "estimated_tokens": cache.estimated_tokens,
        "unexplained_hits": cache.unexplained_hits,
        "foreign_tokens": cache.foreign_tokens,
        "foreign_share": rounded(cache.foreign_share),
        "reset": None if cache.reset is None else asdict(cache.reset) | {"confirmed": cache.reset_confirmed},
    }


def _check(check: Check) -> dict[str, Any]:
    return {"name": check.name, "ok": check.ok, "text": check.text, "weight": check.weight}


def _counters(counters: CacheCounters) -> dict[str, Any]:
    by_engine = {label: asdict(hits) for label, hits in counters.by_engine.items()}
    return asdict(counters) | {
        "reading": counters.reading.value,
        "ratio": rounded(counters.ratio),
        "by_engine": by_engine,
    }


def evaluation_entry(found: CacheEvaluation) -> dict[str, Any]:
    """The answer for one level and round, and the questions behind it."""
    return {
        "stage": found.stage,
        "concurrency": found.concurrency,
        "round": found.round,
        "answer": found.answer.value,
        "why": found.why,
        "net_of_control": found.is_net,
        "effect": None if found.effect is None else asdict(found.effect),
        "drift": None if found.drift is None else asdict(found.drift),
        "dose_response": None if found.dose is None else asdict(found.dose),
        "eviction": found.eviction,
        "checks": [_check(check) for check in found.checks],
        "verdict": {"status": found.verdict.status, "reasons": found.verdict.reasons},
    }
