"""Who listens on a port of this machine, so that nobody else's server is tested in place of ours."""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from fluxperf.processes import keeper

CONNECT_TIMEOUT_S = 1.0
_LOOPBACKS = ("127.0.0.1", "::1")
_LISTEN = "0A"  # the state in /proc/net/tcp (proc(5))


class Address(NamedTuple):
    """An address of this machine as sockets take it, and its port."""

    family: socket.AddressFamily
    name: Any
    port: int


class Listener(NamedTuple):
    """A process that listens."""

    pid: int
    command: str

    def __str__(self) -> str:
        return f"pid {self.pid} ({self.command})"


def port_of(url: str) -> int | None:
    """The port that a URL leads to."""
    parts = urlsplit(url)
    return parts.port or {"http": 80, "https": 443}.get(parts.scheme)


def local_addresses(url: str | None, port: int | None) -> list[Address]:
    """Where a server of this machine would be found: at the addresses of the URL that are ours, and at `port`."""
    wanted = [(urlsplit(url).hostname, port_of(url))] if url is not None else []
    wanted += [(host, port) for host in _LOOPBACKS] if port is not None else []
    found: list[Address] = []
    for host, number in wanted:
        with suppress(OSError, UnicodeError):  # such a name is for the client to complain about
            for family, _, _, _, name in socket.getaddrinfo(host, number, type=socket.SOCK_STREAM):
                address = Address(family, name, int(name[1]))
                if address not in found and _is_ours(address):
                    found.append(address)
    return found


def listens(address: Address) -> bool:
    """Whether somebody takes connections there."""
    with socket.socket(address.family, socket.SOCK_STREAM) as sock:
        sock.settimeout(CONNECT_TIMEOUT_S)
        try:
            sock.connect(address.name)
        except TimeoutError:  # a listener with a full queue; nobody at all would refuse
            return True
        except OSError:
            return False
        # A port of the range for clients can be connected to itself.
        return bool(sock.getsockname() != sock.getpeername())


def find_listeners(port: int) -> list[Listener]:
    """The processes that listen on the port, as far as they may be looked into."""
    inodes = {f"socket:[{inode}]" for table in ("tcp", "tcp6") for inode in _listening_inodes(table, port)}
    found = []
    for place in Path("/proc").glob("[0-9]*") if inodes else ():
        with suppress(OSError):  # it is gone, or somebody else's
            if any(_link(fd) in inodes for fd in (place / "fd").iterdir()):
                command = (place / "comm").read_text(encoding="utf-8", errors="replace").strip()
                found.append(Listener(int(place.name), command))
    return sorted(found)


def is_going(pid: int) -> bool:
    """Whether the process is one that a watchdog of ours is about to end, since the FluxPerf that wanted it is gone."""
    while (process := keeper.read_process(pid)) is not None and process.parent:
        words = _command_line(pid)
        if os.fsencode(keeper.__file__) in words and len(words) > 2:
            owner = keeper.read_process(int(words[-2]))
            return owner is None or owner.started != int(words[-1]) or owner.ended
        pid = process.parent
    return False


def _command_line(pid: int) -> list[bytes]:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().removesuffix(b"\0").split(b"\0")
    except OSError:
        return []


def _listening_inodes(table: str, port: int) -> list[str]:
    try:
        lines = Path(f"/proc/net/{table}").read_text(encoding="ascii", errors="replace").splitlines()[1:]
    except OSError:
        return []
    rows = [line.split() for line in lines]
    return [row[9] for row in rows if row[3] == _LISTEN and int(row[1].rpartition(":")[2], 16) == port]


def _link(path: Path) -> str:
    try:
        return str(path.readlink())
    except OSError:
        return ""


def _is_ours(address: Address) -> bool:
    """Whether it is an address of this machine: others cannot be bound to."""
    with socket.socket(address.family, socket.SOCK_DGRAM) as sock:
        try:
            sock.bind((address.name[0], 0, *address.name[2:]))
        except OSError:
            return False
        return True
