"""The memory of GPUs between two servers, as a stand-in for nvidia-smi tells of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluxperf.processes import gpu
from fluxperf.processes.gpu import Clock, GpuMemory

APPS = "41, 8000, GPU-a\n42, 8000, GPU-b\n99, 500, GPU-a\n"
USED = "GPU-a, 8700\nGPU-b, 8100\n"


@dataclass
class Machine:
    """nvidia-smi that prints two files, and a clock that only sleeping moves on."""

    place: Path
    now_ns: int = 0
    said: list[str] = field(default_factory=list)
    later: dict[int, Callable[[], None]] = field(default_factory=dict)

    def prints(self, apps: str, used: str) -> None:
        (self.place / "apps").write_text(apps)
        (self.place / "used").write_text(used)

    def install(self, script: str) -> None:
        path = self.place / "nvidia-smi"
        path.write_text(f"#!/bin/sh\ncd {self.place}\n{script}\n")
        path.chmod(0o755)

    def sleep_s(self, seconds: float) -> None:
        self.now_ns += round(seconds * 1e9)
        change = self.later.pop(self.now_ns // 10**9, None)
        if change is not None:
            change()

    def memory(self) -> GpuMemory:
        return GpuMemory(self.said.append, Clock(lambda: self.now_ns, self.sleep_s))


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    machine = Machine(tmp_path)
    machine.install('case "$1" in *compute*) exec /bin/cat apps;; *) exec /bin/cat used;; esac')
    monkeypatch.setenv("PATH", str(tmp_path))
    return machine


def test_it_waits_for_the_processes_and_then_for_the_memory(machine: Machine) -> None:
    machine.prints(APPS, USED)
    memory = machine.memory()
    memory.note([40, 41, 42])
    machine.later = {
        3: lambda: machine.prints("99, 500, GPU-a\n", USED),
        15: lambda: machine.prints("99, 500, GPU-a\n", "GPU-a, 900\nGPU-b, 120\n"),
    }
    memory.await_free()
    assert machine.now_ns == 15 * 10**9
    first, second = machine.said
    assert first == "waiting for GPU memory (0 s): the earlier server's memory is still held by pid 41, 42"
    assert second.startswith("waiting for GPU memory (10 s): GPU-a has 7744 MiB more in use")


def test_where_processes_are_not_shown_what_came_since_the_start_is_waited_for(machine: Machine) -> None:
    """As in a container, or when the server has died."""
    machine.prints("", "GPU-a, 500\nGPU-b, 100\n")
    memory = machine.memory()
    memory.await_free()
    machine.prints("", "GPU-a, 8500\nGPU-b, 300\n")
    memory.note([41])
    machine.later = {4: lambda: machine.prints("", "GPU-a, 600\nGPU-b, 300\n")}
    memory.await_free()
    assert machine.now_ns == 4 * 10**9
    assert machine.said == [
        "waiting for GPU memory (0 s): GPU-a has 7744 MiB more in use than it had without the earlier server"
    ]


def test_after_a_minute_it_goes_on(machine: Machine) -> None:
    machine.prints(APPS, USED)
    memory = machine.memory()
    memory.note([41])
    memory.await_free()
    assert machine.now_ns == 60 * 10**9
    assert machine.said[-1].startswith("after 60 s the earlier server's memory is still held by pid 41; starting")


def test_it_waits_once(machine: Machine) -> None:
    machine.prints(APPS, USED)
    memory = machine.memory()
    memory.note([41])
    memory.await_free()
    ended_ns = machine.now_ns
    memory.await_free()
    assert machine.now_ns == ended_ns


@pytest.mark.parametrize("pids", [[], [40], [4, 2]])
def test_nothing_is_waited_for_where_none_of_ours_holds_any(machine: Machine, pids: list[int]) -> None:
    machine.prints(APPS, USED)
    memory = machine.memory()
    memory.note(pids)
    memory.await_free()
    assert (machine.now_ns, machine.said) == (0, [])


def test_where_the_amount_is_not_known_only_the_processes_are_waited_for(machine: Machine) -> None:
    machine.prints("41, [N/A], GPU-a\n", USED)
    memory = machine.memory()
    memory.note([41])
    machine.later = {2: lambda: machine.prints("", USED)}
    memory.await_free()
    assert machine.now_ns == 2 * 10**9


def test_without_nvidia_smi_nothing_happens(machine: Machine) -> None:
    (machine.place / "nvidia-smi").unlink()
    memory = machine.memory()
    memory.note([41])
    memory.await_free()
    assert (machine.now_ns, machine.said) == (0, [])


@pytest.mark.parametrize(
    ("script", "trouble"),
    [
        ("echo NVIDIA-SMI has failed; exit 9", "ends with exit status 9"),
        ("echo No running processes found", "gives an answer of another form"),
        ("kill -9 $$", "ends with exit status -9"),
        ("while :; do :; done", "does not answer within 0.2 s"),
    ],
)
def test_trouble_with_it_is_said_once(
    machine: Machine, script: str, trouble: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpu, "ASK_TIMEOUT_S", 0.2)
    machine.install(script)
    memory = machine.memory()
    for _ in range(2):
        memory.note([41])
        memory.await_free()
    assert machine.now_ns == 0
    assert machine.said == [f"nvidia-smi {trouble}: whether GPU memory is free before the next start is not known"]


def test_trouble_while_waiting_ends_the_wait(machine: Machine) -> None:
    machine.prints(APPS, USED)
    memory = machine.memory()
    memory.note([41])
    machine.later = {5: lambda: machine.install("exit 1")}
    memory.await_free()
    assert machine.now_ns == 5 * 10**9
    assert "exit status 1" in machine.said[-1]


@given(text=st.text(alphabet="0123456789, GPU-\nN/A[]x", max_size=60))
def test_any_answer_is_survived(text: str) -> None:
    rows = gpu.read_rows(text, 3)
    assert rows is None or all(len(row) == 3 and row[0].isdecimal() for row in rows)
