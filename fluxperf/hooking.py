"""`StageHooks`: the hooks of one stage, run at their times with what they are to know."""

from __future__ import annotations

import os
from pathlib import Path
from types import TracebackType

from fluxperf.errors import FluxPerfError, Interrupted
from fluxperf.model import RoundName
from fluxperf.plan.campaign import StageSpec
from fluxperf.processes.hooks import HookLaunch, HookRunner
from fluxperf.site import Shield, find_key
from fluxperf.voice import Voice

HOOK_LOG = "hooks.log"


class StageHooks:
    """Made before the stage's first hook, within its environment."""

    def __init__(self, spec: StageSpec, output: Path, voice: Voice, shield: Shield) -> None:
        self._spec = spec
        self._output = output
        self._voice = voice
        self._begun = False
        key = find_key(spec.settings)
        self._runner = HookRunner(
            HookLaunch(
                environ=dict(os.environ),
                hidden=shield.hidden,
                key=key,
                log=output / HOOK_LOG,
                say=voice.say,
                secrets=tuple(text for text in (*shield.secrets, key) if text),
            )
        )

    def before_stage(self) -> None:
        """Raises HookFailed."""
        self._begun = True
        self._runner.run("before_stage", self._spec.hooks.before_stage, self._facts())

    def before_round(self, concurrency: int, name: RoundName) -> None:
        """Raises HookFailed."""
        self._runner.run("before_round", self._spec.hooks.before_round, self._facts(str(concurrency), str(name)))

    def end(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """The hook after the stage, whatever became of that; then all that hooks have left running is ended.

        Raises HookFailed, unless the stage has failed already: then that is only said.
        """
        try:
            if self._begun:
                self._runner.run("after_stage", self._spec.hooks.after_stage, self._facts())
        except FluxPerfError as failure:
            if error is None or isinstance(failure, Interrupted):
                raise
            self._voice.complain(str(failure))
        finally:
            self._runner.close()

    def _facts(self, concurrency: str = "", name: str = "") -> dict[str, str]:
        return {
            "FLUXPERF_STAGE": self._spec.name or "",
            "FLUXPERF_ROUND": name,
            "FLUXPERF_CONCURRENCY": concurrency,
            "FLUXPERF_OUTPUT_DIR": str(self._output.absolute()),
        }
