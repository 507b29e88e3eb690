from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

import pytest

import fluxperf
from fluxperf.cli import main, parse, secrets_in
from fluxperf.errors import NotYetError, UsageError
from fluxperf.plan.campaign import Campaign
from fluxperf.plan.readers import READERS
from fluxperf.plan.settings import Settings, option_name, read_settings
from fluxperf.usage import COMMANDS, LATER_OPTIONS, LISTS, OPTIONS, REPEATED, USAGE

ROOT = Path(__file__).resolve().parent.parent
SPECIAL = {"--help", "--version", "--recipe", "--dry-run", "--resume", "--continue-on-error"}
SYNONYM = "--no-shuffle-round2"  # of --round2-order same, which has the setting
URL = "http://localhost:8000/v1/chat/completions"

PROMISED = """
--dataset --endpoint --model --api-key --api-key-env --num-samples --concurrency --same-samples --mode --rounds
--control-round --no-shuffle-round2 --seed --max-output-tokens --min-output-tokens --temperature --top-p --extra-body
--header --max-input-length --max-context-tokens --timeout --workers --http --streams-per-connection --timestamps
--ca-file --insecure --slo-file --prometheus-url --prometheus-metrics --reset-cache-url --reset-cache-between-rounds
--reset-cache-between-concurrency --mock-server --mock-host --mock-port --recipe --dry-run --output-dir --overwrite
--save-requests --debug --debug-verbose --debug-log-dir --quiet --no-progress --strict --label --version --help
"""


def given(line: str) -> dict[str, Any]:
    """What the options in `line` come to, without the flags that are not set."""
    values = parse(line.split())
    assert values is not None
    return {name: value for name, value in values.items() if value is not False}


def complaint(line: str, kind: type[UsageError] = UsageError) -> str:
    with pytest.raises(UsageError) as caught:
        parse(line.split())
    assert type(caught.value) is kind
    return str(caught.value).splitlines()[0]


@pytest.mark.parametrize(
    ("line", "values"),
    [
        ("", {}),
        ("run", {}),
        ("run --seed 7", {"seed": "7"}),
        ("--seed=7", {"seed": "7"}),
        ("--seed -7 --temperature -0.5", {"seed": "-7", "temperature": "-0.5"}),
        ("--concurrency 5 10 20", {"concurrency": ["5", "10", "20"]}),
        ("--concurrency 5", {"concurrency": ["5"]}),
        ("--concurrency=5 10 --seed 1 --concurrency 20", {"concurrency": ["5", "10", "20"], "seed": "1"}),
        ("--num-samples -1 2 --quiet", {"num_samples": ["-1", "2"], "quiet": True}),
        ("--quiet --num-samples 5 7", {"num_samples": ["5", "7"], "quiet": True}),
        ("--label a=b --label c=d=e", {"label": ["a=b", "c=d=e"]}),
        ("--label=a=b", {"label": ["a=b"]}),
        ("--header X-A:b --header=X-C:d", {"header": ["X-A:b", "X-C:d"]}),
        ("--model=", {"model": ""}),
        ("--api-key -k --dataset run", {"api_key": "-k", "dataset": "run"}),
        ("--api-key=--debug", {"api_key": "--debug"}),
        ("--debug-log-dir d --debug", {"debug_log_dir": "d", "debug": True}),
        ("--control-round --salt", {"control_round": True, "salt": True}),
        ("--round2-order reversed", {"round2_order": "reversed"}),
        ("--no-shuffle-round2", {"no_shuffle_round2": True}),
        ("--prometheus-metrics a b --salt", {"prometheus_metrics": ["a", "b"], "salt": True}),
        ("--prometheus-metrics=a --prometheus-metrics b", {"prometheus_metrics": ["a", "b"]}),
        (
            "--reset-cache-url http://h/r?a=b --reset-cache-between-rounds --reset-cache-between-concurrency",
            {
                "reset_cache_url": "http://h/r?a=b",
                "reset_cache_between_rounds": True,
                "reset_cache_between_concurrency": True,
            },
        ),
    ],
)
def test_options_are_read(line: str, values: dict[str, Any]) -> None:
    assert given(line) == values


def test_values_keep_their_spaces() -> None:
    values = parse(["--header", "X-A: b c", "--dataset=a b"])
    assert values is not None
    assert (values["header"], values["dataset"]) == (["X-A: b c"], "a b")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("--concurency 5", "unknown option --concurency, did you mean --concurrency?"),
        ("--conc 5", "unknown option --conc, did you mean --concurrency?"),  # no abbreviations
        ("--outputdir=x", "unknown option --outputdir, did you mean --output-dir?"),
        ("--xyzzy", "unknown option --xyzzy"),
        ("--help --xyzzy", "unknown option --xyzzy"),
        ("--", "unknown option --"),
        ("-q", "unexpected '-q': it belongs to no option"),
        ("--seed 1 2", "unexpected '2': it belongs to no option"),
        ("--quiet 5 10", "unexpected '5': it belongs to no option"),
        ("--header X-A:b X-C:d", "unexpected 'X-C:d': it belongs to no option"),
        ("--quiet run", "unexpected 'run': it belongs to no option"),
        ("run run", "unexpected 'run': it belongs to no option"),
        ("--seed 1 --seed 1", "--seed is given twice"),
        ("--seed 1 --seed=1", "--seed is given twice"),
        ("--quiet --quiet", "--quiet is given twice"),
        ("--seed", "--seed needs a value"),
        ("--seed --quiet", "--seed needs a value"),
        ("--concurrency --quiet", "--concurrency needs a value"),
        ("--quiet=1", "--quiet takes no value"),
        ("--quiet=", "--quiet takes no value"),
        ("mokc", "unknown command 'mokc', did you mean mock?"),
        ("data.jsonl", "unknown command 'data.jsonl'"),
    ],
)
def test_what_cannot_be_read_is_named(line: str, message: str) -> None:
    assert complaint(line) == message


def test_no_complaint_repeats_the_value_of_an_unknown_option() -> None:
    with pytest.raises(UsageError) as caught:
        parse(["--apikey=sk-secret"])
    assert "sk-secret" not in str(caught.value)


BUILT = """
--control-round --round2-order --no-shuffle-round2 --salt --engine --reset-cache-url --reset-cache-between-rounds
--reset-cache-between-concurrency --prometheus-url --prometheus-metrics
--max-context-tokens --own-history --think-time --tokenizer --tokenizer-revision
--as --baseline --fail-on --github --judge --junit --markdown --repeat
"""


@pytest.mark.parametrize("name", BUILT.split())
def test_options_that_are_built_are_there(name: str) -> None:
    assert name not in LATER_OPTIONS
    assert f"  {name} " in USAGE or f"  {name}\n" in USAGE
    assert given(f"{name} x" if OPTIONS[name] else name)


def test_values_with_labels_stay_whole() -> None:
    metrics = ['vllm:prefix_cache_hits{engine="0",model_name="a b"}', "other"]
    values = parse(["--prometheus-metrics", *metrics])
    assert values is not None
    assert values["prometheus_metrics"] == metrics


@pytest.mark.parametrize("name", sorted(LATER_OPTIONS))
def test_options_to_come_say_not_yet(name: str) -> None:
    for line in (name, f"{name} a b", f"{name}=a", f"--seed 1 {name}"):
        assert complaint(line, NotYetError) == f"{name} is not yet built"


def test_every_promised_option_is_there_or_to_come() -> None:
    assert set(PROMISED.split()) <= set(OPTIONS) | LATER_OPTIONS
    assert not set(OPTIONS) & LATER_OPTIONS
    assert not LATER_OPTIONS & set(USAGE.split())
    assert all(f"fluxperf {name}" in USAGE for name in COMMANDS if name != "run")


# The usage text and the settings are held in step.


def test_every_option_has_a_reader_and_every_reader_an_option() -> None:
    assert set(OPTIONS) - SPECIAL == {option_name(name) for name in READERS}


def test_an_option_takes_a_value_unless_its_setting_is_a_flag() -> None:
    flags = {option_name(field.name) for field in fields(Settings) if field.default is False}
    special = SPECIAL - {"--recipe"}
    assert {name for name, takes_value in OPTIONS.items() if not takes_value} == flags | special | {SYNONYM}


def test_options_that_may_be_repeated_are_those_whose_setting_is_several_values() -> None:
    several = {option_name(field.name) for field in fields(Settings) if "..." in str(field.type)}
    assert several == LISTS | REPEATED


def test_the_usage_text_marks_lists() -> None:
    assert set(re.findall(r"^  (--[a-z-]+) [A-Z]+\.\.\.", USAGE, re.MULTILINE)) == LISTS


def test_the_usage_text_tells_every_default() -> None:
    starts = [match.start() for match in re.finditer(r"^  --", USAGE, re.MULTILINE)]
    told = {}
    for start, end in zip(starts, [*starts[1:], len(USAGE)], strict=True):
        if default := re.search(r"\[default: (.+?)\]", USAGE[start:end]):
            told[USAGE[start:end].split()[0][2:].replace("-", "_")] = default[1]
    settings = read_settings({"dataset": "d", "endpoint": URL, **told})
    assert settings == Settings(dataset="d", endpoint=URL)
    unset: tuple[Any, ...] = (MISSING, None, False, ())
    assert set(told) == {field.name for field in fields(Settings) if not any(field.default is value for value in unset)}


def test_no_line_of_the_usage_text_is_too_long_for_a_terminal() -> None:
    assert max(map(len, USAGE.splitlines())) <= 120


# What nobody else on the machine should read.


@pytest.mark.parametrize("name", ["--endpoint", "--reset-cache-url", "--prometheus-url"])
@pytest.mark.parametrize("joined", [False, True])
def test_secrets_in_urls_are_hidden(name: str, *, joined: bool) -> None:
    url = "https://me:p%40ss@host/path?api_key=first&token=second&page=3"
    words = ["--quiet", f"{name}={url}"] if joined else [name, url, "--quiet"]
    assert set(secrets_in(words)) == {"p%40ss", "p@ss", "bWU6cEBzcw==", "first", "second"}


def test_secrets_of_all_kinds_are_hidden() -> None:
    words = ["--api-key", "key", "--header", "Authorization: Bearer abc", "--extra-body", '{"user_token": "def"}']
    words += [
        "--endpoint",
        "http://h/?key=1",
        "--prometheus-url",
        "http://h/?key=2",
        "--reset-cache-url=http://h/?key=3",
    ]
    assert set(secrets_in(words)) == {"key", "Bearer abc", "abc", "def", "1", "2", "3"}


@pytest.mark.parametrize("words", [[], ["--reset-cache-url"], ["--prometheus-url", "http://[::1/"], ["--endpoint="]])
def test_where_there_is_no_secret_none_is_hidden(words: list[str]) -> None:
    assert secrets_in(words) == []


# What the whole command says and how it ends.


@pytest.mark.parametrize("words", [["--help"], ["-h"], ["run", "--help"], ["--seed", "1", "--help"]])
def test_help_is_on_stdout(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 0
    assert capsys.readouterr() == (USAGE, "")


def test_version_is_on_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr() == (f"fluxperf {fluxperf.__version__}\n", "")


def test_every_fault_is_a_line_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--rounds", "0", "--workers", "x"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        "fluxperf: --rounds must be at least 1, not 0",
        "fluxperf: --workers takes a whole number, not 'x'",
        "fluxperf: --dataset is missing: name the file that holds the prompts",
        "fluxperf: --endpoint is missing: give the full URL of chat completions, or --mock-server",
    ]


def test_elsewhere_than_on_linux_it_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr("fluxperf.masking.hide_in_title", no_proc)
    assert main(["--help"]) == 2
    assert capsys.readouterr().err.startswith("fluxperf: FluxPerf needs Linux: ")


def no_proc(_secrets: list[str]) -> None:
    raise FileNotFoundError("/proc/self/stat")


def test_an_internal_error_is_one_line_and_its_traceback_in_a_file(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def run(_campaign: Campaign, *, resume: bool) -> int:
        raise ValueError("boom")

    monkeypatch.setattr("fluxperf.runner.run", run)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    assert main(["--dataset", "d", "--endpoint", URL]) == 3
    (log,) = tmp_path.iterdir()
    assert capsys.readouterr() == (
        "",
        f"fluxperf: internal error: ValueError: boom; the traceback is in {log}\n",
    )
    assert 'raise ValueError("boom")' in log.read_text()


def test_interrupted_before_anything_ends_with_130(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(_campaign: Campaign, *, resume: bool) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr("fluxperf.runner.run", run)
    assert main(["--dataset", "d", "--endpoint", URL]) == 130
    assert capsys.readouterr() == ("", "fluxperf: interrupted\n")


@pytest.mark.parametrize("words", [["--help"], ["--version"], ["--conc", "5"], ["compare", "--help"]])
def test_nothing_heavy_is_imported_to_answer_at_once(words: list[str]) -> None:
    code = (
        "import sys\nfrom fluxperf.cli import main\nmain(sys.argv[1:])\n"
        "print(*{name.partition('.')[0] for name in sys.modules}, file=sys.stderr)"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code, *words], cwd=ROOT, capture_output=True, text=True, check=True, timeout=30
    )
    heavy = (
        "trio httpx httpcore h2 uvloop httptools msgspec msgpack hdrh yaml rich numpy scipy asyncio ssl fluxperf_mock "
        "prometheus_client"
    )
    assert set(ended.stderr.splitlines()[-1].split()).isdisjoint(heavy.split())
