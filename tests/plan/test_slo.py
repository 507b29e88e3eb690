from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluxperf.errors import UsageError
from fluxperf.model import Constraint, Slo
from fluxperf.plan.slo import load_slo

ROOT = Path(__file__).resolve().parents[2]
METRICS = "ttft_ms, itl_ms, latency_ms, ttfo_ms, output_token_throughput, connect_ms, wait_ms"


def load(tmp_path: Path, text: str | bytes) -> Slo:
    path = tmp_path / "slo.yaml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return load_slo(path)


def test_slo_form_is_strictly_below(tmp_path: Path) -> None:
    slo = load(tmp_path, "slo: {ttft_ms: 1000, itl_ms: 50.5}\n")
    assert slo == Slo((Constraint("ttft_ms", below=1000), Constraint("itl_ms", below=50.5)))


def test_constraints_form_is_inclusive(tmp_path: Path) -> None:
    text = "constraints:\n  ttft_ms: {min: 0, max: 200}\n  output_token_throughput: {min: 10}\n"
    expected = (Constraint("ttft_ms", min=0, max=200), Constraint("output_token_throughput", min=10))
    assert load(tmp_path, text) == Slo(expected)


def test_both_forms_and_a_name(tmp_path: Path) -> None:
    text = "\ufeffname: 2024\nconstraints: {ttft_ms: {min: 1}, connect_ms: {max: 0}}\nslo: {ttft_ms: 9}\n"
    assert load(tmp_path, text) == Slo((Constraint("ttft_ms", below=9, min=1), Constraint("connect_ms", max=0)), "2024")


def test_json_is_yaml_and_an_empty_section_is_none(tmp_path: Path) -> None:
    text = '{"name": null, "slo": {"latency_ms": 5}, "constraints": null}'
    assert load(tmp_path, text) == Slo((Constraint("latency_ms", below=5),))


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", ": no constraint in it; give at least one, such as slo: {ttft_ms: 1000}"),
        ("name: x\nslo:\n", ": no constraint in it; give at least one, such as slo: {ttft_ms: 1000}"),
        ("# nothing\n", ": no constraint in it; give at least one, such as slo: {ttft_ms: 1000}"),
        ("hello\n", ":1: must be a mapping with keys such as slo, constraints, name"),
        ("slo: [ttft_ms]\n", f":1: slo: must be a mapping with keys such as {METRICS}"),
        ("\nslos: {}\n", ":2: unknown key 'slos'; did you mean 'slo'?"),
        ("ttft_ms: 1000\n", ":1: 'ttft_ms' belongs under slo or constraints"),
        ("slo:\n  ttft: 5\n", ":2: slo: unknown key 'ttft'; did you mean 'ttft_ms'?"),
        ("slo:\n  TTFT_MS: 5\n", ":2: slo: unknown key 'TTFT_MS'; did you mean 'ttft_ms'?"),
        ("slo: {quux: 5}\n", f":1: slo: unknown key 'quux'; known are {METRICS}"),
        (
            "slo: {chunk_gap_ms: 5}\n",
            f":1: slo: 'chunk_gap_ms' is pooled over all events, and no value of one request; known are {METRICS}",
        ),
        ("slo:\n  itl_ms: 1\n  itl_ms: 2\n", ":3: slo: 'itl_ms' is given twice; keep one of them"),
        ("slo: {itl_ms: 1}\nslo: {itl_ms: 2}\n", ":2: 'slo' is given twice; keep one of them"),
        ("slo: {itl_ms: fast}\n", ":1: slo.itl_ms: must be a number such as 1000, but is 'fast'"),
        ("slo: {itl_ms: '5'}\n", ":1: slo.itl_ms: must be a number such as 1000, but is '5'"),
        ("slo: {itl_ms: yes}\n", ":1: slo.itl_ms: must be a number such as 1000, but is 'yes'"),
        ("slo: {itl_ms: }\n", ":1: slo.itl_ms: must be a number such as 1000, but is ''"),
        ("slo: {itl_ms: [5]}\n", ":1: slo.itl_ms: must be a number such as 1000, but is a list"),
        ("slo: {itl_ms: 0}\n", ":1: slo.itl_ms: must be above 0, since no value is below 0"),
        ("slo: {itl_ms: -5}\n", ":1: slo.itl_ms: must be a finite number of at least 0, but is '-5'"),
        ("slo: {itl_ms: .nan}\n", ":1: slo.itl_ms: must be a finite number of at least 0, but is '.nan'"),
        ("slo: {itl_ms: .inf}\n", ":1: slo.itl_ms: must be a finite number of at least 0, but is '.inf'"),
        ("slo: {itl_ms: !!int x}\n", ":1: slo.itl_ms: must be a finite number of at least 0, but is 'x'"),
        (
            "slo: {itl_ms: {max: 5}}\n",
            ":1: slo.itl_ms: must be a number; {min: ..., max: ...} belongs under constraints",
        ),
        (
            "constraints: {itl_ms: 5}\n",
            ":1: constraints.itl_ms: must be {min: ...}, {max: ...} or both; a plain number belongs under slo",
        ),
        ("constraints: {itl_ms: {}}\n", ":1: constraints.itl_ms: has neither min nor max"),
        ("constraints: {itl_ms: {maxi: 5}}\n", ":1: constraints.itl_ms: unknown key 'maxi'; did you mean 'max'?"),
        (
            "constraints:\n  itl_ms:\n    min: x\n",
            ":3: constraints.itl_ms.min: must be a number such as 1000, but is 'x'",
        ),
        (
            "constraints: {itl_ms: {min: 5, max: 4}}\n",
            ":1: constraints.itl_ms: min 5 is above max 4: nothing can meet that",
        ),
        ("name: [a]\n", ":1: name: must be a text"),
        ("slo: {itl_ms: 5\n", ":2: not YAML: expected ',' or '}', but got '<stream end>'"),
        ("a: 1\n---\nb: 2\n", ":2: not YAML: but found another document"),
        ("slo: \x00", ": not YAML: unacceptable character #x0000: special characters are not allowed"),
        ("[" * 9999, ": not an SLO file: it is nested too deeply"),
        (b"slo: \xff", ": the SLO file is not UTF-8 at byte 6"),
    ],
)
def test_bad_file_is_named_with_line_and_key(tmp_path: Path, text: str | bytes, complaint: str) -> None:
    with pytest.raises(UsageError) as caught:
        load(tmp_path, text)
    assert str(caught.value) == f"{tmp_path / 'slo.yaml'}{complaint}"


def test_giant_number_is_no_number(tmp_path: Path) -> None:
    for giant in ("9" * 400, "9" * 5000):
        with pytest.raises(UsageError, match=r"slo.itl_ms: must be a finite number of at least 0"):
            load(tmp_path, f"slo: {{itl_ms: {giant}}}")


def test_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"missing\.yaml: the SLO file cannot be read: No such file or directory"):
        load_slo(tmp_path / "missing.yaml")
    with pytest.raises(UsageError, match="the SLO file cannot be read: Is a directory"):
        load_slo(tmp_path)


@given(st.text() | st.text(alphabet="slo:{}[]&*!? \n-ttft_ms1,'\"|>#"))
def test_any_text_is_an_slo_or_a_usage_error(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    try:
        assert load(tmp_path_factory.getbasetemp(), text).constraints
    except UsageError as error:
        assert "slo.yaml:" in str(error)  # noqa: PT017


def test_example_file() -> None:
    expected = {"ttft_ms": 1000, "itl_ms": 50, "latency_ms": 10000}
    slo = load_slo(ROOT / "examples" / "slo_example.yaml")
    assert {constraint.metric: constraint.below for constraint in slo.constraints} == expected
