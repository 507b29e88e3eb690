"""`read_run`: a directory of results as the `RunResult` it was written from. Requests stay in their files."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from fluxperf.errors import UsageError
from fluxperf.model import Comparison, RoundResult, RunResult, StageResult, Verdict
from fluxperf.model.evaluation import CacheEvaluation
from fluxperf.model.gate import GateResult
from fluxperf.model.hlog import histograms_of
from fluxperf.model.slo import Slo
from fluxperf.stored.hlog import HLOG_NAME, read_histograms
from fluxperf.stored.requests import StoredRequests
from fluxperf.stored.summary import read_summary

T = TypeVar("T")

_SCHEMA = "fluxperf.run/"
_KNOWN = f"{_SCHEMA}1"


def read_run(path: Path) -> RunResult:
    """The run whose results are in the directory `path` (or whose run.json it is).

    Requests are read from the round files when they are iterated. What an older version did not write is empty.
    Raises UsageError where there is no run.json, or none that can be understood.
    """
    file = path / "run.json" if path.is_dir() or path.suffix != ".json" else path
    found = _read_json(file)
    try:
        return _run(found, file.parent)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        detail = f"{type(error).__name__}: {error}"
        raise UsageError(f"{file}: cannot be understood ({detail}): was it written by FluxPerf, and whole?") from None


def read_runs(paths: Iterable[Path]) -> list[RunResult]:
    """The runs in the directories, one after the other; of one with repeats, each of these. Raises UsageError."""
    return [run for path in paths for run in split_repeats(read_run(path))]


def split_repeats(run: RunResult) -> list[RunResult]:
    """A run for each repeat of its plan, with the stages named as in the plan; the run itself if there are none."""
    numbers = sorted({stage.repeat for stage in run.stages if stage.repeat is not None})
    return [_one_repeat(run, number) for number in numbers] or [run]


def _one_repeat(run: RunResult, number: int) -> RunResult:
    stages = [stage for stage in run.stages if stage.repeat == number]
    names = {stage.name: _plain_title(stage) for stage in stages}
    of_all = [stage.verdict for stage in stages if stage.verdict is not None]
    return replace(
        run,
        configuration=stages[0].configuration if len(stages) == 1 else run.configuration,
        partial=any(stage.state != "complete" for stage in stages),
        server=stages[0].server if len(stages) == 1 else run.server,
        verdict=max(of_all, key=lambda verdict: verdict.status.rank, default=run.verdict),
        stages=tuple(replace(stage, name=names[stage.name] or stage.name) for stage in stages)
        if any(names.values())
        else (),
        rounds=_named(run.rounds, names),
        comparisons=_named(run.comparisons, names),
        evaluations=_named(run.evaluations, names),
        gates=(),
    )


def _plain_title(stage: StageResult) -> str | None:
    """The stage's name without that of its repeat; None: it has no other."""
    _, _, rest = stage.name.partition("/")
    return rest or None


def _named(entries: Sequence[T], names: Mapping[str, str | None]) -> tuple[T, ...]:
    """The entries of these stages, which are called anew."""
    return tuple(replace(one, stage=names[one.stage]) for one in entries if one.stage in names)  # type: ignore[type-var, attr-defined]


def _read_json(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise UsageError(
            f"{file.parent}: there is no {file.name} in it: name the --output-dir of a run"
            if file.parent.is_dir()
            else f"{file.parent}: there is no such directory"
        ) from None
    except OSError as error:
        raise UsageError(f"{file}: cannot be read: {error.strerror or error}") from None
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{file}: is no JSON ({error}): was it cut short?") from None
    schema = found.get("schema") if isinstance(found, dict) else None
    if not isinstance(schema, str) or not schema.startswith(_SCHEMA):
        raise UsageError(f"{file}: is no run.json of FluxPerf")
    if schema != _KNOWN:
        raise UsageError(f"{file}: is of schema {schema[:40]}, and this version knows {_KNOWN}: use a newer FluxPerf")
    whole: dict[str, Any] = found
    return whole


def _run(found: Mapping[str, Any], folder: Path) -> RunResult:
    histograms = _find_histograms(folder / HLOG_NAME)
    return RunResult(
        started_at=str(found["started_at"]),
        ended_at=found.get("ended_at"),
        resumed_at=tuple(found.get("resumed_at") or ()),
        partial=bool(found["partial"]),
        environment=found.get("environment") or {},
        labels=found.get("labels") or {},
        configuration=found.get("configuration") or {},
        server=found.get("server"),
        recipe=found.get("recipe"),
        stages=_convert(found.get("stages"), tuple[StageResult, ...]),
        rounds=tuple(_with_histograms(_round(entry, folder), histograms) for entry in found["rounds"]),
        comparisons=_convert(found.get("comparisons"), tuple[Comparison, ...]),
        evaluations=tuple(_evaluation(entry) for entry in found.get("evaluations") or ()),
        verdict=_convert_one(found.get("verdict"), Verdict),
        gates=_convert([_with_bounds(entry) for entry in found.get("gates") or ()], tuple[GateResult, ...]),
    )


def _round(entry: Mapping[str, Any], folder: Path) -> RoundResult:
    requests = StoredRequests(folder / str(entry["file"]))
    configuration = requests.configuration
    has_send = (entry.get("total_requests") or 0) > 0
    return RoundResult(
        stage=entry["stage"],
        concurrency=int(entry["concurrency"]),
        round=entry["round"],
        configuration=configuration,
        summary=read_summary(entry),
        requests=requests,
        first_sent_ns=0 if has_send else None,
        slo=_convert_one(configuration.get("slo"), Slo),
        notes=tuple(entry.get("notes") or ()),
        partial=bool(entry.get("partial")),
        series=requests.series,
    )


def _find_histograms(file: Path) -> Mapping[str, bytes]:
    """All that the log holds, by tag. Without one, or with a broken one, only requests tell how values are spread."""
    try:
        return read_histograms(file)
    except UsageError:
        return {}


def _with_histograms(result: RoundResult, histograms: Mapping[str, bytes]) -> RoundResult:
    return replace(result, histograms=histograms_of(result, histograms))


def _evaluation(entry: Mapping[str, Any]) -> CacheEvaluation:
    named = {**entry, "dose": entry.get("dose_response"), "gross": None}
    return msgspec.convert(named, CacheEvaluation)


def _with_bounds(entry: Mapping[str, Any]) -> dict[str, Any]:
    """The gate's result with infinite bounds, where the file has none."""
    bounds = entry.get("bounds")
    low, high = bounds or (None, None)
    known = [-math.inf if low is None else low, math.inf if high is None else high]
    return {**entry, "bounds": None if bounds is None else known}


def _convert(entries: Any, to: type[tuple[T, ...]]) -> tuple[T, ...]:
    return msgspec.convert(entries or [], to)


def _convert_one(entry: Any, to: type[T]) -> T | None:
    return None if entry is None else msgspec.convert(entry, to)
