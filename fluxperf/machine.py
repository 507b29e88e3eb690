"""The machine that the client runs on, and what a container lets it have of that. Knows nothing of a run.

What cannot be read is None: nothing here fails a run.
"""

from __future__ import annotations

import os
import platform
import re
import shlex
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Any

_ROOT = Path("/")
_CPU_FIELDS = ("model name", "cpu model", "Processor", "Hardware")  # x86, MIPS and the older ARM kernels
_CGROUPS = "sys/fs/cgroup"
# cgroup v1 has no word for "none": it shows the largest multiple of a page.
_NO_LIMIT_BYTES = 1 << 60


def describe_host(root: Path = _ROOT) -> dict[str, Any]:
    """Name, CPU, cores, memory, kernel and operating system, and the limits of the container, None where there is none.

    `root` is where /proc, /sys and /etc are.
    """
    uname = os.uname()
    return {
        "name": uname.nodename,
        "cpu": _find_cpu(_read(root / "proc/cpuinfo")),
        "cores": os.cpu_count(),
        "usable_cores": len(os.sched_getaffinity(0)),
        "memory_bytes": _find_memory(_read(root / "proc/meminfo")),
        "kernel": f"{uname.sysname} {uname.release} {uname.machine}",
        "os": _find_os(_read(root / "etc/os-release")),
        "container": describe_limits(root),
    }


def describe_limits(root: Path = _ROOT) -> dict[str, float | int | None]:
    """What this process's control groups, of either version, let it have: CPU time as cores, and memory in bytes."""
    folders = list(_cgroup_folders(root))
    return {
        "cpu_cores": _least(_find_cores(folder) for folder in folders),
        "memory_bytes": _least(_find_memory_limit(folder) for folder in folders),
    }


def _cgroup_folders(root: Path) -> Iterator[Path]:
    """Where limits may stand: the groups that this process is in and all above them, in either version.

    In a container its own group may be mounted as the topmost one while /proc tells the host's name for it, so folders
    that are not there are passed over.
    """
    for line in _read(root / "proc/self/cgroup").splitlines():
        _, _, rest = line.partition(":")
        controllers, _, place = rest.partition(":")
        # The second version has no controllers here; it may be mounted beside the first.
        names = {controllers, *controllers.split(",")} if controllers else {"", "unified"}
        inner = PurePosixPath("/", *(part for part in PurePosixPath(place).parts if part != ".."))
        for group in (inner, *inner.parents):
            yield from (root / _CGROUPS / name / str(group).lstrip("/") for name in sorted(names))


def _find_cores(folder: Path) -> float | None:
    """The CPU quota of one control group, as cores."""
    quota, _, period = _read(folder / "cpu.max").partition(" ")
    if not quota:
        quota, period = _read(folder / "cpu.cfs_quota_us"), _read(folder / "cpu.cfs_period_us")
    quota_us, period_us = _whole(quota), _whole(period)
    return quota_us / period_us if quota_us and period_us else None


def _find_memory_limit(folder: Path) -> int | None:
    """The memory limit of one control group in bytes."""
    limit = _whole(_read(folder / "memory.max") or _read(folder / "memory.limit_in_bytes"))
    return limit if limit is not None and limit < _NO_LIMIT_BYTES else None


def _least(limits: Iterable[float | int | None]) -> float | int | None:
    return min((limit for limit in limits if limit is not None), default=None)


def _whole(text: str) -> int | None:
    """The number; None for what is none, as `max` and v1's -1."""
    return int(text) if text.strip().isdecimal() else None


def _find_cpu(cpuinfo: str) -> str | None:
    for name in _CPU_FIELDS:
        if found := re.search(rf"^{name}\s*:\s*(.+)$", cpuinfo, re.MULTILINE):
            return " ".join(found[1].split())
    return None


def _find_memory(meminfo: str) -> int | None:
    found = re.search(r"^MemTotal:\s*(\d+) kB", meminfo, re.MULTILINE)
    return int(found[1]) * 1024 if found else None


def _find_os(release: str) -> str | None:
    """The name in the text of os-release(5), as it is to be shown."""
    found = re.search(r"^PRETTY_NAME=(.+)$", release, re.MULTILINE)
    if found is None:
        return platform.system() or None
    with suppress(ValueError):
        return " ".join(shlex.split(found[1]))
    return found[1]


def _read(path: Path) -> str:
    with suppress(OSError):
        return path.read_text("utf-8", errors="replace").strip()
    return ""
