"""The particulars of a round: how it was set up, for its result file, and what to know before reading its figures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from fluxperf.engine.preparation import Preparation
from fluxperf.masking import mask_env
from fluxperf.model import CONTROL, Slo
from fluxperf.plan.campaign import StageSpec
from fluxperf.plan.planner import PLAIN, LevelPlan, RoundPlan
from fluxperf.plan.settings import Settings
from fluxperf.plan.tokens import Tokens
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
    tokens: Tokens
    preparation: Preparation

    @property
    def settings(self) -> Settings:
        """What the stage was asked for."""
        return self.spec.settings

    @property
    def replays_answers(self) -> bool:
        """Whether later rounds send the answers of round 1 as history, so that their prompts are the same."""
        settings = self.settings
        return settings.mode == "multi_turn" and not settings.own_history and settings.rounds > 1

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
        **_session_particulars(stage, level, plan),
        "round": plan.round,
        "order": {"shuffled": "as drawn", "file": "as in the file"}[settings.round1_order]
        if plan.round == 1
        else settings.round2_order,
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
        "slo": None if stage.slo is None else asdict(stage.slo),
        "max_output_tokens": settings.max_output_tokens,
        "timeout_s": settings.timeout,
        "min_output_tokens": settings.min_output_tokens,
        "tokenizer": stage.tokens.name if stage.tokens.exact else None,
        "tokenizer_sha256": stage.tokens.sha256,
        "output_tokens_from": find_source(output_sources(tally)),
        "input_tokens_from": find_source(input_sources(tally, stage)),
    }


def _session_particulars(stage: StagePlan, level: LevelPlan, plan: RoundPlan) -> dict[str, Any]:
    """What a round of sessions has beside the others."""
    settings = stage.settings
    if settings.mode != "multi_turn":
        return {}
    replayed = stage.replays_answers and plan.round not in (1, CONTROL)
    return {
        "turns": stage.preparation.count_turns(plan.edition, level.sample),
        "history": "round 1's answers" if replayed else "its own answers",
        "think_time_s": list(settings.think_time),
        "max_context_tokens": settings.max_context_tokens,
    }


def notes(stage: StagePlan, level: LevelPlan, plan: RoundPlan) -> list[str]:
    """What to know before reading the figures."""
    sample, preparation = level.sample, stage.preparation
    found = [*_session_notes(stage, level, plan)]
    if plan.round == CONTROL:
        found.append(f"{len(sample)} fresh prompts of about the same lengths, which no cache can hold")
    elif plan.edition != PLAIN:
        found.append("every prompt begins with a salt that is new to the server")
    if level.asked is not None and level.asked > len(sample):
        found.append(f"asked for {level.asked} prompts, the dataset holds {len(sample)}: all of them, once each")
    kind = "sessions" if stage.settings.mode == "multi_turn" else "prompts"
    if len(sample) < level.concurrency:
        fewer = "sessions" if kind == "sessions" else "requests"
        found.append(f"at most {len(sample)} in flight: there are fewer {fewer} than the concurrency")
    if duplicates := preparation.count_duplicates(plan.edition, sample):
        found.append(f"{duplicates} of {len(sample)} {kind} are the same as another one in the sample")
    if was_cut := preparation.count_cut(plan.edition, sample):
        unit = "tokens" if stage.tokens.exact else "characters"
        found.append(f"{was_cut} of {len(sample)} {kind} were cut to {stage.settings.max_input_length} {unit}")
    return found


def _session_notes(stage: StagePlan, level: LevelPlan, plan: RoundPlan) -> Iterator[str]:
    settings = stage.settings
    if settings.mode != "multi_turn":
        return
    turns = stage.preparation.count_turns(plan.edition, level.sample)
    yield f"sessions: {len(level.sample)}, with {turns} turns in all; the concurrency counts sessions"
    if stage.replays_answers and plan.round not in (1, CONTROL):
        yield "the history before each turn has round 1's answers in it, so the prompts are the same"
    elif settings.own_history and plan.round not in (1, CONTROL):
        yield "each session goes on from its own answers: where these differ from round 1's, so do the prompts"


def output_sources(tally: Tally) -> dict[str, int]:
    """How many successful requests have their output tokens from whom."""
    events, counted = tally.sums["counted_events"], tally.sums["counted_answers"]
    return {"usage": tally.succeeded - events - counted, "tokenizer": counted, "output_events": events}


def input_sources(tally: Tally, stage: StagePlan) -> dict[str, int]:
    """The same of their input tokens. Of a history's answers nobody but the server knows exactly."""
    estimated = tally.sums["estimated_inputs"]
    by_us = "tokenizer" if stage.tokens.exact and stage.settings.mode != "multi_turn" else "estimate"
    return {"usage": tally.succeeded - estimated, by_us: estimated}


def find_source(sources: Mapping[str, int]) -> str | None:
    """The one that all counts came from, or "mixed"; None: there are none."""
    found = [name for name, requests in sources.items() if requests]
    return None if not found else found[0] if len(found) == 1 else "mixed"
