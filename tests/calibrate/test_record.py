from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from fluxperf.calibrate.machine import describe_machine
from fluxperf.calibrate.record import (
    SCHEMA,
    Calibrated,
    beyond,
    differences,
    find_calibration,
    load_calibration,
    may_replace,
    save_calibration,
    warn_beyond,
)
from fluxperf.errors import UsageError


def entry(streams: int = 512, **more: Any) -> dict[str, Any]:
    """The part of the file that a run looks at."""
    return {
        "created_at": "2026-01-02T03:04:05Z",
        "schedule": {"ttft_ms": 50.0, "itl_ms": 10.0, "tokens": 64},
        "verdict": {"streams": streams, "tokens_per_s": 100.0 * streams, "ended_by": "client", "text": "t"},
        **more,
    }


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "calibration.json"


def test_what_is_saved_is_loaded(path: Path) -> None:
    save_calibration(path, "1.1", entry())
    calibration = load_calibration(path)
    assert calibration.protocols == {"1.1": Calibrated(512, 51_200, 10, "2026-01-02T03:04:05Z")}
    assert calibration.machine == describe_machine()
    assert json.loads(path.read_text())["schema"] == SCHEMA


def test_each_protocol_keeps_its_newest_calibration(path: Path) -> None:
    for protocol, streams in (("1.1", 512), ("2", 256), ("1.1", 640)):
        save_calibration(path, protocol, entry(streams))
    protocols = load_calibration(path).protocols
    assert {name: calibrated.streams for name, calibrated in protocols.items()} == {"1.1": 640, "2": 256}


def test_what_another_machine_was_good_for_is_not_kept(path: Path) -> None:
    save_calibration(path, "1.1", entry())
    path.write_text(path.read_text().replace('"cores": ', '"cores": 9'))
    save_calibration(path, "2", entry())
    assert list(load_calibration(path).protocols) == ["2"]


def test_a_file_that_is_no_calibration_is_replaced(path: Path) -> None:
    path.write_text("{}")
    save_calibration(path, "2", entry())
    assert list(load_calibration(path).protocols) == ["2"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "null",
        "{}",
        '{"schema": "fluxperf.calibration/9"}',
        f'{{"schema": "{SCHEMA}", "machine": {{}}, "protocols": []}}',
        f'{{"schema": "{SCHEMA}", "machine": {{}}, "protocols": {{"1.1": {{}}}}}}',
        f'{{"schema": "{SCHEMA}", "machine": 3, "protocols": {{}}}}',
        "[" * 100_000,
        "\N{LATIN SMALL LETTER E WITH ACUTE}",
    ],
)
def test_what_cannot_be_read_is_said(path: Path, text: str) -> None:
    path.write_text(text, "latin-1")
    with pytest.raises(UsageError, match=r"calibration.json is no calibration that can be read") as caught:
        load_calibration(path)
    reason = str(caught.value).partition("(")[2]
    known = ("it is not JSON)", "its schema is ", "something is missing in it, or is not what it should be)")
    assert reason.startswith(known)
    assert reason.endswith("): remove it and run fluxperf calibrate again")


@pytest.mark.parametrize(
    ("text", "ours"),
    [
        ("", True),
        (f'{{"schema": "{SCHEMA}"}}', True),
        ('{"schema": "fluxperf.calibration/0", "other": 1}', True),
        ('{"schema": "fluxperf.run/1"}', False),
        ("{}", False),
        ("[]", False),
        ("my notes", False),
        ("[" * 100_000, False),
        ("\N{LATIN SMALL LETTER E WITH ACUTE}", False),
    ],
)
def test_only_a_calibration_may_be_replaced(path: Path, text: str, ours: bool) -> None:
    assert may_replace(path)
    path.write_text(text, "latin-1")
    assert may_replace(path) is ours


def test_a_file_that_is_missing_is_said(path: Path) -> None:
    with pytest.raises(UsageError, match="No such file"):
        load_calibration(path)


def test_what_differs_is_told(path: Path) -> None:
    save_calibration(path, "1.1", entry())
    machine = describe_machine()
    calibration = load_calibration(path)
    assert differences(calibration, machine) == []
    assert differences(calibration, machine | {"cpu": "Z80"}) == [f"cpu: was {machine['cpu']}, is Z80"]


@pytest.mark.parametrize(("streams", "warned"), [(1, False), (512, False), (513, True), (4096, True)])
def test_more_streams_than_were_good_are_beyond(path: Path, streams: int, warned: bool) -> None:
    save_calibration(path, "1.1", entry())
    assert (beyond(load_calibration(path), "1.1", streams) is not None) == warned


def test_the_warning_says_what_to_do(path: Path) -> None:
    save_calibration(path, "1.1", entry())
    assert beyond(load_calibration(path), "1.1", 1024) == (
        "1,024 streams a worker are more than this machine was calibrated for (512, with a token each 10 ms): figures "
        "may be the client's rather than the server's; use more --workers, or a lower --concurrency"
    )


def test_another_protocol_is_another_calibration(path: Path) -> None:
    save_calibration(path, "1.1", entry())
    warning = beyond(load_calibration(path), "2", 1)
    assert warning == "this machine was not calibrated for HTTP/2: fluxperf calibrate --http 2 does it"


def test_the_environment_goes_before_the_folder(path: Path) -> None:
    assert find_calibration(path.parent, {}) is None
    assert find_calibration(path.parent, {"FLUXPERF_CALIBRATION": "elsewhere.json"}) == Path("elsewhere.json")
    path.touch()
    assert find_calibration(path.parent, {}) == path
    assert find_calibration(path.parent, {"FLUXPERF_CALIBRATION": ""}) == path


def test_a_run_is_warned_by_the_file_beside_it(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(path.parent)
    monkeypatch.delenv("FLUXPERF_CALIBRATION", raising=False)
    assert warn_beyond("1.1", 100_000) is None
    save_calibration(path, "1.1", entry())
    assert warn_beyond("1.1", 512) is None
    assert (warn_beyond("1.1", 513) or "").startswith("513 streams a worker are more")


def test_a_calibration_of_another_machine_is_not_gone_by(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_calibration(path, "1.1", entry())
    path.write_text(path.read_text().replace('"cores": ', '"cores": 9'))
    monkeypatch.setenv("FLUXPERF_CALIBRATION", str(path))
    warning = warn_beyond("1.1", 513) or ""
    assert warning.startswith(f"{path} is of another machine or setup (cores: was 9")
    assert warning.endswith("): run fluxperf calibrate again")


def test_a_calibration_that_cannot_be_read_does_not_stop_a_run(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLUXPERF_CALIBRATION", str(path))
    assert "No such file" in (warn_beyond("1.1", 1) or "")
