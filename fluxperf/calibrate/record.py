"""`calibration.json`: what calibrations of this machine found, and whether a run goes beyond it.

One file holds one machine, and for each protocol its newest calibration.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fluxperf.calibrate.machine import describe_machine
from fluxperf.errors import UsageError
from fluxperf.files import write_whole

SCHEMA = "fluxperf.calibration/1"
FILE_NAME = "calibration.json"
VARIABLE = "FLUXPERF_CALIBRATION"


@dataclass(frozen=True, slots=True)
class Calibrated:
    """The limit for one protocol: so many streams a worker, with a token each `itl_ms`."""

    streams: int
    tokens_per_s: float
    itl_ms: float
    created_at: str


@dataclass(frozen=True, slots=True)
class Calibration:
    """A file of calibrations. `protocols` has a `Calibrated` for "1.1", "2" or both; `raw` is what the file holds."""

    machine: Mapping[str, Any]
    protocols: Mapping[str, Calibrated]
    raw: Mapping[str, Any] = field(repr=False)


def load_calibration(path: Path) -> Calibration:
    """Reads the file. Raises UsageError if it cannot be read, or is none."""
    try:
        raw = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise _unreadable(path, error.strerror) from error
    except (ValueError, RecursionError) as error:
        raise _unreadable(path, "it is not JSON") from error
    schema = raw.get("schema") if isinstance(raw, dict) else None
    if schema != SCHEMA:
        raise _unreadable(path, f"its schema is {json.dumps(schema)}, not {json.dumps(SCHEMA)}")
    try:
        protocols = {str(name): _read_protocol(entry) for name, entry in raw["protocols"].items()}
        return Calibration(dict(raw["machine"]), protocols, raw)
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
        raise _unreadable(path, "something is missing in it, or is not what it should be") from error


def _unreadable(path: Path, reason: str | None) -> UsageError:
    again = "run fluxperf calibrate again" if not path.exists() else "remove it and run fluxperf calibrate again"
    return UsageError(f"{path} is no calibration that can be read ({reason}): {again}")


def may_replace(path: Path) -> bool:
    """Whether a calibration may be written there: there is no file, an empty one, or a calibration of any version."""
    try:
        text = path.read_text("utf-8")
        raw = json.loads(text) if text else {"schema": SCHEMA}
    except FileNotFoundError:
        return True
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(raw, dict) and str(raw.get("schema")).startswith(SCHEMA.partition("/")[0] + "/")


def _read_protocol(entry: Mapping[str, Any]) -> Calibrated:
    verdict = entry["verdict"]
    return Calibrated(
        streams=int(verdict["streams"]),
        tokens_per_s=float(verdict["tokens_per_s"]),
        itl_ms=float(entry["schedule"]["itl_ms"]),
        created_at=str(entry["created_at"]),
    )


def save_calibration(path: Path, protocol: str, entry: Mapping[str, Any]) -> None:
    """Writes the entry for a protocol; an entry for another one stays, if it is of this machine. Raises RunFailed."""
    machine = describe_machine()
    others: dict[str, Any] = {}
    if path.exists():
        try:
            before = load_calibration(path)
        except UsageError:  # what stood there was no calibration, or one of an older form
            before = None
        if before is not None and before.machine == machine:
            others = dict(before.raw["protocols"])
    content = {"schema": SCHEMA, "machine": machine, "protocols": {**others, protocol: entry}}
    write_whole(path, [json.dumps(content, indent=1, ensure_ascii=False) + "\n"])


def differences(calibration: Calibration, machine: Mapping[str, Any]) -> list[str]:
    """What about `machine` is not as it was when the calibration was made, as "kernel: was A, is B"."""
    names = [*machine, *(name for name in calibration.machine if name not in machine)]
    pairs = [(name, calibration.machine.get(name), machine.get(name)) for name in names]
    return [f"{name}: was {was}, is {now}" for name, was, now in pairs if was != now]


def beyond(calibration: Calibration, protocol: str, streams: int) -> str | None:
    """Why `streams` a worker over `protocol` ("1.1" or "2") are more than was calibrated for; None: they are not."""
    calibrated = calibration.protocols.get(protocol)
    if calibrated is None:
        return f"this machine was not calibrated for HTTP/{protocol}: fluxperf calibrate --http {protocol} does it"
    if streams <= calibrated.streams:
        return None
    return (
        f"{streams:,} streams a worker are more than this machine was calibrated for ({calibrated.streams:,}, with a "
        f"token each {calibrated.itl_ms:g} ms): figures may be the client's rather than the server's; "
        "use more --workers, or a lower --concurrency"
    )


def find_calibration(folder: Path, environment: Mapping[str, str]) -> Path | None:
    """The file that a run is to look at: the one the environment names, else the one in `folder`; None: no file."""
    if named := environment.get(VARIABLE, ""):
        return Path(named)
    path = folder / FILE_NAME
    return path if path.is_file() else None


def warn_beyond(protocol: str, streams: int) -> str | None:
    """What to say before a run with so many streams a worker; None: nothing, or there is no calibration to go by."""
    path = find_calibration(Path.cwd(), os.environ)
    if path is None:
        return None
    try:
        calibration = load_calibration(path)
    except UsageError as error:
        return str(error)
    if changed := differences(calibration, describe_machine()):
        return f"{path} is of another machine or setup ({'; '.join(changed)}): run fluxperf calibrate again"
    return beyond(calibration, protocol, streams)
