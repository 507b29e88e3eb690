from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from fluxperf.calibrate.search import Range
from fluxperf.calibrate.server import Schedule
from fluxperf.calibrate.session import Asked, best_of, client_command, open_server, run_client, write_prompts
from fluxperf.calibrate.step import Step
from fluxperf.cli import parse, read_campaign
from fluxperf.errors import RunFailed, UsageError
from tests.calibrate.steps import make_step

CORE = min(os.sched_getaffinity(0))
ASKED = Asked(schedule=Schedule(5, 1, 4), loads=Range(2))
BAD, WORSE, LATE, GOOD = (
    make_step(16, ttft_p99=2),
    make_step(16, ttft_p99=5),
    make_step(16, late_ms=5, ttft_p99=1),
    make_step(16, gap_p99=0.05),
)


@pytest.mark.parametrize(
    ("tries", "measured", "best"),
    [
        (3, [GOOD], GOOD),
        (3, [WORSE, GOOD], GOOD),
        (3, [LATE, WORSE, GOOD], GOOD),
        (3, [WORSE, BAD, WORSE], BAD),
        (3, [WORSE, LATE, BAD], LATE),
        (1, [WORSE], WORSE),
    ],
)
def test_a_load_that_fails_is_measured_again_and_the_best_counts(tries: int, measured: list[Step], best: Step) -> None:
    steps = iter(measured)
    said: list[str] = []
    assert best_of(tries, lambda: next(steps), said.append) is best
    assert list(steps) == []
    assert len(said) == len(measured) - 1
    assert all(text.startswith("at 16 streams ") and text.endswith(": once more") for text in said)


def test_the_client_is_a_real_run_with_one_worker() -> None:
    words = client_command(ASKED, 2, 100, "http://127.0.0.1:1/v1/chat/completions")
    assert words[:3] == [sys.executable, "-m", "fluxperf"]
    values = parse(words[3:])
    assert values is not None
    (stage,) = read_campaign(values).stages
    settings = stage.settings
    assert (settings.concurrency, settings.num_samples, settings.rounds, settings.workers) == ((2,), (100,), 1, 1)
    assert (settings.min_output_tokens, settings.max_output_tokens, settings.http) == (4, 4, "1.1")
    assert settings.quiet


def test_prompts_are_all_different(tmp_path: Path) -> None:
    write_prompts(tmp_path / "prompts.jsonl", 50)
    texts = {json.loads(line)["text"] for line in (tmp_path / "prompts.jsonl").read_text().splitlines()}
    assert len(texts) == 50


@pytest.mark.parametrize(("code", "kind"), [(2, UsageError), (3, RunFailed), (1, RunFailed)])
def test_a_client_that_fails_is_quoted(tmp_path: Path, code: int, kind: type[Exception]) -> None:
    script = f"import sys; sys.stderr.write('fluxperf: no luck\\n'); sys.exit({code})"
    with pytest.raises(kind) as caught:
        run_client([sys.executable, "-c", script], CORE, tmp_path, 60)
    assert type(caught.value) is kind
    assert str(caught.value) == f"the client ended with exit code {code}: no luck"


def test_a_client_that_does_not_end_is_ended(tmp_path: Path) -> None:
    with pytest.raises(RunFailed, match="the client was not done after 0 s; try a lower --max-streams"):
        run_client([sys.executable, "-c", "import signal; signal.pause()"], CORE, tmp_path, 0.01)


def test_a_compiler_that_fails_is_as_good_as_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", "false")
    said: list[str] = []
    with open_server(ASKED, CORE, tmp_path, said.append) as server:
        assert server.kind == "mock"
    assert said == ["no C compiler that works: the mock server is used, which cannot serve as much as the compiled one"]


@pytest.mark.parametrize("name", ["no-such-compiler", "'half"])
def test_a_compiler_that_does_not_exist_is_mentioned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("CC", name)
    said: list[str] = []
    with open_server(ASKED, CORE, tmp_path, said.append):
        pass
    assert said[0] == f"CC names {name}, which is not there: other compilers are tried"


def test_a_mock_that_is_asked_for_needs_no_excuse(tmp_path: Path) -> None:
    said: list[str] = []
    asked = Asked(schedule=Schedule(5, 1, 4), loads=Range(2), server="mock")
    with open_server(asked, CORE, tmp_path, said.append) as server:
        truth = server.truth()
        server.reset()
    assert (truth["tokens"], truth["late_ms"]["n"], said) == (0, 0, [])
