from __future__ import annotations

from dataclasses import replace

from fluxperf.calibrate.search import conclude
from fluxperf.calibrate.table import WIDTH, render_head, render_steps, render_text
from tests.calibrate.steps import make_step

HEAD = {"protocol": "1.1", "server": "compiled", "cores_apart": True}
SCHEDULE = {"ttft_ms": 50.0, "itl_ms": 10.0, "tokens": 64}


def test_one_line_a_step_in_order_of_load() -> None:
    steps = [make_step(16, ttft_p50=0.012, gap_p50=-0.0001), make_step(64, gap_p99=0.5), make_step(32, gap_p99=-0.05)]
    assert render_steps(steps).splitlines() == [
        "Streams  Tokens/s   TTFT error, ms    Gap error, ms     Client CPU   Server late",
        "                      p50      p99     p50      p99  share us/token      p99, ms",
        "--------------------------------------------------------------------------------",
        "    16      1,600    0.012    0.000   0.000    0.000    25%     15.6       0.060",
        "    32      3,200    0.000    0.000   0.000   -0.050    25%     15.6       0.060",
        "    64*     6,400    0.000    0.000   0.000    0.500    25%     15.6       0.060",
        "* the client could not keep up",
    ]


def test_a_step_in_which_the_server_was_late_is_marked() -> None:
    lines = render_steps([make_step(16, late_ms=5)]).splitlines()
    assert lines[3].startswith("    16! ")
    assert lines[4:] == ["! the test server did not keep its schedule"]


def test_nothing_is_wider_than_a_terminal() -> None:
    huge = make_step(99_999, late_ms=3_456.789, ttft_p50=-12_345, ttft_p99=99_999, gap_p50=None, gap_p99=1e5)
    huge = replace(huge, cpu_s=2.5, cpu_share=0.98)
    text = render_steps([make_step(1), huge])
    assert max(map(len, text.splitlines())) <= WIDTH
    verdict = conclude([make_step(1), huge]).text
    assert max(map(len, render_text(verdict).splitlines())) <= WIDTH


def test_what_was_measured_is_said() -> None:
    assert render_head({**HEAD, "schedule": SCHEDULE}) == (
        "Client with one worker, HTTP/1.1, against the compiled server, on cores of their own; answers of 64 tokens, "
        "TTFT 50 ms, a token each 10 ms."
    )
    other = render_head({"protocol": "2", "server": "mock", "cores_apart": False, "schedule": SCHEDULE})
    assert "HTTP/2, against the mock server (no C compiler was used), on the same core, the only one there is" in other
