"""Simulated servers under a closed loop, for the tests of what comparisons of runs promise.

Prompts are of very different lengths (lognormal, the 95th hundredth five times the median), as many requests as the
concurrency are in flight, and the next is sent where one is done.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from fluxperf.analysis.evidence import Evidence
from fluxperf.analysis.merge import summarise
from fluxperf.analysis.samples import Sample
from fluxperf.model import Audit, Outcome, RoundName, RoundResult, RunResult, Slo, Timeline
from fluxperf.tally import Tally

Floats = NDArray[np.float64]

_NS_PER_MS = 1e6
_GOOD_TTFT_MS = 200


@dataclass(frozen=True)
class World:
    """`kind`: "plain", requests that differ by 10 % of noise; "noisy", by 35 %; "waves", the server has moods that last
    as long as the concurrency, "drift" a tenth of the round; "queue", one prompt is computed after the other.
    """

    kind: str
    prompts: int
    concurrency: int

    def __str__(self) -> str:
        return f"{self.kind:5} {self.prompts:5} prompts at {self.concurrency:2}"


@dataclass(frozen=True)
class Change:
    """What is different between two runs: the server is `slower` by this factor, or the prompts are others.

    `run_spread` is by how much whole runs differ (standard deviation of the logarithm); this share of requests fails.
    """

    slower: float = 1.0
    same_prompts: bool = True
    run_spread: float = 0.0
    failures: float = 0.0


ALIKE = Change()


def simulate(world: World, runs: int, change: Change = ALIKE, seed: int = 0) -> Iterator[tuple[Sample, Sample]]:
    """Pairs of runs."""
    chance = np.random.default_rng(crc32(f"{world} {change} {seed}".encode()))
    shape = (runs, world.prompts)
    drawn = [_draw_prompts(chance, shape) for _ in range(1 if change.same_prompts else 2)]
    base = _Rounds(chance, world, drawn[0], change, 1.0)
    new = _Rounds(chance, world, drawn[-1], change, change.slower)
    for run in range(runs):
        yield base.sample(run, "one"), new.sample(run, "one" if change.same_prompts else "other")


def simulate_repeats(world: World, runs: int, run_spread: float, seed: int = 0) -> Iterator[Sample]:
    """Runs of the same prompts on servers that differ by `run_spread`."""
    chance = np.random.default_rng(crc32(f"{world} {run_spread} {seed}".encode()))
    prompts = _draw_prompts(chance, (1, world.prompts))
    drawn = (np.repeat(prompts[0], runs, axis=0), np.repeat(prompts[1], runs, axis=0))
    rounds = _Rounds(chance, world, drawn, Change(run_spread=run_spread), 1.0)
    for run in range(runs):
        yield rounds.sample(run, "one")


def _draw_prompts(chance: np.random.Generator, shape: tuple[int, int]) -> tuple[Floats, Floats]:
    """Lengths of prompts and of answers, in tokens."""
    return chance.lognormal(6.2, 1, shape), np.maximum(chance.lognormal(4.6, 0.6, shape), 2).round()


class _Rounds:
    """One round of each run, in milliseconds."""

    def __init__(
        self,
        chance: np.random.Generator,
        world: World,
        prompts: tuple[Floats, Floats],
        change: Change,
        slower: float,
    ) -> None:
        self.world = world
        lengths, self.tokens = prompts
        self.success = chance.uniform(size=lengths.shape) >= change.failures
        run = np.exp(chance.normal(0, change.run_spread, (lengths.shape[0], 1)))
        pace = slower * run * np.exp(_draw_moods(chance, world, lengths.shape))
        noise = (0.35, 0.2) if world.kind == "noisy" else (0.1, 0.05)
        prefill = (10 + lengths / 8) * np.exp(chance.normal(0, noise[0], lengths.shape)) * pace
        self.itl = 10 * np.exp(chance.normal(0, noise[1], lengths.shape)) * pace
        self._run(chance, prefill)

    def _run(self, chance: np.random.Generator, prefill: Floats) -> None:
        """Sends the prompts one by one, in each run where a place is free first."""
        runs, prompts = prefill.shape
        rows = np.arange(runs)
        free, server = chance.uniform(0, 0.1, (runs, self.world.concurrency)), np.zeros(runs)
        self.sent, self.first, self.done = (np.empty(prefill.shape) for _ in range(3))
        for at in range(prompts):
            place = free.argmin(axis=1)
            sent = free[rows, place]
            begun = np.maximum(sent, server) if self.world.kind == "queue" else sent
            server = begun + prefill[:, at]
            done = server + self.itl[:, at] * (self.tokens[:, at] - 1)
            self.sent[:, at], self.first[:, at], self.done[:, at] = sent, server, done
            free[rows, place] = done + 0.05

    def sample(self, run: int, dataset: str) -> Sample:
        success, tokens = self.success[run], self.tokens[run]
        sent, first, done = (
            (stamps[run] * _NS_PER_MS).astype(np.int64) for stamps in (self.sent, self.first, self.done)
        )
        nothing = np.full(success.size, -1)
        ttft, itl = first - sent, (self.itl[run] * _NS_PER_MS).astype(np.int64)
        metrics = {
            "ttft_ms": ttft,
            "itl_ms": itl,
            "latency_ms": done - sent,
            "ttfo_ms": ttft,
            "output_token_throughput": (tokens * 1e12 / (done - sent)).astype(np.int64),
        }
        return Sample(
            concurrency=self.world.concurrency,
            dataset=dataset,
            index=np.arange(success.size),
            turn=np.zeros(success.size, np.int64),
            sent_ns=sent,
            done_ns=done,
            counted=np.ones(success.size, np.bool_),
            success=success,
            good=success & (ttft < _GOOD_TTFT_MS * _NS_PER_MS),
            tokens=np.where(success, tokens, 0).astype(np.int64),
            prompt_tokens=nothing,
            cached_tokens=nothing,
            values={name: np.where(success, values, -1) for name, values in metrics.items()},
        )


def _draw_moods(chance: np.random.Generator, world: World, shape: tuple[int, int]) -> Floats:
    """What the requests of a round have in common, by place in time, for each run; they begin anywhere."""
    runs, prompts = shape
    if world.kind not in ("waves", "drift"):
        return np.zeros(shape)
    length = world.concurrency if world.kind == "waves" else max(prompts // 10, world.concurrency)
    begin = chance.integers(0, length, (runs, 1))
    moods = chance.normal(0, 0.2, (runs, prompts // length + 2))
    return np.take_along_axis(moods, (begin + np.arange(prompts)) // length, axis=1)


def make_round(
    requests: list[Timeline], concurrency: int = 4, name: RoundName = 1, dataset: str = "one", slo: Slo | None = None
) -> RoundResult:
    """A round of these requests, with the summary that a run would give it."""
    tally = Tally(slo)
    for request in requests:
        tally.add(request, [10_000_000] * 10)
    summary = summarise(Evidence(tally=tally, audits={0: Audit()}, planned=len(requests)))
    return RoundResult(
        stage=None,
        concurrency=concurrency,
        round=name,
        configuration={"dataset_sha256": dataset},
        summary=summary,
        requests=tuple(requests),
        first_sent_ns=tally.began_ns,
        slo=slo,
    )


def make_requests(sample: Sample) -> list[Timeline]:
    """The requests that a sample was made of."""
    return [
        Timeline(
            index=at,
            outcome=Outcome.OK if sample.success[at] else Outcome.TIMEOUT,
            sent_ns=int(sample.sent_ns[at]),
            first_output_ns=int(sample.sent_ns[at] + sample.values["ttft_ms"][at]),
            first_answer_ns=int(sample.sent_ns[at] + sample.values["ttft_ms"][at]),
            last_output_ns=int(sample.done_ns[at]),
            end_ns=int(sample.done_ns[at]),
            done_ns=int(sample.done_ns[at]),
            output_events=max(int(sample.tokens[at]), 1),
            prompt_tokens=100,
            cached_tokens=at % 100,
        )
        for at in range(sample.index.size)
    ]


def make_run(*rounds: RoundResult) -> RunResult:
    return RunResult(
        started_at="2030-01-01T00:00:00Z",
        partial=False,
        environment={},
        labels={},
        configuration={},
        rounds=rounds,
        comparisons=(),
    )
