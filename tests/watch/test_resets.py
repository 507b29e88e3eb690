from __future__ import annotations

import json
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluxperf.fetch import Access, Answer
from fluxperf.model.cache import CacheReset
from fluxperf.watch import resets
from fluxperf.watch.refusals import HTML, find_refusal
from fluxperf.watch.resets import ATTEMPTS, RETRY_S, reset_cache
from tests.watch.answering import Reply, Script, Server, answering, closed_url

KEY = "sk-1234567890"
MINE = Access({"authorization": f"Bearer {KEY}"})
DONE = Reply(body='{"success": true}')
BUSY = Reply(body='{"success": false}')
FLUSHED = Reply(body="Cache flushed.\nPlease check backend logs for more details.\n", headers={"content-type": "text"})
LLAMACPP = "/slots/{id}?action=erase"


def reset(server: Server, path: str, secrets: Sequence[str] = ()) -> tuple[CacheReset, list[float]]:
    """What came of it, and how long was waited in between."""
    waits_s: list[float] = []
    return reset_cache(server.url + path, MINE, secrets, waits_s.append), waits_s


def said_by(reply: Reply | list[Reply], path: str = "/reset") -> CacheReset:
    with answering({f"POST {path}": reply}) as server:
        return reset(server, path)[0]


# What an answer is worth.


@pytest.mark.parametrize(
    ("path", "reply", "answer"),
    [
        ("/reset_prefix_cache", DONE, '{"success": true}'),
        ("/reset_prefix_cache", Reply(), ""),  # older vLLM
        ("/flush_cache", FLUSHED, "Cache flushed. Please check backend logs for more details."),
        ("/cache/clear", Reply(body='{"status": "ok"}'), '{"status": "ok"}'),
        ("/reset", Reply(204), ""),
    ],
)
def test_a_reset_that_was_accepted(path: str, reply: Reply, answer: str) -> None:
    with answering({f"POST {path}": reply}) as server:
        found, waits_s = reset(server, path)
    url = server.url + path
    assert found == CacheReset(url=url, accepted=True, status=reply.status, answer=answer, attempts=1)
    assert (server.asked, waits_s) == ([f"POST {path}"], [])
    assert server.headers[0]["authorization"] == MINE.headers["authorization"]


def test_success_that_is_false_is_none_whatever_the_status() -> None:
    with answering({"POST /reset": BUSY}) as server:
        found, waits_s = reset(server, "/reset")
    assert (found.accepted, found.status, found.answer) == (False, 200, 'its body says {"success": false}')
    assert (found.attempts, len(server.asked), waits_s) == (ATTEMPTS, ATTEMPTS, [RETRY_S] * (ATTEMPTS - 1))


@pytest.mark.parametrize("busy", [BUSY, Reply(400, "Flush cache failed."), Reply(503, "Loading model"), Reply(429)])
def test_what_is_busy_is_asked_again(busy: Reply) -> None:
    with answering({"POST /flush_cache": [busy, busy, FLUSHED]}) as server:
        found, waits_s = reset(server, "/flush_cache")
    assert (found.accepted, found.attempts, waits_s) == (True, 3, [RETRY_S] * 2)


def test_the_last_refusal_is_told() -> None:
    found = said_by([Reply(400, "first"), Reply(400, "then")])
    assert (found.accepted, found.status, found.answer, found.attempts) == (False, 400, "then", ATTEMPTS)


@pytest.mark.parametrize("status", [401, 403, 404, 501])
def test_what_will_not_change_is_not_asked_again(status: int) -> None:
    found = said_by(Reply(status, '{"detail": "Not Found"}'))
    assert (found.accepted, found.status, found.answer) == (False, status, '{"detail": "Not Found"}')
    assert found.attempts == 1


def test_a_redirect_is_no_reset() -> None:
    found = said_by(Reply(307, headers={"location": "/elsewhere"}))
    assert (found.accepted, found.status) == (False, 307)


@pytest.mark.parametrize(("allow", "method"), [("DELETE", "DELETE"), ("get, delete", "DELETE"), ("PUT,GET", "PUT")])
def test_another_method_is_taken_if_the_server_names_it(allow: str, method: str) -> None:
    script: Script = {"POST /cache/clear": Reply(405, headers={"Allow": allow}), f"{method} /cache/clear": DONE}
    with answering(script) as server:
        found, _ = reset(server, "/cache/clear")
    assert (found.accepted, server.asked) == (True, ["POST /cache/clear", f"{method} /cache/clear"])


@pytest.mark.parametrize("headers", [{}, {"Allow": "GET, HEAD"}, {"Allow": "POST"}])
def test_no_method_is_tried_that_the_server_does_not_name(headers: dict[str, str]) -> None:
    with answering({"POST /reset": Reply(405, headers=headers), "DELETE /reset": DONE}) as server:
        found, _ = reset(server, "/reset")
    assert (found.accepted, found.status, server.asked) == (False, 405, ["POST /reset"])


# No answer.


def test_nobody_there() -> None:
    url = f"{closed_url()}/reset"
    found = reset_cache(url, MINE)
    assert (found.url, found.accepted, found.status, found.attempts) == (url, False, None, 1)
    assert found.answer.startswith("it cannot be read: ")


@pytest.mark.parametrize(
    ("reply", "answer"),
    [
        (Reply(hangs=True), "it gave no whole answer within 0.05 s"),
        (Reply(body="{", breaks_off=True), "it cannot be read"),
    ],
)
def test_no_whole_answer_is_no_reset_and_not_asked_again(
    monkeypatch: pytest.MonkeyPatch, reply: Reply, answer: str
) -> None:
    monkeypatch.setattr(resets, "TIMEOUT_S", 0.05 if reply.hangs else resets.TIMEOUT_S)
    found = said_by(reply)
    assert (found.accepted, found.status, found.attempts) == (False, None, 1)
    assert found.answer.startswith(answer)


# Time, and stops.


class Clock:
    """A clock for resets that only waiting moves; it may ask for a stop once so many waits are over."""

    def __init__(self, stop_after: int = 10**6) -> None:
        self.waits_s: list[float] = []
        self.stop_after = stop_after

    def now_ns(self) -> int:
        return round(sum(self.waits_s) * 1e9)

    def stop_asked(self) -> bool:
        return len(self.waits_s) >= self.stop_after


def test_half_a_minute_is_for_all_attempts_and_slots(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr(resets, "now_ns", clock.now_ns)
    timeouts_s: list[float] = []

    def ask(_: object, url: str, access: Access, *, method: str, timeout_s: float) -> Answer:
        """Each slot takes eight seconds, which is right for one that is asked alone."""
        timeouts_s.append(timeout_s)
        clock.waits_s.append(8)
        body = json.dumps([{"id": slot} for slot in range(9)]) if url.endswith("/slots") else ""
        return Answer(200, 0, 0, body.encode())

    monkeypatch.setattr(resets, "fetch_unless", ask)
    found = reset_cache(f"http://h{LLAMACPP}", MINE, pause=clock.waits_s.append)
    assert timeouts_s == [30, 22, 14, 6]
    assert (found.accepted, found.url) == (False, "http://h/slots/3?action=erase")
    assert found.answer == "it was not asked: 30 s were over"


def test_attempts_end_with_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr(resets, "now_ns", clock.now_ns)
    with answering({"POST /reset": BUSY}) as server:
        found = reset_cache(f"{server.url}/reset", MINE, pause=lambda _: clock.waits_s.append(16))
    assert (found.attempts, found.answer) == (3, "it was not asked: 30 s were over")


def test_a_stop_ends_attempts() -> None:
    clock = Clock(stop_after=1)
    with answering({"POST /reset": BUSY}) as server:
        found = reset_cache(f"{server.url}/reset", MINE, (), clock.waits_s.append, clock.stop_asked)
    assert (found.accepted, len(server.asked)) == (False, 1)


def test_after_a_stop_nothing_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(stop_after=1)

    def ask(*_: object, **__: object) -> Answer:
        """The stop comes with its last byte."""
        clock.waits_s.append(0)
        return Answer(200, 0, 0, BUSY.body.encode())

    monkeypatch.setattr(resets, "fetch_unless", ask)
    found = reset_cache("http://h/reset", MINE, (), clock.waits_s.append, clock.stop_asked)
    assert (found.attempts, found.answer) == (1, 'its body says {"success": false}')
    assert clock.waits_s == [0]


def test_a_stop_breaks_off_what_hangs() -> None:
    with answering({"POST /reset": Reply(hangs=True)}) as server:
        found = reset_cache(f"{server.url}/reset", MINE, stop_asked=lambda: bool(server.asked))
    assert (found.accepted, found.status, found.answer) == (False, None, "it was broken off")


# Slot by slot.


def erased(*slots: int) -> Script:
    return {f"POST /slots/{slot}?action=erase": Reply(body=json.dumps({"id_slot": slot})) for slot in slots}


def test_every_slot_that_is_listed_is_emptied() -> None:
    listed = Reply(body=json.dumps([{"id": 0, "is_processing": False}, {"id": 3}]))
    with answering({"GET /slots": listed, **erased(0, 3)}) as server:
        found, _ = reset(server, LLAMACPP)
    assert found.accepted
    assert server.asked == ["GET /slots", "POST /slots/0?action=erase", "POST /slots/3?action=erase"]


def test_a_server_that_does_not_list_its_slots_says_how_many_there_are() -> None:
    script: Script = {"GET /slots": Reply(501), "GET /props": Reply(body='{"total_slots": 2}'), **erased(0, 1)}
    with answering(script) as server:
        found, _ = reset(server, LLAMACPP)
    assert found.accepted
    assert server.asked[-2:] == ["POST /slots/0?action=erase", "POST /slots/1?action=erase"]


def test_slots_below_a_path() -> None:
    script: Script = {"GET /up/slots": Reply(501), "GET /up/props": Reply(body='{"total_slots": 1}')}
    with answering({**script, "POST /up/slots/0?action=erase": DONE}) as server:
        assert reset(server, f"/up{LLAMACPP}")[0].accepted


def test_one_slot_that_refuses_is_enough() -> None:
    error = Reply(501, '{"error": {"message": "This server does not support slots action"}}')
    listed = Reply(body='[{"id": 0}, {"id": 1}, {"id": 2}]')
    with answering({"GET /slots": listed, **erased(0, 2), "POST /slots/1?action=erase": error}) as server:
        found, _ = reset(server, LLAMACPP)
    assert (found.accepted, found.status, found.url) == (False, 501, f"{server.url}/slots/1?action=erase")
    assert "This server does not support slots action" in found.answer
    assert server.asked[-1] == "POST /slots/1?action=erase"  # and no further one


@pytest.mark.parametrize(
    ("slots", "props", "trouble"),
    [
        (Reply(404), Reply(404), "answered with status 404"),
        (Reply(body="[]"), Reply(404), "has none"),
        (Reply(body='{"slots": 5}'), Reply(body='{"total_slots": "many"}'), "has none"),
        (Reply(body='[{"id": 1e999}]'), Reply(body='{"total_slots": 1e999}'), "has none"),
        (Reply(body="[[]]"), Reply(body='{"total_slots": -1}'), "has none"),
        (Reply(body='["a"]'), Reply(body="null"), "has none"),
        (Reply(501), Reply(body="[" * 100_000), "answered with status 501"),
    ],
)
def test_where_nobody_says_which_slots_there_are(slots: Reply, props: Reply, trouble: str) -> None:
    with answering({"GET /slots": slots, "GET /props": props}) as server:
        found, _ = reset(server, LLAMACPP)
        assert found.answer == f"nobody says which slots there are: {server.url}/slots {trouble}"
    assert (found.accepted, found.status) == (False, slots.status)
    assert not any(call.startswith("POST") for call in server.asked)


@pytest.mark.parametrize(
    "script",
    [
        {"GET /props": Reply(body='{"total_slots": 1000000000000}')},
        {"GET /slots": Reply(body=json.dumps([{"id": slot} for slot in range(3)]))},
    ],
)
def test_a_server_cannot_make_us_ask_without_end(monkeypatch: pytest.MonkeyPatch, script: Script) -> None:
    monkeypatch.setattr(resets, "_MOST_SLOTS", 2)
    with answering({**script, **erased(0, 1, 2)}) as server:
        assert reset(server, LLAMACPP)[0].accepted
    assert [call for call in server.asked if call.startswith("POST")] == list(erased(0, 1))


def test_slots_of_a_server_that_is_loading_are_asked_for_again() -> None:
    listed = [Reply(503), Reply(body='[{"id": 0}]')]
    with answering({"GET /slots": listed, **erased(0)}) as server:
        found, _ = reset(server, LLAMACPP)
    assert (found.accepted, found.attempts) == (True, 2)


# Bodies.


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ({"success": False}, '{"success": false}'),
        ({"Success": "False"}, '{"Success": "False"}'),
        ({"ok": False}, '{"ok": false}'),
        ({"cleared": False, "success": True}, '{"cleared": false}'),
        ({"data": [{"worker": 0, "success": True}, {"worker": 1, "success": False}]}, '{"success": false}'),
        ({"result": {"inner": {"status": "failed"}}}, '{"status": "failed"}'),
        ([True, [{"error": "busy"}]], '{"error": "busy"}'),
        ({"error": {"message": "it runs"}}, '{"error": {"message": "it runs"}}'),
        ({"errors": ["a"], "status": "ok"}, '{"errors": ["a"]}'),
        ({"status": "ERROR"}, '{"status": "ERROR"}'),
        ({"success": "no"}, '{"success": "no"}'),
        ({"success": 0}, '{"success": 0}'),
        ({"success": "0"}, '{"success": "0"}'),
        ({"ok": None}, '{"ok": null}'),
        ({"flushed": False}, '{"flushed": false}'),
        ({"reset": False}, '{"reset": false}'),
        ({"done": False}, '{"done": false}'),
        ({"succeeded": False}, '{"succeeded": false}'),
        (
            {"message": "Failed to flush cache, pending requests"},
            '{"message": "Failed to flush cache, pending requests"}',
        ),
        ({"detail": "Access denied"}, '{"detail": "Access denied"}'),
        ({"status": "not supported"}, '{"status": "not supported"}'),
        ({"failed": True}, '{"failed": true}'),
        (False, "false"),
        ("Error: requests are running", "'Error: requests are running'"),
    ],
)
def test_a_refusal_is_found_at_any_depth(value: object, told: str) -> None:
    assert find_refusal(json.dumps(value)) == told


@pytest.mark.parametrize(
    "value",
    [
        {"success": True},
        {"status": "success", "num_removed": 0},
        {"status": "ok", "error": None, "errors": [], "detail": {"error": ""}},
        {"message": "no error", "failed": 0},
        {"message": "flushed 3 entries, failed: 0", "done": 1},
        {"reset": {"entries": 0}},
        {"detail": "Cache reset without errors"},
        {"id_slot": 0, "n_erased": 5},
        "Cache cleared",
        [],
        None,
        True,
        0,
    ],
)
def test_what_is_no_refusal(value: object) -> None:
    assert find_refusal(json.dumps(value)) is None


@pytest.mark.parametrize(
    ("text", "refused"),
    [
        ("Cache flushed.\n", False),
        ("", False),
        ("   ", False),
        ("No errors", False),
        ("failover is on", False),
        ("Failed to flush: requests are running", True),
        ("ERROR busy", True),
        ("failure", True),
        ("Cache not flushed.", True),
        ("The cache could not be reset", True),
        ("It has not been cleared", True),
        ("It wasn't performed", True),
        ("Requests are pending: unable to flush", True),
        ("unauthorized", True),
        ("{'success': False", False),  # not JSON, and no word of failure
        (
            "Cache flushed.\nPlease check backend logs for more details. (When there are running or waiting requests, "
            "the operation will not be performed.)\n",
            False,
        ),
    ],
)
def test_plain_text_is_searched_for_words_of_failure(text: str, refused: bool) -> None:
    assert (find_refusal(text) is not None) is refused


@pytest.mark.parametrize(
    "text",
    ["<!DOCTYPE html>\n<title>Sign in</title>", "  <HTML lang='en'>", "\ufeff<!-- x --><html>", "<?xml ?><html>"],
)
def test_a_page_to_look_at_is_no_answer(text: str) -> None:
    assert find_refusal(text) == HTML
    assert said_by(Reply(body=text)).answer == "its body is a page of HTML"


def test_a_body_nested_too_deep_says_nothing() -> None:
    assert find_refusal('{"a":' * 900 + "1" + "}" * 900) is None
    assert find_refusal("[" * 100_000) is None


anything = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
)


@given(anything)
def test_a_refusal_however_deep(value: object) -> None:
    assert find_refusal(json.dumps([value, {"a": [value, {"success": False}]}])) is not None


@given(st.text() | anything.map(json.dumps))
def test_a_refusal_is_short_and_on_one_line(text: str) -> None:
    found = find_refusal(text)
    assert found is None or (len(found) <= 202 and found.isprintable())


# What is shown.


def test_no_secret_is_shown() -> None:
    error = Reply(401, json.dumps({"error": f"Incorrect key {KEY} for /reset?token=hidden"}))
    with answering({"POST /reset?token=hidden&a=1": error}) as server:
        url = f"{server.url}/reset?token=hidden&a=1".replace("//", "//me:password@")
        found = reset_cache(url, MINE, [KEY, "hidden", "password"])
    assert found.url == f"{server.url}/reset?token=****&a=1"
    assert found.answer == '{"error": "Incorrect key **** for /reset?token=****"}'


def test_no_secret_is_shown_by_a_refusal_either() -> None:
    with answering({"POST /reset": Reply(body=json.dumps({"success": False, "error": f"key {KEY}"}))}) as server:
        assert KEY not in reset(server, "/reset", [KEY])[0].answer
    with answering({"POST /reset": Reply(body=json.dumps({"error": f"key {KEY}"}))}) as server:
        assert reset(server, "/reset", [KEY])[0].answer == 'its body says {"error": "key ****"}'


def test_an_answer_is_one_short_line() -> None:
    found = said_by(Reply(404, "<html>\n\x1b[31m" + "x" * 10_000))
    assert found.answer == ("<html> [31m" + "x" * 10_000)[:200]
