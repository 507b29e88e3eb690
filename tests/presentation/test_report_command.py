"""`fluxperf report`: its words, where pages go, what is printed, and what is refused."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from fluxperf.cli import main as fluxperf
from fluxperf.cli import parse as parse_run
from fluxperf.errors import UsageError
from fluxperf.presentation.again import page_command, run_commands
from fluxperf.presentation.command import main
from fluxperf.presentation.names import name_runs
from fluxperf.stored import read_run
from tests.presentation.results import Made, change, make_run, write_run

Results = Callable[..., Path]


def test_the_page_goes_into_the_directory(results: Results, capsys: pytest.CaptureFixture[str]) -> None:
    folder = results()
    assert main([str(folder)]) == 0
    assert "<h1>a-model</h1>" in (folder / "report.html").read_text("utf-8")
    out, err = capsys.readouterr()
    assert (out, err) == ("", f"fluxperf: the page: {folder}/report.html\n")
    assert main([str(folder / "run.json"), "--quiet"]) == 0
    assert capsys.readouterr() == ("", "")


def test_of_several_runs_it_goes_where_one_stands(
    results: Results, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folders = [results("before", requests=8), results("after", requests=8, model="other")]
    monkeypatch.chdir(tmp_path)
    assert main([*map(str, folders)]) == 0
    html = (tmp_path / "report.html").read_text("utf-8")
    assert "2 runs side by side" in html
    assert "The model differs." in html
    assert main([*map(str, folders), "--output", "both.html"]) == 0
    assert (tmp_path / "both.html").exists()


def test_stages_get_their_pages_too(results: Results, tmp_path: Path) -> None:
    run = make_run(Made(levels=(2,), requests=5))
    folder = tmp_path / "campaign"
    write_run(folder / "one", run)
    write_run(folder, run)
    stage = {"name": "One", "folder": "one", "state": "complete", "env": {}, "configuration": {}}
    gone = {"name": "Gone", "folder": "gone", "state": "failed", "error": "no server", "env": {}, "configuration": {}}
    rounds = json.loads((folder / "run.json").read_text("utf-8"))["rounds"]
    change(
        folder, stages=[stage, gone], rounds=[one | {"stage": "One", "file": f"one/{one['file']}"} for one in rounds]
    )
    assert main([str(folder)]) == 0
    assert (folder / "one" / "report.html").exists()
    html = (folder / "report.html").read_text("utf-8")
    assert 'href="one/report.html"' in html
    assert "no server" in html


def test_text_prints_what_the_run_had_printed(results: Results, capsys: pytest.CaptureFixture[str]) -> None:
    folder = results(levels=(2,))
    assert main([str(folder), "--text"]) == 0
    out, err = capsys.readouterr()
    assert out.index("Concurrency: 2 | Round 1 Performance Metrics") < out.index("Comparison of Rounds")
    assert "Did the cache help?" in out
    assert err == ""
    assert not (folder / "report.html").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("", "the arguments do not fit"),
        ("nowhere", "nowhere: there is no such directory"),
        (".", "there is no run.json in it"),
        ("a.hlog .", "cannot be mixed"),
        ("a.hlog --text", "need the directories of runs"),
        (". --output .", "is a directory"),
        (". --output gone/page.html", "there is no directory gone"),
        (". --outptu x", "did you mean --output?"),
    ],
)
def test_what_is_refused(
    words: str, said: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert fluxperf(["report", *shlex.split(words)]) == 2
    assert said in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_help_is_its_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    assert "fluxperf report [options] DIR..." in capsys.readouterr().out


def test_without_the_library_one_line_says_how_to_get_it(results: Results, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = results()
    for name in [name for name in sys.modules if name.partition(".")[0] == "bokeh"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "bokeh", None)
    with pytest.raises(UsageError, match=r"pip install 'fluxperf\[report\]'"):
        main([str(folder)])
    assert main([str(folder), "--text"]) == 0


def test_logs_of_several_hosts_are_added_up(
    results: Results, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from fluxperf.model import Histogram
    from fluxperf.report.hlog import histograms_hlog

    histogram = Histogram()
    histogram.record_all([1_000_000, 2_000_000])
    run = make_run(Made(levels=(2,), rounds=1, requests=2))
    for name in ("a.hlog", "b.hlog"):
        rounds = tuple(replace(one, histograms={"ttft_ms": histogram.encode()}) for one in run.rounds)
        (tmp_path / name).write_text("".join(histograms_hlog(replace(run, rounds=rounds))), "utf-8")
    output = tmp_path / "sum.hlog"
    assert main([str(tmp_path / "a.hlog"), str(tmp_path / "b.hlog"), "--output", str(output)]) == 0
    out = capsys.readouterr().out
    assert "Histograms of 2 files" in out
    assert " 4 " in out
    assert output.exists()


def test_a_lens_shows_another_tools_figures(results: Results, capsys: pytest.CaptureFixture[str]) -> None:
    folder = results(levels=(2,))
    assert main([str(folder), "--as", "vllm"]) == 0
    assert "median_ttft_ms" in capsys.readouterr().out
    with pytest.raises(UsageError, match="there is no such tool"):
        main([str(folder), "--as", "nobody"])


def test_runs_are_called_by_what_they_differ_in(results: Results) -> None:
    folders = [results("x/one", requests=2), results("x/two", requests=2)]
    runs = [read_run(folder) for folder in folders]
    assert name_runs(runs, folders) == ["one", "two"]
    assert name_runs([runs[0], runs[0]], [folders[0], folders[0]]) == ["one", "one (2)"]
    labelled = [make_run(Made(requests=1, labels={"gpu": gpu, "site": "x"})) for gpu in ("H100", "L4")]
    assert name_runs(labelled, folders) == ["H100", "L4"]
    same_end = [Path("a/results"), Path("b/results")]
    assert name_runs(runs, same_end) == ["a/results", "b/results"]


def test_the_run_can_be_made_again(results: Results) -> None:
    folder = results()
    configuration = {
        "dataset": "my prompts.jsonl",
        "endpoint_given": "http://x/v1",
        "endpoint": "http://other/v1",
        "model": "m",
        "model_from": "given",
        "concurrency": [1, 2],
        "think_time": [0.5, 2],
        "salt": True,
        "strict": False,
        "label": {"gpu": "H100", "note": "a b"},
        "extra_body": {"top_k": 3},
        "fail_on": ["ttft_ms.p99 > 3"],
        "unknown": 3,
        "api_key_env": "SECRET_NAME",
    }
    change(folder, configuration=configuration)
    (command,) = run_commands(read_run(folder))
    words = shlex.split(command)
    assert words[0] == "fluxperf"
    found = parse_run(words[1:])
    assert found is not None
    given = {name: value for name, value in found.items() if value not in (None, [], False)}
    assert given["dataset"] == "my prompts.jsonl"
    assert given["endpoint"] == "http://x/v1"
    assert given["model"] == "m"
    assert given["concurrency"] == ["1", "2"]
    assert given["think_time"] == "0.5-2"
    assert given["salt"] is True
    assert given["label"] == ["gpu=H100", "note=a b"]
    assert json.loads(given["extra_body"]) == {"top_k": 3}
    assert given["fail_on"] == ["ttft_ms.p99 > 3"]
    assert "SECRET_NAME" not in command


def test_without_settings_there_is_no_such_command(results: Results) -> None:
    folder = results()
    change(folder, configuration={"seed": 1})
    assert run_commands(read_run(folder)) == []
    change(folder, recipe={"path": "my recipe.yaml", "text": ""})
    assert run_commands(read_run(folder)) == ["fluxperf --recipe 'my recipe.yaml'"]
    assert page_command([Path("a b")]) == "fluxperf report 'a b'"
