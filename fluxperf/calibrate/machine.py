"""The machine as far as a calibration depends on it, and which of its cores client and server get."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

_CPU_FIELDS = ("model name", "cpu model", "Processor", "Hardware")  # x86, MIPS and the older ARM kernels


class Cores(NamedTuple):
    """The numbers of two cores; the same one twice where there is only one."""

    server: int
    client: int

    @property
    def apart(self) -> bool:
        """Whether neither takes time from the other."""
        return self.server != self.client


def describe_machine() -> dict[str, str | int]:
    """CPU, cores, kernel and Python: what a calibration is not good for once it changes. Holds no name of a host."""
    return {
        "cpu": find_cpu(_read(Path("/proc/cpuinfo"))),
        "cores": os.cpu_count() or 1,
        "kernel": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
    }


def find_cpu(cpuinfo: str) -> str:
    """The model in the text of /proc/cpuinfo; where that has none, the architecture."""
    for name in _CPU_FIELDS:
        if found := re.search(rf"^{name}\s*:\s*(.+)$", cpuinfo, re.MULTILINE):
            return " ".join(found[1].split())
    return platform.machine()


def choose_cores() -> Cores:
    """Two cores that this process may use, no siblings in one physical core where that can be helped."""
    usable = sorted(os.sched_getaffinity(0))
    return pick_apart(usable, {core: _siblings(core) for core in usable})


def pick_apart(usable: Sequence[int], siblings: Mapping[int, frozenset[int]]) -> Cores:
    """The first usable core for the server, and for the client the last one that is no sibling of it."""
    server = usable[0]
    free = [core for core in usable if core not in siblings.get(server, frozenset())]
    return Cores(server, (free or usable)[-1])


def parse_cores(text: str) -> frozenset[int]:
    """The numbers in a list such as `0-2,8`, as the kernel writes it."""
    numbers: set[int] = set()
    for part in text.strip().split(","):
        first, dash, last = part.partition("-")
        if first.isdigit():
            numbers.update(range(int(first), int(last if dash else first) + 1))
    return frozenset(numbers)


def _siblings(core: int) -> frozenset[int]:
    """The core itself and those that share its execution units."""
    return parse_cores(_read(Path(f"/sys/devices/system/cpu/cpu{core}/topology/thread_siblings_list"))) | {core}


def _read(path: Path) -> str:
    with suppress(OSError):
        return path.read_text("utf-8", errors="replace")
    return ""
