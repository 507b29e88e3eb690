from __future__ import annotations

import os
import socket

import pytest

from fluxperf.calibrate.machine import Cores, choose_cores, describe_machine, find_cpu, parse_cores, pick_apart


@pytest.mark.parametrize(
    ("text", "cores"),
    [("0", {0}), ("0-2,8", {0, 1, 2, 8}), ("0,4\n", {0, 4}), ("", set()), ("none", set())],
)
def test_lists_of_cores_are_read(text: str, cores: set[int]) -> None:
    assert parse_cores(text) == cores


def siblings(*groups: set[int]) -> dict[int, frozenset[int]]:
    return {core: frozenset(group) for group in groups for core in group}


@pytest.mark.parametrize(
    ("usable", "groups", "cores"),
    [
        ([0, 1], [{0}, {1}], Cores(0, 1)),
        ([0, 1, 2, 3], [{0, 1}, {2, 3}], Cores(0, 3)),
        ([0, 1, 2, 3], [{0, 3}, {1, 2}], Cores(0, 2)),
        ([4, 5], [{4, 5}], Cores(4, 5)),  # nothing better is to be had
        ([7], [{7}], Cores(7, 7)),
        ([2, 5], [], Cores(2, 5)),
    ],
)
def test_client_and_server_share_as_little_as_possible(usable: list[int], groups: list[set[int]], cores: Cores) -> None:
    assert pick_apart(usable, siblings(*groups)) == cores


def test_one_core_is_not_two() -> None:
    assert not Cores(7, 7).apart
    assert Cores(7, 8).apart


def test_the_cores_are_ones_that_may_be_used() -> None:
    assert set(choose_cores()) <= os.sched_getaffinity(0)


@pytest.mark.parametrize(
    ("cpuinfo", "cpu"),
    [
        ("processor\t: 0\nmodel\t\t: 17\nmodel name\t: AMD  EPYC 9R14\n", "AMD EPYC 9R14"),
        ("processor\t: 0\nBogoMIPS\t: 243.75\nCPU implementer\t: 0x41\n", os.uname().machine),
        ("", os.uname().machine),
    ],
)
def test_the_cpu_has_a_name(cpuinfo: str, cpu: str) -> None:
    assert find_cpu(cpuinfo) == cpu


def test_a_machine_is_described_without_its_name() -> None:
    machine = describe_machine()
    assert list(machine) == ["cpu", "cores", "kernel", "python"]
    assert all(machine.values())
    assert socket.gethostname() not in machine["kernel"] or socket.gethostname() in os.uname().release  # type: ignore[operator]
