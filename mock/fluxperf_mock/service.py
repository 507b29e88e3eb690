"""The endpoints: which request gets which answer. Knows no socket and no clock.

Stamps come in with the requests; answers go out through an `Exchange`, which an HTTP version provides.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

import msgspec

import fluxperf
from fluxperf.units import NS_PER_S
from fluxperf_mock import exposition
from fluxperf_mock.api import APIS, Api, Identity, Rejection, decode_request, render_error, render_models
from fluxperf_mock.engine import Engine
from fluxperf_mock.figures import Board
from fluxperf_mock.generation import Call, Exchange, Generation
from fluxperf_mock.messages import Request, Response
from fluxperf_mock.settings import DEFAULT_MODEL, MockSettings
from fluxperf_mock.truth import Truth, describe


class Service:
    """The mock server but for its sockets. `epoch_ns` is the Unix epoch on the clock of all stamps.

    With replicas, what it tells and resets is that of all; requests are numbered so that no two have the same number.
    """

    def __init__(self, settings: MockSettings, board: Board, started_ns: int, epoch_ns: int) -> None:
        self.engine = Engine(settings, board)
        self._board = board
        self._cache_tokens = settings.cache_tokens
        self._model = settings.model or DEFAULT_MODEL
        self._takes_any_model = settings.model is None
        self._epoch_ns = epoch_ns
        self._started_s = self._to_unix_s(started_ns)
        self._numbers = itertools.count(board.own + 1, len(board.replicas))
        self._routes: dict[str, dict[str, Callable[[], Response]]] = {
            "/v1/models": {"GET": self._list_models},
            "/health": {"GET": lambda: Response(200, b"", "text/plain")},
            "/version": {"GET": lambda: _json({"version": fluxperf.__version__})},
            "/metrics": {"GET": self._show_metrics},
            "/reset_prefix_cache": {"POST": lambda: _json({"success": board.reset_caches()})},
            "/truth": {"GET": lambda: _json(describe(self._truths()))},
            "/truth/reset": {"POST": self._reset_truth},
            "/reset": {"GET": self._reset_truth},
        }

    def handle(self, request: Request, arrived_ns: int, exchange: Exchange) -> Generation | None:
        """Answers a request: at once, or, for what it returns, as the engine is stepped."""
        api = APIS.get(request.path)
        if api is None or request.method != "POST":
            exchange.respond(self._answer(request))
            return None
        try:
            return self._generate(api, request.body, arrived_ns, exchange)
        except Rejection as rejection:
            exchange.respond(Response(rejection.status, rejection.body))
            return None

    def _generate(self, api: Api, body: bytes, arrived_ns: int, exchange: Exchange) -> Generation:
        """Starts a generation; raises Rejection."""
        request = decode_request(api, body)
        if request.model and request.model != self._model and not self._takes_any_model:
            message = f"the model `{request.model}` does not exist, this server has `{self._model}`"
            raise Rejection(404, message, "model")
        prompt = request.prompt_text()
        if not prompt:
            raise Rejection(400, "the prompt is empty", "prompt")
        limits = request.limits()
        identity = Identity(next(self._numbers), self._to_unix_s(arrived_ns), request.model or self._model)
        return self.engine.start(Call(api, request, identity, exchange), prompt, limits, arrived_ns)

    def _answer(self, request: Request) -> Response:
        """The answer to anything but a generation."""
        path = request.path
        methods = ("POST",) if path in APIS else tuple(self._routes.get(path, ()))
        method = "GET" if request.method == "HEAD" else request.method
        if not methods:
            return Response(404, render_error(404, f"there is no {path} on this server"))
        if method not in methods:
            allow = ", ".join(methods)
            return Response(405, render_error(405, f"{path} takes {allow}, not {request.method}"), allow=allow)
        return self._routes[path][method]()

    def _truths(self) -> list[Truth]:
        return [figures.truth for figures in self._board.replicas]

    def _to_unix_s(self, stamp_ns: int) -> int:
        return (stamp_ns - self._epoch_ns) // NS_PER_S

    def _list_models(self) -> Response:
        return Response(200, render_models(self._model, self._started_s))

    def _show_metrics(self) -> Response:
        samples = [figures.sample(self._cache_tokens) for figures in self._board.replicas]
        text = exposition.render(samples, self._model)
        return Response(200, text.encode(), exposition.CONTENT_TYPE)

    def _reset_truth(self) -> Response:
        for truth in self._truths():
            truth.reset()
        return _json({})


def _json(value: object) -> Response:
    return Response(200, msgspec.json.encode(value))
