"""How each engine is asked to empty its cache, and what it answers. Empties nothing itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import parse_qs

from fluxperf_mock.messages import Request, Response, answer_json


def _accept(request: Request, slots: int) -> Response | None:
    return None


@dataclass(frozen=True, slots=True)
class Reset:
    """The calls, and the answers: `done` is told how many tokens were emptied, `refused` is given while requests run.

    A path that ends with `{id}` takes any last segment. `find_problem` answers a call that asks for something else
    (its number: how many slots there are).
    """

    path: str
    methods: tuple[str, ...]
    done: Callable[[Request, int], Response]
    refused: Response
    find_problem: Callable[[Request, int], Response | None] = _accept


VLLM = Reset(
    "/reset_prefix_cache",
    ("POST",),
    done=lambda request, tokens: answer_json({"success": True}),
    refused=answer_json({"success": False}),
)

SGLANG = Reset(
    "/flush_cache",
    ("POST", "GET"),
    done=lambda request, tokens: Response(200, b"Cache flushed.\n", "text/plain; charset=utf-8"),
    refused=Response(400, b"Flush cache failed.\n", "text/plain; charset=utf-8"),
)


def _tell_lmcache(request: Request, tokens: int) -> Response:
    """POST is the multi-process server's, DELETE the embedded one's."""
    if request.method == "DELETE":
        return answer_json({"status": "success", "num_removed": tokens})
    return answer_json({"status": "ok"})


LMCACHE = Reset(
    "/cache/clear",
    ("POST", "DELETE"),
    done=_tell_lmcache,
    refused=answer_json({"error": "Failed to clear cache", "message": "requests are running"}, 500),
)


def _llamacpp_error(status: int, kind: str, message: str) -> Response:
    return answer_json({"error": {"code": status, "message": message, "type": kind}}, status)


def _slot_of(request: Request) -> str:
    return request.path.rpartition("/")[2]


def _find_slot_problem(request: Request, slots: int) -> Response | None:
    slot = _slot_of(request)
    if not (slot.isascii() and slot.isdecimal() and len(slot) < 10 and int(slot) < slots):
        return _llamacpp_error(400, "invalid_request_error", "Invalid slot ID")
    action = parse_qs(request.query).get("action", [""])[-1]
    if action in ("save", "restore"):
        return _llamacpp_error(501, "not_supported_error", f"the mock does not {action} slots, it only erases them")
    if action != "erase":
        return _llamacpp_error(400, "invalid_request_error", "Invalid action")
    return None


# The real one keeps an erasure until the slot is idle; a server without --slot-save-path refuses like this.
LLAMACPP = Reset(
    "/slots/{id}",
    ("POST",),
    done=lambda request, tokens: answer_json({"id_slot": int(_slot_of(request)), "n_erased": tokens}),
    refused=_llamacpp_error(501, "not_supported_error", "This server does not support slots action"),
    find_problem=_find_slot_problem,
)
