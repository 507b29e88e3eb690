"""`Service`: which request is a generation, and which is answered at once. Knows no socket and no clock.

Stamps come in with the requests; answers go out through an `Exchange`, which an HTTP version provides.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from functools import partial

from fluxperf_mock.api import APIS, Api, Identity, Rejection, decode_request
from fluxperf_mock.dialects import DIALECTS
from fluxperf_mock.endpoints import Endpoints, Origin
from fluxperf_mock.engine import Engine
from fluxperf_mock.figures import Board
from fluxperf_mock.generation import Call, Cancel, Exchange, Generation
from fluxperf_mock.messages import Fields, Request, Response
from fluxperf_mock.settings import DEFAULT_MODEL, MockSettings

Later = Callable[[float, Callable[[], None]], Callable[[], None]]
"""Has something done in so many seconds, and gives the way to prevent it."""


class Service:
    """The mock server but for its sockets. `fields` go with every response.

    With replicas, requests are numbered so that no two have the same number.
    """

    def __init__(self, settings: MockSettings, board: Board, origin: Origin, later: Later) -> None:
        self.engine = Engine(settings, board)
        server = DIALECTS[settings.engine].server
        self.fields: Fields = () if server is None else (("server", server),)
        self._endpoints = Endpoints(settings, board, origin)
        self._origin = origin
        self._later = later
        self._model = settings.model or DEFAULT_MODEL
        self._takes_any_model = settings.model is None
        self._numbers = itertools.count(board.own + 1, len(board.replicas))

    def handle(self, request: Request, arrived_ns: int, exchange: Exchange) -> Cancel | None:
        """Answers a request: at once, or later; then what it returns is for when its client goes away before."""
        api = APIS.get(request.path)
        if api is None or request.method != "POST":
            return self._answer(request, exchange)
        try:
            generation = self._generate(api, request.body, arrived_ns, exchange)
        except Rejection as rejection:
            exchange.respond(Response(rejection.status, rejection.body))
            return None
        return partial(self.engine.cancel, generation)

    def _answer(self, request: Request, exchange: Exchange) -> Cancel | None:
        delay_s = self._endpoints.delay_s(request)
        if not delay_s:
            exchange.respond(self._endpoints.answer(request))
            return None
        prevent = self._later(delay_s, lambda: exchange.respond(self._endpoints.answer(request)))
        return lambda at_ns: prevent()

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
        created_s = int(self._origin.unix_s(arrived_ns))
        identity = Identity(next(self._numbers), created_s, request.model or self._model)
        return self.engine.start(Call(api, request, identity, exchange), prompt, limits, arrived_ns)
