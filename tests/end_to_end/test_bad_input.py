"""What can be known to be wrong without the server is said before anything is sent or touched."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.end_to_end.command import Ended, Fluxperf
from tests.end_to_end.servers import Scripted, scripted_servers


class Case(NamedTuple):
    """A command line and what its message must say. `URL` stands for a server's."""

    line: str
    says: str


GOOD = "--endpoint URL --dataset prompts.jsonl"
CASES = {
    "nothing at all": Case("", "--dataset is missing"),
    "no dataset": Case("--endpoint URL", "--dataset is missing"),
    "no endpoint": Case("--dataset prompts.jsonl", "--endpoint is missing"),
    "a dataset that is not there": Case("--endpoint URL --dataset nowhere.jsonl", "nowhere.jsonl: "),
    "a dataset that is a directory": Case("--endpoint URL --dataset out", "out: "),
    "an empty dataset": Case("--endpoint URL --dataset empty.jsonl", "empty.jsonl: no entries"),
    "a bad line": Case("--endpoint URL --dataset bad.jsonl", "bad.jsonl:2: "),
    "a line that is not UTF-8": Case("--endpoint URL --dataset latin.jsonl", "latin.jsonl:1: "),
    "an entry of no known form": Case("--endpoint URL --dataset odd.json", "odd.json:2: "),
    "an unknown option": Case(f"{GOOD} --concurency 5", "did you mean --concurrency?"),
    "an abbreviated option": Case(f"{GOOD} --concurr 5", "unknown option --concurr"),
    "an unknown command": Case(f"rum {GOOD}", "did you mean run?"),
    "a stray word": Case(f"{GOOD} --quiet now", "'now'"),
    "an option without its value": Case(f"{GOOD} --model", "--model needs a value"),
    "a concurrency of 0": Case(f"{GOOD} --concurrency 5 0", "--concurrency must be at least 1, not 0"),
    "a concurrency that is no number": Case(f"{GOOD} --concurrency many", "--concurrency takes a whole number"),
    "counts that do not pair up": Case(f"{GOOD} --concurrency 1 2 3 --num-samples 4 5", "2 numbers of samples"),
    "two bounds that exclude each other": Case(f"{GOOD} --min-output-tokens 300", "above --max-output-tokens 256"),
    "a body that is no JSON": Case(f"{GOOD} --extra-body '{{'", "--extra-body takes a JSON object"),
    "a header with a line end": Case(f"{GOOD} --header 'A: b\nC: d'", "--header"),
    "a key variable that is not there": Case(f"{GOOD} --api-key-env NO_SUCH_KEY", "--api-key-env NO_SUCH_KEY"),
    "a URL without a scheme": Case("--dataset prompts.jsonl --endpoint localhost:8000", "must be a full URL"),
    "a URL with a bad port": Case("--dataset prompts.jsonl --endpoint http://h:99999/v1", "--endpoint"),
    "an SLO file that is not there": Case(f"{GOOD} --slo-file nowhere.yaml", "nowhere.yaml"),
    "an SLO of an unknown metric": Case(f"{GOOD} --slo-file slo.yaml", "did you mean 'ttft_ms'?"),
    "an output directory under a file": Case(f"{GOOD} --output-dir prompts.jsonl/out", "--output-dir"),
    "a version of HTTP that is not spoken": Case(f"{GOOD} --http 3", "--http is one of auto, 1.1, 2"),
    "no streams": Case(f"{GOOD} --streams-per-connection 0", "--streams-per-connection must be at least 1"),
    "authorities that are not there": Case(f"{GOOD} --ca-file nowhere.pem", "--ca-file nowhere.pem cannot be read"),
    "authorities that are none": Case(f"{GOOD} --ca-file prompts.jsonl", "holds no certificate in PEM form"),
    "a certificate that is none": Case(f"{GOOD} --client-cert prompts.jsonl", "--client-cert prompts.jsonl is no"),
    "a key without a certificate": Case(f"{GOOD} --client-key prompts.jsonl", "--client-key needs --client-cert"),
    "metrics of nobody": Case(f"{GOOD} --prometheus-metrics a b", "--prometheus-metrics needs --prometheus-url"),
    "a metric that is none": Case(
        f"{GOOD} --prometheus-url http://localhost:9090 --prometheus-metrics 'a{{'", "--prometheus-metrics"
    ),
    "a reset of nothing": Case(f"{GOOD} --reset-cache-between-rounds", "needs --reset-cache-url"),
    "a URL of a reset that is none": Case(
        f"{GOOD} --reset-cache-url /flush_cache", "--reset-cache-url must be a full URL"
    ),
    "two orders": Case(f"{GOOD} --no-shuffle-round2 --round2-order reversed", "contradicts --round2-order reversed"),
    "an engine that is not known": Case(f"{GOOD} --engine ollama", "--engine is one of auto, vllm"),
    "a recipe that is not there": Case("--recipe recipe.yaml", "recipe.yaml: the recipe cannot be read: No such file"),
    "going on after an error without a recipe": Case(f"{GOOD} --continue-on-error", "needs --recipe"),
    "think time without sessions": Case(f"{GOOD} --think-time 1", "needs --mode multi_turn"),
    "think time that is none": Case(f"{GOOD} --mode multi_turn --think-time 5-2", "--think-time"),
    "a limit without sessions": Case(f"{GOOD} --max-context-tokens 10", "needs --mode multi_turn"),
    "a tokenizer that is not there": Case(f"{GOOD} --tokenizer ./no/tokenizer.json", "./no/tokenizer.json"),
    "a debug directory that is a file": Case(f"{GOOD} --debug --debug-log-dir prompts.jsonl", "--debug-log-dir"),
}
NOT_YET = {
    "completions": "--dataset prompts.jsonl --endpoint http://localhost/v1/completions",
    "open loop": "--dataset prompts.jsonl --request-rate 5",
    "sweep": "--dataset prompts.jsonl --sweep concurrency",
}


class Trial(NamedTuple):
    """All command lines, run against one server."""

    ended: dict[str, Ended]
    server: Scripted
    place: Path
    untouched: dict[str, bytes]


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


@pytest.fixture(scope="module")
def trial(shared_fluxperf: Fluxperf) -> Iterator[Trial]:
    """Everything at once, which takes half the time."""
    place = shared_fluxperf.place
    shared_fluxperf.write_prompts(3)
    (place / "empty.jsonl").write_text("\n\n")
    (place / "bad.jsonl").write_text('{"text": "good"}\n{"text": \n')
    (place / "latin.jsonl").write_bytes(b'{"text": "caf\xe9"}\n')
    (place / "odd.json").write_text('[{"text": "good"},\n {"txt": "bad"}]')
    (place / "slo.yaml").write_text("slo: {tfft_ms: 5}\n")
    for name in ("results", "out"):
        (place / name).mkdir()
        (place / name / "run.json").write_text('{"started_at": "2001-02-03T04:05:06Z"}')
    before = contents(place)
    with scripted_servers() as serve:
        server = serve(lambda exchange: exchange.stream("a"))
        lines = {name: case.line for name, case in CASES.items()} | NOT_YET
        started = {name: shared_fluxperf.start(line.replace("URL", server.url)) for name, line in lines.items()}
        yield Trial({name: running.end() for name, running in started.items()}, server, place, before)


@pytest.mark.parametrize("name", CASES)
def test_it_is_said_in_one_message(trial: Trial, name: str) -> None:
    ended = trial.ended[name]
    assert (ended.code, ended.out) == (2, "")
    assert CASES[name].says in ended.err
    lines = ended.err.splitlines()
    assert 1 <= len(lines) <= 2
    assert all(line.startswith("fluxperf: ") for line in lines)


@pytest.mark.parametrize("name", NOT_YET)
def test_what_is_promised_for_later_is_said_to_be_so(trial: Trial, name: str) -> None:
    ended = trial.ended[name]
    assert (ended.code, ended.out) == (2, "")
    assert "not yet" in ended.err
    assert len(ended.err.splitlines()) == 1


def test_nothing_is_sent_and_nothing_is_touched(trial: Trial) -> None:
    assert trial.server.connections == 0
    assert contents(trial.place) == trial.untouched
    folders = [path.name for path in trial.place.iterdir() if path.is_dir()]
    assert sorted(folders) == ["out", "results"]
    for name in folders:
        assert contents(trial.place / name) == {"run.json": b'{"started_at": "2001-02-03T04:05:06Z"}'}


def test_all_faults_are_said_at_once(fluxperf: Fluxperf) -> None:
    ended = fluxperf("--concurrency 0 --num-samples x --endpoint gopher://h")
    assert ended.code == 2
    faulty = {line.split()[1] for line in ended.err.splitlines()}
    assert faulty == {"--endpoint", "--num-samples", "--concurrency", "--dataset"}


def test_help_and_version_need_nothing(fluxperf: Fluxperf) -> None:
    ended = fluxperf("--help")
    assert (ended.code, ended.err) == (0, "")
    for option in ("--concurrency", "--dataset", "--endpoint", "--slo-file", "--mock-server"):
        assert option in ended.out
    for later in ("--arrival", "--launcher", "--sweep"):
        assert later not in ended.out
    assert fluxperf("--version").out.startswith("fluxperf ")


def test_a_port_that_refuses_is_named(fluxperf: Fluxperf) -> None:
    fluxperf.write_prompts(3)
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # and does not listen
        port = unused.getsockname()[1]
        ended = fluxperf.measure(f"http://localhost:{port}/v1/chat/completions")
    assert ended.code == 3
    assert f"cannot connect to localhost:{port}" in ended.err
    assert f"127.0.0.1:{port}: connection refused" in ended.err
    assert ended.out == ""


def test_a_host_without_an_address_is_named(fluxperf: Fluxperf) -> None:
    fluxperf.write_prompts(3)
    host = "a" * 64  # longer than a name may be, so that nobody has to be asked
    ended = fluxperf.measure(f"http://{host}/v1/chat/completions")
    assert ended.code == 3
    assert f"cannot find the host '{host}'" in ended.err
