from __future__ import annotations

from pathlib import Path

import pytest

from fluxperf.api import APIS
from fluxperf.engine.gauge import Gauge
from fluxperf.engine.lifelog import LifeLog, life_line
from fluxperf.engine.observer import Observer, Transcript
from fluxperf.model import Outcome
from fluxperf.model.timeline import Timeline
from tests.engine.forks import forked

S = 1_000_000_000
MS = 1_000_000

WHOLE = Timeline(
    index=3,
    session_id="alpha",
    worker=1,
    outcome=Outcome.OK,
    status=200,
    sent_ns=5 * S,
    first_byte_ns=5 * S + 19 * MS,
    first_output_ns=5 * S + 20 * MS + 1234,
    last_output_ns=5 * S + 110 * MS,
    end_ns=5 * S + 111 * MS,
    output_events=10,
    connect_ns=MS // 2,
)


def observer_of(timeline: Timeline, transcript: Transcript | None = None) -> Observer:
    return Observer(timeline, APIS["chat"], Gauge(), transcript)


def test_the_line_of_a_request() -> None:
    assert life_line(WHOLE) == (
        "index=3 session=alpha turn=0 worker=1 connect_ms=0.500 sent_s=5.000000 first_byte_ms=19.000 "
        "first_output_ms=20.001 last_output_ms=110.000 end_ms=111.000 events=10 status=200 outcome=ok resent=0\n"
    )


def test_the_line_of_a_request_that_got_nowhere() -> None:
    assert life_line(Timeline(index=0, outcome=Outcome.CONNECT, error='connection\nrefused "')) == (
        "index=0 turn=0 worker=0 connect_ms=0.000 sent_s=- first_byte_ms=- first_output_ms=- last_output_ms=- "
        "end_ms=- events=0 outcome=connect resent=0 error='connection\\nrefused \"'\n"
    )


@pytest.mark.parametrize("session_id", ["a\nb", "a\r\nb", "\u2028", "\x1b[2J"])
def test_a_session_id_does_not_break_the_line(session_id: str) -> None:
    line = life_line(Timeline(index=0, session_id=session_id))
    assert len(line.splitlines()) == 1
    assert line.rstrip("\n").isprintable()


def test_lines_are_appended(tmp_path: Path) -> None:
    path = tmp_path / "round.log"
    path.write_text("before\n")
    for _ in range(2):
        LifeLog(path, payloads=False).write(observer_of(WHOLE), b"{}")
    assert path.read_text() == "before\n" + life_line(WHOLE) * 2
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_a_session_with_every_payload(tmp_path: Path) -> None:
    log = LifeLog(tmp_path / "logs" / "round.log", payloads=True)
    payloads = [(5 * S + 20 * MS, b'{"a": 1}'), (5 * S + 21 * MS, "Größe".encode()), (5 * S + 22 * MS, b"\xff")]
    log.write(observer_of(WHOLE, Transcript(payloads=payloads)), '{"prompt": "Größe"}'.encode())
    assert (tmp_path / "logs" / "round" / "alpha.log").read_text() == life_line(WHOLE) + (
        '  > {"prompt": "Größe"}\n  +20.000 ms {"a": 1}\n  +21.000 ms Größe\n  +22.000 ms \ufffd\n'
    )
    assert (tmp_path / "logs" / "round.log").read_text() == life_line(WHOLE)


@pytest.mark.parametrize(
    ("session_id", "name"),
    [
        (None, "index_3.log"),
        ("", "index_3.log"),
        ("../../etc/passwd", ".._.._etc_passwd.log"),
        ("..", "...log"),
        ("a b\n\0ü", "a_b___.log"),
        ("x" * 300, "x" * 100 + ".log"),
    ],
)
def test_a_session_id_is_made_fit_for_a_file_name(tmp_path: Path, session_id: str | None, name: str) -> None:
    log = LifeLog(tmp_path / "round.log", payloads=True)
    log.write(observer_of(Timeline(index=3, session_id=session_id)), b"{}")
    assert [path.name for path in (tmp_path / "round").iterdir()] == [name]


def test_processes_write_whole_lines_to_one_file(tmp_path: Path) -> None:
    log = LifeLog(tmp_path / "round.log", payloads=False)

    def requests(number: int) -> list[Timeline]:
        return [Timeline(index=index, worker=number, error="x" * 300) for index in range(100)]

    def work(number: int) -> bytes:
        for request in requests(number):
            log.write(observer_of(request), b"{}")
        return b""

    with forked(3, work):
        pass
    lines = (tmp_path / "round.log").read_text().splitlines(keepends=True)
    assert sorted(lines) == sorted(life_line(request) for number in range(3) for request in requests(number))
