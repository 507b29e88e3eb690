"""All endpoints but the two that generate: models, metrics, resets, the truth, and what the engine has besides."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from fluxperf.units import NS_PER_S
from fluxperf_mock import exposition
from fluxperf_mock.api import APIS, render_error, render_models
from fluxperf_mock.counters import Sample
from fluxperf_mock.dialects import DIALECTS, About
from fluxperf_mock.figures import Board, Figures
from fluxperf_mock.messages import Request, Response, answer_json
from fluxperf_mock.settings import DEFAULT_MODEL, MockSettings
from fluxperf_mock.truth import Truth, describe

Act = Callable[[Request], Response]

_BROKEN = Response(500, b"Internal Server Error", "text/plain; charset=utf-8")
_GARBAGE = Response(200, b"<!DOCTYPE html>\n<title>Welcome</title>\n<p>It works!\n", "text/html; charset=utf-8")


@dataclass(frozen=True, slots=True)
class Origin:
    """When the server was started, on the clock of all stamps, and the Unix epoch on that clock."""

    started_ns: int
    epoch_ns: int

    def unix_s(self, stamp_ns: int) -> float:
        """A stamp as Unix time."""
        return (stamp_ns - self.epoch_ns) / NS_PER_S


class Endpoints:
    """Answers requests at once. With replicas, what it tells and resets is that of all."""

    def __init__(self, settings: MockSettings, board: Board, origin: Origin) -> None:
        self._settings = settings
        self._faults = settings.read_faults()
        self._dialect = DIALECTS[settings.engine]
        self._board = board
        self._origin = origin
        self._model = settings.model or DEFAULT_MODEL
        self._routes = self._list_routes()

    def answer(self, request: Request) -> Response:
        """The answer to anything but a generation."""
        path = request.path
        routes = self._routes.get(path) or self._routes.get(path[: path.rfind("/")] + "/{id}") or {}
        methods = ("POST",) if path in APIS else tuple(routes)
        method = "GET" if request.method == "HEAD" else request.method
        if not methods:
            return Response(404, render_error(404, f"there is no {path} on this server"))
        if method not in methods:
            allow = ", ".join(methods)
            return Response(405, render_error(405, f"{path} takes {allow}, not {request.method}"), allow=allow)
        return routes[method](request)

    def delay_s(self, request: Request) -> float:
        """How long the answer is to be kept back."""
        return self._faults["slow-metrics"] if request.path == self._dialect.metrics_path else 0.0

    def _list_routes(self) -> dict[str, dict[str, Act]]:
        """By path and method."""
        dialect = self._dialect
        routes: dict[str, dict[str, Act]] = {
            "/v1/models": {"GET": self._list_models},
            "/health": {"GET": lambda request: Response(200, b"", "text/plain")},
            "/truth": {"GET": self._tell_truth},
            "/truth/reset": {"POST": self._reset_truth},
            "/reset": {"GET": self._reset_truth},
        }
        for path, tell in dialect.info.items():
            routes[path] = {"GET": partial(self._inform, tell)}
        if dialect.metrics_path is not None:
            routes[dialect.metrics_path] = {"GET": self._show_metrics}
        if dialect.reset is not None:
            routes[dialect.reset.path] = dict.fromkeys(dialect.reset.methods, self._reset_cache)
        return routes

    def _list_models(self, request: Request) -> Response:
        return Response(200, render_models(self._model, int(self._origin.unix_s(self._origin.started_ns))))

    def _inform(self, tell: Callable[[About], object], request: Request) -> Response:
        running = sum(figures.load.running for figures in self._board.replicas)
        return answer_json(tell(About(self._model, self._settings.max_num_seqs, running)))

    def _show_metrics(self, request: Request) -> Response:
        if "metrics-500" in self._faults:
            return _BROKEN
        if "metrics-garbage" in self._faults:
            return _GARBAGE
        samples = [self._sample(figures) for figures in self._board.replicas]
        text = exposition.render(self._dialect.metrics, samples, self._model)
        header = self._dialect.start_header
        started = str(int(max(sample.started_s for sample in samples)))
        more = () if header is None else ((header, started),)
        return Response(200, text.encode(), exposition.CONTENT_TYPE, more=more)

    def _sample(self, figures: Figures) -> Sample:
        started_ns = self._origin.started_ns
        if figures.counters.restarted_ns:
            # A whole second later at least, so that it shows where whole seconds are told.
            started_ns = max(figures.counters.restarted_ns, started_ns + NS_PER_S)
        started_s = round(self._origin.unix_s(started_ns), 2)
        return Sample(
            figures.counters, figures.load, self._settings.cache_tokens, started_s, self._settings.block_tokens
        )

    def _reset_cache(self, request: Request) -> Response:
        reset = self._dialect.reset
        assert reset is not None  # noqa: S101 (or there were no route)
        problem = reset.find_problem(request, self._settings.max_num_seqs)
        if problem is not None:
            return problem
        kept_tokens = self._board.kept_tokens()
        if "reset-fails" in self._faults or self._board.busy:
            return reset.refused
        if "reset-lies" not in self._faults:
            self._board.reset_caches()
        return reset.done(request, kept_tokens)

    def _tell_truth(self, request: Request) -> Response:
        how = {"engine": self._settings.engine, "faults": self._faults.describe()}
        return answer_json(how | describe(self._truths()))

    def _reset_truth(self, request: Request) -> Response:
        for truth in self._truths():
            truth.reset()
        return answer_json({})

    def _truths(self) -> list[Truth]:
        return [figures.truth for figures in self._board.replicas]
