from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from fluxperf.machine import describe_host, describe_limits

NO_LIMIT = 9223372036854771712
CPUINFO = "processor\t: 0\nmodel name\t: Some CPU   @ 2.00GHz\n\nprocessor\t: 1\nmodel name\t: Some CPU   @ 2.00GHz\n"


def lay(root: Path, files: Mapping[str, object]) -> Path:
    """A directory with these files in the places of the real ones."""
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n", "utf-8")
    return root


def test_the_machine_that_this_is() -> None:
    host = describe_host()
    assert host["name"] == os.uname().nodename
    assert host["cores"] >= host["usable_cores"] >= 1
    assert host["memory_bytes"] > 1 << 20
    assert host["kernel"].startswith("Linux ")
    assert set(host["container"]) == {"cpu_cores", "memory_bytes"}


def test_a_machine_as_its_files_tell(tmp_path: Path) -> None:
    files = {
        "proc/cpuinfo": CPUINFO,
        "proc/meminfo": "MemTotal:       16384 kB\nMemFree:  1 kB",
        "etc/os-release": 'NAME=X\nPRETTY_NAME="Some Linux 12 (fast)"\n',
    }
    host = describe_host(lay(tmp_path, files))
    assert (host["cpu"], host["memory_bytes"], host["os"]) == ("Some CPU @ 2.00GHz", 1 << 24, "Some Linux 12 (fast)")
    assert host["container"] == {"cpu_cores": None, "memory_bytes": None}


def test_a_machine_that_tells_nothing(tmp_path: Path) -> None:
    host = describe_host(tmp_path)
    assert (host["cpu"], host["memory_bytes"], host["os"]) == (None, None, "Linux")


@pytest.mark.parametrize(
    ("files", "limits"),
    [
        ({}, (None, None)),
        ({"proc/self/cgroup": "garbage"}, (None, None)),
        # The second version; in a container its own group is the topmost.
        (
            {
                "proc/self/cgroup": "0::/",
                "sys/fs/cgroup/cpu.max": "150000 100000",
                "sys/fs/cgroup/memory.max": 1 << 30,
            },
            (1.5, 1 << 30),
        ),
        (
            {
                "proc/self/cgroup": "0::/",
                "sys/fs/cgroup/cpu.max": "max 100000",
                "sys/fs/cgroup/memory.max": "max",
            },
            (None, None),
        ),
        # What is above limits too: a slice of systemd.
        (
            {
                "proc/self/cgroup": "0::/user.slice/fluxperf.scope",
                "sys/fs/cgroup/user.slice/cpu.max": "200000 100000",
                "sys/fs/cgroup/user.slice/fluxperf.scope/cpu.max": "400000 100000",
                "sys/fs/cgroup/user.slice/fluxperf.scope/memory.max": 4096,
                "sys/fs/cgroup/user.slice/memory.max": "max",
            },
            (2.0, 4096),
        ),
        # The first version, under the host's name for the group, with nothing mounted there.
        (
            {
                "proc/self/cgroup": "4:memory:/docker/abc\n3:cpu,cpuacct:/docker/abc\n1:name=systemd:/docker/abc",
                "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": 50_000,
                "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": 100_000,
                "sys/fs/cgroup/memory/memory.limit_in_bytes": 8192,
            },
            (0.5, 8192),
        ),
        (
            {
                "proc/self/cgroup": "4:memory:/a\n1:cpu:/a",
                "sys/fs/cgroup/cpu/a/cpu.cfs_quota_us": -1,
                "sys/fs/cgroup/cpu/a/cpu.cfs_period_us": 100_000,
                "sys/fs/cgroup/memory/a/memory.limit_in_bytes": NO_LIMIT,
            },
            (None, None),
        ),
        # Both at once, and a group that is above the container's.
        (
            {
                "proc/self/cgroup": "4:memory:/\n0::/../other",
                "sys/fs/cgroup/unified/cpu.max": "300000 100000",
                "sys/fs/cgroup/memory/memory.limit_in_bytes": 4096,
            },
            (3.0, 4096),
        ),
    ],
)
def test_what_a_container_may_have(
    tmp_path: Path, files: Mapping[str, object], limits: tuple[float | None, int | None]
) -> None:
    assert describe_limits(lay(tmp_path, files)) == {"cpu_cores": limits[0], "memory_bytes": limits[1]}
