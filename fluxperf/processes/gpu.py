"""`GpuMemory`: whether the memory that a server held on GPUs is free again before the next one starts.

The driver gives it back some time after the processes have ended. Only what nvidia-smi tells is known, and nothing is
said where there is no nvidia-smi.
"""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from fluxperf.clock import now_ns
from fluxperf.units import ns_to_s, s_to_ns

FREE_TIMEOUT_S = 60.0
ASK_TIMEOUT_S = 5.0
_POLL_S = 1.0
_SAY_EACH_S = 10.0
# Others may take a little meanwhile, and the driver rounds.
_SLACK_MIB = 256
_APP_COLUMNS = ("pid", "used_memory", "gpu_uuid")
_GPU_COLUMNS = ("uuid", "memory.used")
_GPU_NAMES = ("GPU-", "MIG-")

Rows = list[list[str]]


@dataclass(frozen=True, slots=True)
class Clock:
    """The time, and how it is waited for."""

    now_ns: Callable[[], int] = now_ns
    sleep_s: Callable[[float], None] = time.sleep


@dataclass(frozen=True, slots=True)
class Held:
    """What a server held when it was told to end: its processes, and for each GPU the MiB that it must be down to."""

    pids: frozenset[str]
    free_at_mib: Mapping[str, int]


class GpuMemory:
    """`note` before a server is ended, `await_free` before the next one starts."""

    def __init__(self, say: Callable[[str], None], clock: Clock | None = None) -> None:
        self._say = say
        self._clock = clock or Clock()
        self._held: Held | None = None
        self._before: dict[str, int] = {}  # MiB in use of each GPU when the server started
        self._doubted = False

    def note(self, pids: Collection[int]) -> None:
        """Notes what these processes hold."""
        self._held = None
        if (apps := self._apps()) is None:
            return
        ours = [row for row in apps if row[0] in set(map(str, pids))]
        used = self._used() if ours or self._before else None
        if used is None:
            return
        if not ours:  # it has died, or is not shown to us, as in a container: what came since its start counts as its
            known = ((gpu, self._before.get(gpu)) for gpu in used)
            free_at = {gpu: mib + _SLACK_MIB for gpu, mib in known if mib is not None and used[gpu] > mib + _SLACK_MIB}
            self._held = Held(frozenset(), free_at) if free_at else None
            return
        held_mib: dict[str, int] = {}
        for _, mib, gpu in ours:
            if mib.isdecimal():  # else it is "[N/A]", as on shared GPUs
                held_mib[gpu] = held_mib.get(gpu, 0) + int(mib)
        free_at = {gpu: used[gpu] - mib + _SLACK_MIB for gpu, mib in held_mib.items() if mib > 0 and gpu in used}
        self._held = Held(frozenset(row[0] for row in ours), free_at)

    def await_free(self) -> None:
        """Waits until it is free again; after 60 s it says so and goes on."""
        held, self._held = self._held, None
        if held is not None:
            self._await(held)
        self._before = self._used() or {}

    def _await(self, held: Held) -> None:
        start_ns = now = self._clock.now_ns()
        say_ns = start_ns
        while (missing := self._missing(held)) is not None:
            now = self._clock.now_ns()
            if now - start_ns >= s_to_ns(FREE_TIMEOUT_S):
                self._say(f"after {FREE_TIMEOUT_S:g} s {missing}; starting the server all the same")
                return
            if now >= say_ns:
                say_ns = now + s_to_ns(_SAY_EACH_S)
                self._say(f"waiting for GPU memory ({ns_to_s(now - start_ns):.0f} s): {missing}")
            self._clock.sleep_s(_POLL_S)

    def _missing(self, held: Held) -> str | None:
        """What is not free yet, in words; None: it is, or cannot be known."""
        apps = self._apps()
        if apps is None:
            return None
        if living := sorted({row[0] for row in apps} & held.pids, key=int):
            return f"the earlier server's memory is still held by pid {', '.join(living)}"
        used = self._used() if held.free_at_mib else None
        for gpu, most_mib in held.free_at_mib.items():
            if used is not None and (more_mib := used.get(gpu, 0) - most_mib) > 0:
                return f"{gpu} has {more_mib} MiB more in use than it had without the earlier server"
        return None

    def _apps(self) -> Rows | None:
        """Process, MiB and GPU of each that holds memory."""
        return self._ask(f"--query-compute-apps={','.join(_APP_COLUMNS)}", len(_APP_COLUMNS))

    def _used(self) -> dict[str, int] | None:
        """MiB in use of each GPU."""
        rows = self._ask(f"--query-gpu={','.join(_GPU_COLUMNS)}", len(_GPU_COLUMNS))
        return None if rows is None else {gpu: int(mib) for gpu, mib in rows if mib.isdecimal()}

    def _ask(self, query: str, columns: int) -> Rows | None:
        """The rows that nvidia-smi gives; None: there is none, or it makes no sense, which is said once."""
        program = shutil.which("nvidia-smi")
        if program is None:
            return None
        trouble = None
        try:
            answer = subprocess.run(  # noqa: S603 - found on PATH, as asked for
                [program, query, "--format=csv,noheader,nounits"],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=ASK_TIMEOUT_S,
                check=False,
            )
        except subprocess.TimeoutExpired:
            trouble = f"does not answer within {ASK_TIMEOUT_S:g} s"
        except OSError as error:
            trouble = f"cannot be run: {error.strerror}"
        else:
            rows = read_rows(answer.stdout.decode("utf-8", "replace"), columns)
            if answer.returncode == 0 and rows is not None:
                return rows
            failed = answer.returncode != 0
            trouble = f"ends with exit status {answer.returncode}" if failed else "gives an answer of another form"
        if not self._doubted:
            self._doubted = True
            self._say(f"nvidia-smi {trouble}: whether GPU memory is free before the next start is not known")
        return None


def read_rows(text: str, columns: int) -> Rows | None:
    """The fields of each line; None unless all are as many, the first a number of a process or the name of a GPU."""
    rows = [[part.strip() for part in line.split(",")] for line in text.splitlines() if line.strip()]
    sane = (
        len(row) == columns and (row[0].isdecimal() if columns == len(_APP_COLUMNS) else row[0].startswith(_GPU_NAMES))
        for row in rows
    )
    return rows if all(sane) else None
