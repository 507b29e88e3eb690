"""`Host`: the server under test as a campaign has it: started, kept or started again as its stages want it.

A stage may have a server of its own, the built-in mock, or neither; then the server is somebody else's, and nothing
here touches it.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from fluxperf.engine.tls import make_context
from fluxperf.errors import RunFailed, ServerDied
from fluxperf.masking import mask_command, mask_env, mask_url, scrub
from fluxperf.plan.campaign import Ready, Restart, ServerSpec, StageSpec
from fluxperf.processes.gpu import GpuMemory
from fluxperf.processes.server import Launch, ServerUnderTest
from fluxperf.site import Shield, find_key, read_trust
from fluxperf_mock.settings import mock_command

SERVER_LOG = "server.log"
MOCK_LOG = "mock.log"
MOCK_READY_TIMEOUT_S = 20.0
MOCK_STOP_TIMEOUT_S = 5.0
_LISTENING = "listening on "

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Ground:
    """Where a stage's server has its log: `kept` is a folder that stays, `passing` one that goes with the run."""

    kept: Path
    passing: Path


class Host:
    """One for a campaign. `life` counts how often a server was started."""

    def __init__(self, say: Say, shield: Shield | None = None) -> None:
        self.life = 0
        self._say = say
        self._shield = shield or Shield()
        self._stage: StageSpec | None = None
        self._begun_in: StageSpec | None = None
        self._server: ServerUnderTest | None = None
        self._launch: Launch | None = None
        self._starts = 0
        self._fresh = False
        self._death: str | None = None
        self._told = False
        self._gpu = GpuMemory(say)

    def enter(self, stage: StageSpec, ground: Ground) -> str:
        """The stage begins, and its environment is set: its server is there when this returns.

        Returns the URL of chat completions. Raises RunFailed if the server cannot be had.
        """
        before, self._stage = self._begun_in, stage
        spec = wanted_server(stage)
        endpoint = stage.settings.endpoint or ""
        if spec is None:
            self.close()
            return endpoint
        if before is not None and self._goes_on(before, stage):
            if before.env != stage.env:
                self._say(f"the server keeps the environment of stage {before.title}: restart is never")
            return self._url()
        self.close()
        self._begun_in = stage
        self._starts = 0
        self._launch = self._plan_launch(stage, spec, ground)
        self._start(spec)
        if stage.mock is not None and stage.settings.endpoint not in (None, self._url()):
            self._say(f"testing the built-in mock server at {self._url()}, not {mask_url(stage.settings.endpoint)}")
        return self._url()

    def renew(self, *, level_begins: bool) -> bool:
        """A round is about to begin: starts the server again if it should be. Returns whether it began anew for this.

        Raises RunFailed if it has died, or does not come back.
        """
        fresh, self._fresh = self._fresh, False
        spec = None if self._stage is None else wanted_server(self._stage)
        if self._server is None or spec is None:
            return False
        if (death := self.why_dead()) is not None:
            raise death
        due = spec.restart == "per_round" or (spec.restart == "per_level" and level_begins)
        if fresh or not due or self._server.adopted:
            return fresh
        self._server.stop()
        self._start(spec)
        self._fresh = False
        return True

    def leave(self) -> None:
        """The stage is over: ends the server, unless it is to be kept for the next one."""
        spec = None if self._stage is None else wanted_server(self._stage)
        if self.is_dead() and not self._told and self._death is not None:
            self._say(self._death)
        if spec is not None and (spec.restart != "never" or self.is_dead()):
            self.close()

    def close(self) -> None:
        """Ends the server."""
        server = self._server
        if server is not None:
            server.stop()
        self._server = self._begun_in = None
        self._death = None
        self._fresh = False

    def is_ours(self) -> bool:
        """Whether there is a server that we have started."""
        return self._server is not None and not self._server.adopted

    def hurry(self) -> None:
        """Ends the server at once, in case we end ourselves."""
        if self._server is not None:
            self._server.hurry()

    def fds(self) -> tuple[int, ...]:
        """What becomes readable when there is news of the server."""
        fd = None if self._server is None else self._server.fd
        return () if fd is None else (fd,)

    def is_dead(self) -> bool:
        """Whether the server has ended by itself."""
        if self._server is not None and self._death is None:
            self._death = self._server.death()
        return self._death is not None

    def why_dead(self) -> ServerDied | None:
        """How it ended, with the end of its log; None: it lives, or it is not ours."""
        if not self.is_dead() or self._death is None:
            return None
        self._told = True
        return ServerDied(self._death)

    def describe(self) -> Mapping[str, Any] | None:
        """What is known of the server of the stage, fit to be shown; None: it is not ours."""
        if self._stage is None or self._server is None or self._launch is None:
            return None
        spec = wanted_server(self._stage)
        if spec is None:
            return None
        shown: dict[str, Any] = {
            "mock": self._stage.mock is not None,
            "command": scrub(mask_command(spec.command), self._shield.secrets),
            "env": mask_env(spec.env, self._shield.secrets) if self._stage.mock is None else {},
            "cwd": spec.cwd,
            "restart": spec.restart,
            "starts": self._starts,
            "adopted": self._server.adopted,
        }
        return shown if self._stage.mock is not None else {**shown, "log": str(self._launch.log)}

    def _goes_on(self, before: StageSpec, stage: StageSpec) -> bool:
        """Whether the server that runs is the one that the stage wants, and may be kept."""
        spec = wanted_server(stage)
        same = wanted_server(before) == spec and before.settings.endpoint == stage.settings.endpoint
        return same and spec is not None and spec.restart == "never" and self._server is not None and not self.is_dead()

    def _plan_launch(self, stage: StageSpec, spec: ServerSpec, ground: Ground) -> Launch:
        settings = stage.settings
        key = find_key(settings)
        for name, text in {**stage.env, **spec.env}.items():
            if text is not None and (text == key or name in self._shield.hidden):
                self._say(f"{name} is not given to the server: it holds the API key, or is where that is looked for")
        log = ground.passing / MOCK_LOG if stage.mock is not None else ground.kept / SERVER_LOG
        return Launch(
            environ=dict(os.environ),
            hidden=self._shield.hidden,
            key=key,
            log=log if spec.log is None else Path(spec.log),
            endpoint=None if stage.mock is not None else settings.endpoint,
            context=make_context(read_trust(settings), "1.1") if _is_https(spec, settings.endpoint) else None,
            say=self._say if stage.mock is None else be_silent,
            secrets=self._shield.secrets,
            ran_before=self.life > 0,
            gpu=self._gpu,
        )

    def _start(self, spec: ServerSpec) -> None:
        assert self._launch is not None  # noqa: S101 - made by enter
        if self._server is None or self._at_any_port(spec):
            self._server = ServerUnderTest(self._fixed(spec), self._launch)
        self._death = None
        self._told = False
        try:
            self._server.start()
        except BaseException:
            self._server = self._begun_in = None  # it has seen to it that nothing is left
            raise
        if not self._server.adopted:
            self.life += 1
            self._starts += 1
            self._fresh = True

    def _at_any_port(self, spec: ServerSpec) -> bool:
        return self._stage is not None and self._stage.mock is not None and "--port=0" in spec.command

    def _fixed(self, spec: ServerSpec) -> ServerSpec:
        """A mock that had any free port has the same one again, since that is where its clients are."""
        if self._server is None or not self._at_any_port(spec):
            return spec
        port = urlsplit(self._url()).port
        return replace(spec, command=tuple(f"--port={port}" if word == "--port=0" else word for word in spec.command))

    def _url(self) -> str:
        assert self._stage is not None  # noqa: S101 - asked between enter and leave
        assert self._server is not None  # noqa: S101
        if self._stage.mock is None:
            return self._stage.settings.endpoint or ""
        line = self._server.ready_line
        if line is None or _LISTENING not in line:
            raise RunFailed("the mock server did not say where it listens; fluxperf mock by itself tells why")
        return line.partition(_LISTENING)[2].strip()


def be_silent(_text: str) -> None:
    """For a mock: it starts in no time."""


def wanted_server(stage: StageSpec) -> ServerSpec | None:
    """What is started for the stage: a mock, if it has one, else its server; None: nothing is."""
    if stage.mock is None:
        return stage.server
    restart: Restart = "per_stage" if stage.server is None else stage.server.restart
    return ServerSpec(
        command=(sys.executable, "-m", "fluxperf_mock", *mock_command(stage.mock)),
        env={"PYTHONPATH": _mock_path()},
        ready=Ready(log_line=_LISTENING),
        ready_timeout_s=MOCK_READY_TIMEOUT_S,
        stop_timeout_s=MOCK_STOP_TIMEOUT_S,
        restart=restart,
    )


def _is_https(spec: ServerSpec, endpoint: str | None) -> bool:
    return urlsplit(spec.ready.url or endpoint or "").scheme == "https"


def _mock_path() -> str:
    """PYTHONPATH with the place of the mock's package in front, which a clone that is not installed needs."""
    found = importlib.util.find_spec("fluxperf_mock")
    if found is None or found.origin is None:
        raise RunFailed("the mock server's package fluxperf_mock is not to be found: install FluxPerf whole")
    here = Path(__file__).resolve().parents[1]
    paths = [str(Path(found.origin).parents[1]), str(here), os.environ.get("PYTHONPATH", "")]
    return os.pathsep.join(path for path in paths if path)
