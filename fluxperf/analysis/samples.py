"""`Sample`: the requests of a round as columns of numbers, read once for all its figures. Knows no statistics."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fluxperf.analysis.clustered import count_stretches, label
from fluxperf.analysis.numeric import np
from fluxperf.metrics import BY_NAME, missed
from fluxperf.model import RoundResult, Slo, Timeline

if TYPE_CHECKING:
    from numpy.typing import NDArray

SINGLE = ("ttft_ms", "itl_ms", "latency_ms", "ttfo_ms", "output_token_throughput")
"""The metrics that single requests have."""
NOTHING = -1
_FORMULAS = tuple(BY_NAME[name].formula for name in SINGLE)
_FACTS = (
    "index",
    "turn",
    "sent_ns",
    "done_ns",
    "counted",
    "success",
    "good",
    "tokens",
    "prompt_tokens",
    "cached_tokens",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """A round: a row for each of its requests, by index, then turn. NOTHING stands for what does not exist.

    `values` has the raw values (0 or more) of each of SINGLE, of the successful requests. `counted` are those that
    came to an end of their own. `good` are the successes that met the SLO (all, where there is none). Tokens are of
    successes; the prompt's only where usage told what of it was cached. `dataset` is the hash of the prompts' file.
    """

    concurrency: int
    dataset: str | None
    index: NDArray[np.int64]
    turn: NDArray[np.int64]
    sent_ns: NDArray[np.int64]
    done_ns: NDArray[np.int64]
    counted: NDArray[np.bool_]
    success: NDArray[np.bool_]
    good: NDArray[np.bool_]
    tokens: NDArray[np.int64]
    prompt_tokens: NDArray[np.int64]
    cached_tokens: NDArray[np.int64]
    values: Mapping[str, NDArray[np.int64]]

    @property
    def sent(self) -> NDArray[np.bool_]:
        """Which requests were sent, and came to an end of their own."""
        found: NDArray[np.bool_] = self.counted & (self.sent_ns != NOTHING)
        return found

    def draws_as(self, other: Sample) -> bool:
        """Whether both rounds asked the same of the same dataset, so that their rows are pairs."""
        return (
            self.dataset is not None
            and self.dataset == other.dataset
            and np.array_equal(self.index, other.index)
            and np.array_equal(self.turn, other.turn)
        )

    def stretches(self, kept: NDArray[np.bool_]) -> NDArray[np.int64]:
        """For each of the rows `kept` the number of the stretch of time in which it was sent.

        How many there are follows from all that was sent, as in `fluxperf.analysis.ratios`.
        """
        count = count_stretches(int(np.count_nonzero(self.sent)), self.concurrency)
        return label(self.sent_ns[kept], count)


class Samples:
    """The samples of rounds, each read when it is first asked for; of late ones, as many as are not too large."""

    def __init__(self, most_requests: int = 2_000_000) -> None:
        self._most = most_requests
        self._kept: dict[int, tuple[RoundResult, Sample]] = {}

    def of(self, result: RoundResult) -> Sample:
        """The sample of this very round. Raises what its requests raise when they are read."""
        found = self._kept.pop(id(result), None) or (result, read_sample(result))
        self._kept[id(result)] = found
        size = sum(sample.index.size for _, sample in self._kept.values())
        while size > self._most and len(self._kept) > 2:
            size -= self._kept.pop(next(iter(self._kept)))[1].index.size
        return found[1]


def read_sample(result: RoundResult) -> Sample:
    """Reads the requests of a round, once."""
    width = len(_FACTS) + len(SINGLE)
    numbers = array("q")
    for request in result.requests:
        numbers.extend(_row(request, result.slo))
    columns = (
        np.frombuffer(numbers, np.int64).reshape(-1, width).T.copy() if numbers else np.zeros((width, 0), np.int64)
    )
    facts = dict(zip(_FACTS, columns, strict=False))
    return Sample(
        concurrency=result.concurrency,
        dataset=result.configuration.get("dataset_sha256"),
        index=facts["index"],
        turn=facts["turn"],
        sent_ns=facts["sent_ns"],
        done_ns=facts["done_ns"],
        counted=facts["counted"] > 0,
        success=facts["success"] > 0,
        good=facts["good"] > 0,
        tokens=facts["tokens"],
        prompt_tokens=facts["prompt_tokens"],
        cached_tokens=facts["cached_tokens"],
        values=dict(zip(SINGLE, columns[len(_FACTS) :], strict=True)),
    )


def _row(request: Timeline, slo: Slo | None) -> Iterator[int]:
    """The numbers of a request, in the order of the columns."""
    sent_ns, success = request.sent_ns, request.success
    yield request.index
    yield request.turn
    yield NOTHING if sent_ns is None else sent_ns
    yield NOTHING if sent_ns is None else request.done_ns or sent_ns
    yield request.outcome.counted
    yield success
    yield success and (slo is None or not missed(slo, request))
    yield request.output_tokens if success else 0
    cached, prompt = request.believed_cached_tokens if success else None, request.prompt_tokens
    told = cached is not None and prompt is not None
    yield prompt if told and prompt is not None else NOTHING
    yield cached if told and cached is not None else NOTHING
    for formula in _FORMULAS:
        value = formula(request) if success and formula is not None else None
        yield NOTHING if value is None else max(value, 0)
