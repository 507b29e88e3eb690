"""Gates and baselines of a whole run: what is refused before anything is sent, what is judged after, exit codes."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET

import pytest

from tests.end_to_end.command import Fluxperf, fluxperf_in
from tests.end_to_end.servers import running_mock

LINE = "--mock-server --dataset prompts.jsonl --concurrency 2 --max-output-tokens 3"


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Fluxperf:
    """A run that is kept as the baseline `main`."""
    with fluxperf_in(tmp_path_factory.mktemp("gates")) as command:
        command.write_prompts(24, words=20)
        assert command(f"{LINE} --output-dir before").code == 0
        assert command("baseline save main before").code == 0
        return command


def test_a_gate_that_holds_fails_the_build(measured: Fluxperf) -> None:
    ended = measured(
        f"{LINE} --output-dir out --overwrite --fail-on 'ttft_ms.p50 > 0.001' --fail-on 'errors.ratio > 0.9'"
    )
    assert ended.code == 1
    assert "2 of 4 gates failed" in ended.err
    assert "FAIL" in ended.out
    outcomes = [gate["outcome"] for gate in measured.run_json()["gates"]]
    assert outcomes == ["failed", "failed", "passed", "passed"]


def test_files_for_ci(measured: Fluxperf) -> None:
    line = f"{LINE} --output-dir out --overwrite --fail-on 'round2/round1 ttft_ms.p50 > 5' --junit j.xml --github"
    (measured.place / "summary.md").write_text("what others wrote\n")
    ended = measured(f"{line} --markdown summary.md --quiet")
    assert ended.code == 0, ended.err
    assert ended.out.startswith("::notice")
    assert ET.parse(measured.place / "j.xml").getroot().attrib["failures"] == "0"
    summary = (measured.place / "summary.md").read_text("utf-8")
    assert summary.startswith("what others wrote\n")
    assert "1 gate passed" in summary


def test_a_slower_server_fails_against_the_baseline(measured: Fluxperf) -> None:
    with running_mock("--prefill-tokens-per-s", "800", "--model", "fluxperf-mock") as slow:
        line = f"--endpoint {slow.url} --dataset prompts.jsonl --concurrency 2 --max-output-tokens 3 --output-dir slow"
        ended = measured(f"{line} --baseline main --fail-on 'round1 ttft_ms.mean > +10%'")
    assert ended.code == 1, ended.err
    assert "Comparison of Runs" in ended.out
    assert "worse" in ended.out


def test_the_same_server_passes(measured: Fluxperf) -> None:
    ended = measured(f"{LINE} --output-dir out --overwrite --baseline main --fail-on 'ttft_ms.mean > +30%'")
    assert ended.code == 0, ended.err
    gates = measured.run_json()["gates"]
    assert {gate["outcome"] for gate in gates} <= {"passed", "undecided"}


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ("--fail-on 'ttft.p99 > 10%'", "did you mean ttft_ms.p99?"),
        ("--fail-on 'ttft_ms.p99 > +10%'", "none is given: add --baseline"),
        ("--fail-on 'goodput.ratio < 0.9'", "--slo-file"),
        ("--fail-on 'round3 ttft_ms.p50 > 1'", "there is no round3"),
        ("--baseline nowhere", "nowhere"),
        ("--baseline main --max-output-tokens 9", "max_output_tokens"),
        ("--baseline main --rounds 3 --fail-on 'round3 ttft_ms.p50 > +5%'", "the baseline has no round3"),
        ("--as curl", "take one of vllm"),
        ("--baseline main --concurrency 2 4", "concurrency: the baseline has 2, this run 2, 4"),
        ("--baseline main --rounds 3", "rounds: the baseline has 1, 2, this run 1, 2, 3"),
        ("--baseline main --num-samples 9", "others are drawn"),
        ("--junit . --github", "is a directory"),
        ("--repeat 0", "--repeat must be at least 1"),
    ],
)
def test_what_cannot_be_judged_is_said_before_anything_is_sent(measured: Fluxperf, options: str, says: str) -> None:
    given = {word for word in options.split() if word.startswith("--")}
    words = LINE.split()
    pairs = [(word, words[at + 1]) for at, word in enumerate(words) if word in ("--concurrency", "--max-output-tokens")]
    line = LINE
    for name, value in pairs:
        line = line.replace(f"{name} {value}", "") if name in given else line
    ended = measured(f"{line} {options} --output-dir refused")
    assert ended.code == 2, ended.err
    assert says in ended.err
    assert not (measured.place / "refused").exists()
    assert measured(f"{line} {options} --output-dir refused --dry-run").code == 2


def test_gates_are_judged_of_a_run_that_is_complete(measured: Fluxperf) -> None:
    line = f"{LINE} --output-dir whole --seed 7"
    assert measured(line).code == 0
    ended = measured(f"{line} --resume --fail-on 'ttft_ms.p50 > 0.001'")
    assert ended.code == 1
    assert "nothing left to measure" in ended.err
    assert json.loads((measured.place / "whole" / "run.json").read_text("utf-8"))["gates"]


def test_a_run_of_which_nothing_succeeded_in_a_round_fails_its_error_gate(measured: Fluxperf) -> None:
    with running_mock("--faults", "errors=1", "--model", "fluxperf-mock") as broken:
        line = f"--endpoint {broken.url} --dataset prompts.jsonl --concurrency 2 --max-output-tokens 3 --output-dir out"
        ended = measured(f"{line} --overwrite --fail-on 'errors.ratio > 0.01' --junit none.xml")
    assert ended.code in (1, 3), ended.err


def test_a_run_is_no_baseline_of_what_replaces_it(measured: Fluxperf) -> None:
    before = (measured.place / "before" / "run.json").read_bytes()
    ended = measured(f"{LINE} --output-dir before --overwrite --baseline before")
    assert ended.code == 2
    assert "would replace" in ended.err
    assert (measured.place / "before" / "run.json").read_bytes() == before


def test_secrets_of_a_body_are_neither_told_nor_a_difference(measured: Fluxperf) -> None:
    secret = "hunter2hunter2"
    body = f"""--extra-body '{{"api_key": "{secret}"}}'"""
    assert measured(f"{LINE} --output-dir s1 {body}").code == 0
    ended = measured(f"{LINE} --output-dir s2 {body} --baseline s1")
    assert ended.code == 0, ended.err
    assert secret not in ended.out + ended.err


def test_an_invalid_run_leaves_what_was_asked_for(measured: Fluxperf) -> None:
    with running_mock("--faults", "foreign=0.5", "--model", "fluxperf-mock") as server:
        line = f"--endpoint {server.url} --dataset prompts.jsonl --concurrency 2 --max-output-tokens 3 --output-dir out"
        measured(f"{line} --overwrite")
        ended = measured(f"{line} --overwrite --strict --fail-on 'ttft_ms.p50 > 0.001' --junit strict.xml")
    assert ended.code == 4
    assert (measured.place / "strict.xml").exists()


def test_a_page_of_somebody_else_stays(measured: Fluxperf) -> None:
    other = measured.place / "work"
    other.mkdir()
    (other / "report.html").write_text("mine")
    assert measured(f"{LINE} --output-dir work --overwrite").code == 0
    assert (other / "report.html").read_text() == "mine"


def test_what_only_measuring_tells_leaves_other_gates_judged(measured: Fluxperf) -> None:
    with running_mock("--model", "fluxperf-mock") as server:
        line = f"--endpoint {server.url} --dataset prompts.jsonl --concurrency 2 --max-output-tokens 3"
        assert measured(f"{line} --output-dir cold").code == 0
        gates = "--fail-on 'ttft_ms.mean > +10%' --junit unlike.xml"
        ended = measured(f"{line} --output-dir warm --baseline cold {gates}")
        assert ended.code == 2, ended.err
        assert "cold: BASE was cold" in ended.err
        assert (measured.place / "unlike.xml").exists()
        failed = measured(f"{line} --output-dir warm2 --baseline cold {gates} --fail-on 'round1 ttft_ms.p50 > 0.001'")
    assert failed.code == 1, failed.err
