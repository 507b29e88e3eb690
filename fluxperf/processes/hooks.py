"""`HookRunner`: runs the commands of hooks, each to its end; what they leave in the background, until the close."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from fluxperf.clock import now_ns
from fluxperf.errors import HookFailed, RunFailed
from fluxperf.masking import mask_command, scrub
from fluxperf.plan.campaign import Hook
from fluxperf.processes.environment import child_environment
from fluxperf.processes.kept import Kept, Order
from fluxperf.processes.logs import Log
from fluxperf.units import ns_to_s, s_to_ns

HOOK_STOP_TIMEOUT_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class HookLaunch:
    """With what hooks run: the stage's environment, of which `hidden` and what holds `key` are taken out."""

    environ: Mapping[str, str] = field(repr=False)
    hidden: Collection[str]
    key: str | None = field(repr=False)
    log: Path
    say: Callable[[str], None]
    secrets: Collection[str] = field(default=(), repr=False)


class HookRunner:
    """One for a stage. `close` ends what its hooks have left in the background."""

    def __init__(self, launch: HookLaunch) -> None:
        self.launch = launch
        self._log = Log(launch.log, launch.secrets)
        self._kept: list[Kept] = []

    def run(self, kind: str, hooks: Sequence[Hook], facts: Mapping[str, str]) -> None:
        """Runs the commands of a hook, one after the other; `facts` are variables that tell where the campaign stands.

        `kind` is the name of the hook in a recipe. Raises HookFailed with the first that fails.
        """
        for hook in hooks:
            self._run_one(kind, hook, facts)

    def close(self) -> None:
        """Ends all that still runs."""
        with ExitStack() as stack:
            for kept in self._kept:
                stack.callback(kept.stop)
            for kept in self._kept:
                kept.ask_to_stop()
        self._kept = []

    def _run_one(self, kind: str, hook: Hook, facts: Mapping[str, str]) -> None:
        launch = self.launch
        shown = scrub(mask_command(hook.command), launch.secrets)
        env = child_environment(launch.environ, launch.hidden, launch.key, facts)
        kept = Kept(Order(command=hook.command, env=env, stop_timeout_s=HOOK_STOP_TIMEOUT_S))
        self._kept.append(kept)
        with self._log.open(kind, shown) as file:
            try:
                kept.start(file.fileno())
            except RunFailed as error:
                raise HookFailed(f"hook {kind} cannot be started: {error}; its command is: {shown}") from error
        try:
            how = _await_exit(kept, hook.timeout_s)
        except BaseException:
            kept.stop()
            raise
        if how is not None:
            kept.stop()
            raise HookFailed(f"hook {kind} failed: {how}; its command is: {shown}\n{self._log.quote()}")
        if not kept.left:
            kept.stop()
            self._kept.remove(kept)


def _await_exit(kept: Kept, timeout_s: float) -> str | None:
    """Waits for the command's end; how it failed, in words; None: it did not."""
    deadline_ns = now_ns() + s_to_ns(timeout_s)
    while kept.status is None and not kept.lost:
        rest_s = ns_to_s(deadline_ns - now_ns())
        if rest_s <= 0:
            return f"it did not end within {timeout_s:g} s"
        kept.wait(rest_s)
    if kept.lost:
        return "its watchdog process was killed, and it with that"
    return kept.ended if kept.status != 0 else None
