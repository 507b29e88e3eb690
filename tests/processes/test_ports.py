"""Who listens where."""

from __future__ import annotations

import os
import socket

import pytest

from fluxperf.processes.ports import find_listeners, listens, local_addresses, port_of
from tests.processes.lab import free_port


@pytest.mark.parametrize(
    ("url", "port"),
    [("http://h:8000/v1", 8000), ("http://h/v1", 80), ("https://h/v1", 443), ("https://[::1]:1/", 1)],
)
def test_the_port_of_a_url(url: str, port: int) -> None:
    assert port_of(url) == port


def test_a_listener_is_seen_and_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port = sock.getsockname()[1]
        [address] = local_addresses(f"http://127.0.0.1:{port}/v1/chat/completions", None)
        assert listens(address)
        [listener] = find_listeners(port)
        assert listener.pid == os.getpid()
        assert str(listener).startswith(f"pid {os.getpid()} (")
    assert not listens(address)
    assert find_listeners(port) == []


def test_a_listener_with_a_full_queue_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fluxperf.processes.ports.CONNECT_TIMEOUT_S", 0.1)
    with socket.create_server(("127.0.0.1", 0), backlog=0) as sock:
        [address] = local_addresses(None, sock.getsockname()[1])[:1]
        clients = [socket.socket() for _ in range(4)]
        for client in clients:
            client.setblocking(False)
            client.connect_ex(address.name)
        assert listens(address)
        for client in clients:
            client.close()


def test_a_name_is_looked_at_in_all_its_addresses() -> None:
    port = free_port()
    found = {address.name[0] for address in local_addresses(f"http://localhost:{port}/", None)}
    assert "127.0.0.1" in found
    assert found <= {"127.0.0.1", "::1"}


@pytest.mark.parametrize("url", ["http://192.0.2.1:8000/v1", "http://no-such-host.invalid/v1"])
def test_other_machines_are_none_of_our_business(url: str) -> None:
    assert local_addresses(url, None) == []


def test_a_port_of_its_own_is_looked_at_too() -> None:
    assert [address.port for address in local_addresses("http://127.0.0.1:1/", 2)][:2] == [1, 2]
    assert [address.port for address in local_addresses("http://127.0.0.1:1/", 1)].count(1) <= 2
