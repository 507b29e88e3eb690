"""Runs of a made-up server: a closed loop whose TTFT depends on the prompt and on chance, with real summaries."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from heapq import heapreplace
from pathlib import Path
from random import Random

from fluxperf.analysis.evidence import Evidence
from fluxperf.analysis.merge import summarise
from fluxperf.model import Audit, Outcome, RoundResult, RunResult, Slo, Timeline
from fluxperf.report import round_file_name, round_json, run_json
from fluxperf.tally import Tally
from tests.compare.runs import a_round, a_run

MS = 1_000_000
TOKENS = 8


@dataclass(frozen=True, kw_only=True)
class Server:
    """`slower`: by which factor TTFT is longer. `noise`: the deviation of its logarithm. `failing`: that share."""

    slower: float = 1.0
    noise: float = 0.05
    failing: float = 0.0
    seed: int = 0


def simulate(
    server: Server, number: int = 1, *, prompts: int = 60, concurrency: int = 4, slo: Slo | None = None
) -> RoundResult:
    """One round of that many prompts."""
    tally = Tally(slo)
    requests = tuple(_requests(server, number, prompts, concurrency))
    for request in requests:
        tally.add(request)
    summary = summarise(Evidence(tally=tally, audits={0: Audit()}, planned=prompts, requests=requests))
    blank = a_round(
        number, concurrency, found={"num_samples": prompts, "slo": None if slo is None else asdict(slo)}, slo=slo
    )
    return replace(blank, summary=summary, requests=tuple(sorted(requests, key=lambda one: one.index)))


def _requests(server: Server, number: int, prompts: int, concurrency: int) -> Iterator[Timeline]:
    lengths, chance = Random(f"prompts {number}"), Random(f"{server.seed} {number}")
    free = [0] * concurrency
    for index in range(prompts):
        sent = free[0]
        ttft = int(30 * MS * lengths.lognormvariate(0, 0.3) * chance.lognormvariate(0, server.noise) * server.slower)
        failed = chance.random() < server.failing
        end = sent + ttft + 0 if failed else sent + ttft + (TOKENS - 1) * 10 * MS
        heapreplace(free, end + MS // 2)
        if failed:
            yield Timeline(index=index, outcome=Outcome.HTTP_STATUS, status=500, sent_ns=sent, end_ns=end, done_ns=end)
            continue
        yield Timeline(
            index=index,
            worker=0,
            outcome=Outcome.OK,
            status=200,
            finish_reason="stop",
            sent_ns=sent,
            first_byte_ns=sent + ttft,
            first_output_ns=sent + ttft,
            first_answer_ns=sent + ttft,
            last_output_ns=end,
            end_ns=end,
            done_ns=end,
            max_gap_ns=10 * MS,
            output_events=TOKENS,
            prompt_tokens=100,
            completion_tokens=TOKENS,
            cached_tokens=0,
        )


def a_simulated_run(server: Server, *, prompts: int = 60, rounds: int = 2, slo: Slo | None = None) -> RunResult:
    """A run of two rounds. When it began tells it from others."""
    found = [simulate(server, number, prompts=prompts, slo=slo) for number in range(1, rounds + 1)]
    asked = {"num_samples": [prompts], "concurrency": [4]}
    return a_run(*found, asked=asked, started_at=f"2026-01-01T00:00:{server.seed % 60:02d}Z")


def write_run(folder: Path, run: RunResult) -> Path:
    """The files of a run, as FluxPerf writes them."""
    folder.mkdir(parents=True)
    for result in run.rounds:
        with (folder / round_file_name(result)).open("w", encoding="utf-8") as file:
            file.writelines(round_json(result))
    (folder / "run.json").write_text("".join(run_json(run)), "utf-8")
    return folder
