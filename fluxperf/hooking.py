"""`StageHooks`: the hooks of one stage, run at their times with what they are to know."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from fluxperf.errors import FluxPerfError
from fluxperf.model import RoundName
from fluxperf.plan.campaign import StageSpec
from fluxperf.processes.hooks import HookLaunch, HookRunner
from fluxperf.site import find_key, hidden_variables

HOOK_LOG = "hooks.log"

Say = Callable[[str], None]


class StageHooks:
    """Made before the stage's first hook, within its environment. `secrets` are masked in what is quoted of logs."""

    def __init__(self, spec: StageSpec, output: Path, say: Say, secrets: tuple[str, ...]) -> None:
        self._spec = spec
        self._output = output
        self._say = say
        self._begun = False
        key = find_key(spec.settings)
        self._runner = HookRunner(
            HookLaunch(
                environ=dict(os.environ),
                hidden=hidden_variables(spec.settings),
                key=key,
                log=output / HOOK_LOG,
                say=say,
                secrets=tuple(text for text in (*secrets, key) if text),
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
            if error is None:
                raise
            self._say(str(failure))
        finally:
            self._runner.close()

    def _facts(self, concurrency: str = "", name: str = "") -> dict[str, str]:
        return {
            "FLUXPERF_STAGE": self._spec.name or "",
            "FLUXPERF_ROUND": name,
            "FLUXPERF_CONCURRENCY": concurrency,
            "FLUXPERF_OUTPUT_DIR": str(self._output.absolute()),
        }
