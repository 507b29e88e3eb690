"""The API key goes to the server and nowhere else."""

from __future__ import annotations

import json
from pathlib import Path

from tests.end_to_end.command import Ended, Fluxperf
from tests.end_to_end.servers import Exchange, Serve

KEY = "sk-sesame"


def holds(text: str | bytes) -> bool:
    """Whether the key can be told from it, be it only the first half."""
    return b"sk-ses" in (text.encode() if isinstance(text, str) else text)


def assert_is_nowhere(fluxperf: Fluxperf, ended: Ended) -> None:
    assert not holds(ended.out)
    assert not holds(ended.err)
    files = [path for path in fluxperf.place.rglob("*") if path.is_file()]
    assert files
    assert [path for path in files if holds(path.read_bytes())] == []
    assert [path for path in files if holds(str(path))] == []


def test_every_way_to_give_it(fluxperf: Fluxperf, serve: Serve) -> None:
    server = serve(lambda exchange: exchange.stream("a"))
    fluxperf.write_prompts(1)
    both = {"FLUXPERF_API_KEY": "sk-sesame-2", "OPENAI_API_KEY": "sk-sesame-3"}
    ways: list[tuple[str, dict[str, str]]] = [
        ("--api-key sk-sesame-0", both),
        ("--api-key=sk-sesame-1", {}),
        ("", both),
        ("", {"OPENAI_API_KEY": "sk-sesame-3"}),
        ("--api-key-env MY_KEY", {"MY_KEY": " sk-sesame-4\n", **both}),
    ]
    line = f"--endpoint {server.url} --model m --dataset prompts.jsonl --rounds 1"
    started = [
        fluxperf.start(f"{line} --output-dir out-{number} {words}", environment)
        for number, (words, environment) in enumerate(ways)
    ]
    for running in started:
        ended = running.end()
        assert ended.code == 0
        assert_is_nowhere(fluxperf, ended)
    authorizations = sorted(headers["authorization"] for headers in server.headers)
    assert authorizations == [f"Bearer sk-sesame-{number}" for number in range(len(ways))]


def test_the_user_and_password_in_the_url_go_in_its_place(fluxperf: Fluxperf, serve: Serve) -> None:
    server = serve(lambda exchange: exchange.stream("a"))
    fluxperf.write_prompts(2)
    ended = fluxperf.measure(
        server.url.replace("://", "://joe:sesame@"), "--api-key sk-other --rounds 1 --concurrency 1"
    )
    assert ended.code == 0
    assert "are sent in place of the API key" in ended.err
    said = [{name.lower(): text for name, text in headers.items()} for headers in server.headers]
    assert [headers["authorization"] for headers in said] == ["Basic am9lOnNlc2FtZQ=="] * 2


def repeat_the_key(exchange: Exchange) -> None:
    """A different way for each prompt, by the number it begins with."""
    key = exchange.headers["authorization"]
    match exchange.server.prompts[exchange.number].split()[0]:
        case "0":
            exchange.answer(400, json.dumps({"error": {"message": f"{key} is no good"}}))
        case "1":
            error = json.dumps({"error": {"message": f"{key} is no good"}})
            exchange.answer(200, f"data: {error}\n\n", "text/event-stream")
        case "2":
            exchange.answer(400, "x" * 282 + key + "y" * 50)  # a message that is cut in the middle of the key
        case "3":
            exchange.answer(200, f"data: {key} is no JSON\n\n", "text/event-stream")
        case _:
            exchange.stream("your key is ", key, " sk-", "sesame")


def test_a_server_that_repeats_it_cannot_give_it_away(fluxperf: Fluxperf, serve: Serve) -> None:
    server = serve(repeat_the_key)
    fluxperf.write_prompts(6)
    ended = fluxperf.measure(server.url, f"--api-key {KEY} --rounds 1 --save-requests --debug-verbose")
    assert ended.code == 0
    assert fluxperf.round(10, 1)["summary"]["outcomes"]["ok"] == 2
    assert (fluxperf.place / "debug_logs").is_dir()
    assert_is_nowhere(fluxperf, ended)


def test_a_server_that_refuses_it_cannot_give_it_away_nor_one_in_the_url(fluxperf: Fluxperf, serve: Serve) -> None:
    server = serve(lambda exchange: exchange.answer(401, f"{exchange.headers['authorization']} is unknown"))
    fluxperf.write_prompts(2)
    ended = fluxperf.measure(f"{server.url}?api_key=sk-sesame-too", f"--api-key {KEY} --debug")
    assert ended.code == 3
    assert "HTTP 401: Bearer **** is unknown" in ended.err
    assert_is_nowhere(fluxperf, ended)
    assert fluxperf.run_json()["configuration"]["endpoint"] == f"{server.url}?api_key=****"


def test_no_process_shows_it(fluxperf: Fluxperf) -> None:
    fluxperf.write_prompts(2)
    line = f"--mock-server --dataset prompts.jsonl --workers 2 --max-output-tokens 1 --api-key {KEY}"
    running = fluxperf.start_stalling(line, {"OPENAI_API_KEY": KEY, "FLUXPERF_API_KEY": KEY})
    commands = {pid: Path(f"/proc/{pid}/cmdline").read_bytes() for pid in (running.pid, *running.others)}
    (mock,) = [pid for pid, command in commands.items() if b"fluxperf_mock" in command]
    assert len(commands) == 4  # the command, two workers and the mock server
    assert not any(holds(command) for command in commands.values())
    assert not holds(Path(f"/proc/{mock}/environ").read_bytes())
    ended = running.end()
    assert ended.code == 0
    assert_is_nowhere(fluxperf, ended)
