"""The particulars of a round: how it was set up, for its result file, and what to know before reading its figures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fluxperf.engine.preparation import Preparation
from fluxperf.masking import mask_env
from fluxperf.model import CONTROL, Slo
from fluxperf.plan.campaign import StageSpec
from fluxperf.plan.planner import PLAIN, LevelPlan, RoundPlan
from fluxperf.plan.settings import Settings
from fluxperf.sent import Audience, place_of
from fluxperf.site import Site
from fluxperf.tally import Tally


@dataclass(frozen=True, slots=True)
class StagePlan:
    """What a stage needs besides its team: what was asked, where it goes, and the prepared requests."""

    spec: StageSpec
    site: Site
    slo: Slo | None
    dataset_sha256: str
    dataset_size: int
    workers: int
    kernel_stamps: bool
    preparation: Preparation

    @property
    def settings(self) -> Settings:
        """What the stage was asked for."""
        return self.spec.settings

    def audience(self, life: int) -> Audience:
        """Whom the stage's prompts go to; `life` counts how often we have started the server."""
        return Audience(place_of(self.site.url), life, self.dataset_sha256)

    def count_workers(self, level: LevelPlan, plan: RoundPlan) -> int:
        """How many take part in the round."""
        return min(self.workers, level.concurrency, len(plan.order))

    @property
    def streams_per_connection(self) -> int | None:
        """At most so many requests share a connection; None: it is not HTTP/2."""
        return self.settings.streams_per_connection if self.site.found.http_version == "2" else None


def configuration(stage: StagePlan, level: LevelPlan, plan: RoundPlan, tally: Tally) -> dict[str, Any]:
    """How the round was set up, as its file has it."""
    settings, site = stage.settings, stage.site
    return {
        **(
            {}
            if stage.spec.title is None
            else {"stage": stage.spec.title, "env": mask_env(stage.spec.env, stage.site.secrets)}
        ),
        "endpoint": site.shown_url,
        "address": str(site.found.route.address),
        "model": site.model,
        "model_from": site.model_from,
        "mode": settings.mode,
        "concurrency": level.concurrency,
        "num_samples": len(level.sample),
        "round": plan.round,
        "order": "as drawn" if plan.round == 1 else settings.round2_order,
        "edition": plan.edition,
        "workers": stage.count_workers(level, plan),
        "http_version": site.found.http_version,
        "tls": site.found.tls,
        "insecure": settings.insecure,
        "streams_per_connection": stage.streams_per_connection,
        "timestamps": "kernel" if stage.kernel_stamps else "user",
        "seed": settings.seed,
        "dataset": settings.dataset,
        "dataset_sha256": stage.dataset_sha256,
        "max_output_tokens": settings.max_output_tokens,
        "timeout_s": settings.timeout,
        "min_output_tokens": settings.min_output_tokens,
        "output_tokens_from": source(tally, "counted_events", "usage", "output_events"),
        "input_tokens_from": source(tally, "estimated_inputs", "usage", "estimate"),
    }


def notes(stage: StagePlan, level: LevelPlan, plan: RoundPlan) -> list[str]:
    """What to know before reading the figures."""
    sample, preparation = level.sample, stage.preparation
    found = []
    if plan.round == CONTROL:
        found.append(f"{len(sample)} fresh prompts of about the same lengths, which no cache can hold")
    elif plan.edition != PLAIN:
        found.append("every prompt begins with a salt that is new to the server")
    if level.asked is not None and level.asked > len(sample):
        found.append(f"asked for {level.asked} prompts, the dataset holds {len(sample)}: all of them, once each")
    if len(sample) < level.concurrency:
        found.append(f"at most {len(sample)} in flight: there are fewer requests than the concurrency")
    if duplicates := preparation.count_duplicates(plan.edition, sample):
        found.append(f"{duplicates} of {len(sample)} prompts are the same as another one in the sample")
    if was_cut := preparation.count_cut(plan.edition, sample):
        found.append(f"{was_cut} of {len(sample)} prompts were cut to {stage.settings.max_input_length} characters")
    return found


def source(tally: Tally, without: str, told: str, otherwise: str) -> str | None:
    """Where a count came from: `told` by the server, `otherwise` where it was silent, or "mixed"; None: no count."""
    if not tally.succeeded:
        return None
    missing = tally.sums[without]
    return told if not missing else otherwise if missing == tally.succeeded else "mixed"
