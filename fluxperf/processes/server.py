"""`ServerUnderTest`: the server that a campaign starts, waits for, looks after and ends. It sends it no work."""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urljoin, urlsplit, urlunsplit

from fluxperf.clock import now_ns
from fluxperf.errors import RunFailed, ServerDied
from fluxperf.fetch import Access, fetch
from fluxperf.masking import mask_command, mask_url, scrub
from fluxperf.plan.campaign import ServerSpec
from fluxperf.processes import keeper
from fluxperf.processes.environment import child_environment
from fluxperf.processes.gpu import GpuMemory
from fluxperf.processes.kept import Kept, Order, describe_status
from fluxperf.processes.logs import Log
from fluxperf.processes.ports import Address, find_listeners, is_going, listens, local_addresses, port_of
from fluxperf.units import ns_to_s, s_to_ns

POLL_S = 0.25
FIRST_POLL_S = 0.02
SAY_EACH_S = 10.0
ASK_TIMEOUT_S = 2.0
SLOW_STOP_S = 0.5
PORT_WAIT_S = 5.0
PORT_POLL_S = 0.1
# Beyond the time that its watchdog gives it.
GOING_WAIT_S = 15.0
_MOST_ANSWER_BYTES = 1 << 20
_MODELS = "/v1/models"


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """With what a server is started. `endpoint` None: where it listens, only its log tells.

    `environ` is the stage's environment; the variables `hidden`, and those that hold `key`, are taken out of it.
    `context` is for asking https:// whether it is ready. `secrets` are masked in what is quoted of the log.
    `ran_before`: a server of ours may have had the port until now, and what it held of GPUs `gpu` knows.
    """

    environ: Mapping[str, str] = field(repr=False)
    hidden: Collection[str]
    key: str | None = field(repr=False)
    log: Path
    endpoint: str | None
    context: ssl.SSLContext | None = None
    say: Callable[[str], None]
    secrets: Collection[str] = field(default=(), repr=False)
    ran_before: bool = False
    gpu: GpuMemory | None = None


class ServerUnderTest:
    """One server, which may be started more than once.

    `adopted`: somebody else's is taken as it is, and never ended. `starts` counts ours. `ready_line` is the line of the
    log that said that it is ready, if such a line was waited for.
    """

    def __init__(self, spec: ServerSpec, launch: Launch) -> None:
        self.spec = spec
        self.launch = launch
        self.adopted = False
        self.starts = 0
        self.ready_line: str | None = None
        self._log = Log(launch.log, launch.secrets)
        self._gpu = launch.gpu or GpuMemory(launch.say)
        self._kept: Kept | None = None
        self._ready = False
        self._in_background = False
        self._begun_ns = 0
        self._death: str | None = None

    @property
    def fd(self) -> int | None:
        """Stirs when the server may have died; None: none of ours runs."""
        return None if self._kept is None else self._kept.fd

    def start(self) -> None:
        """Starts it, and returns when it is ready. Whatever else comes of it, nothing is left running.

        Raises ServerDied, or RunFailed: somebody else has its port, it cannot be started, it is not ready in time.
        """
        self.stop()
        self.adopted = False
        self._gpu.await_free()
        if (taken := self._await_free_port()) is not None:
            self._adopt(taken)
            return
        try:
            self._begin()
            self._await_ready()
            self._look_who_answers()
        except BaseException:
            self.stop()
            raise
        self.launch.say(f"the server is ready after {self._age_s():.1f} s")

    def restart(self) -> None:
        """Ends it, and starts it again; not what was adopted."""
        if not self.adopted:
            self.start()

    def stop(self) -> None:
        """Ends it with all that came from it, and returns when it has ended; not what was adopted."""
        kept = self._kept
        if kept is None:
            return
        try:
            self._gpu.note(self.pids())
            kept.ask_to_stop()
            if not kept.await_end(SLOW_STOP_S):
                self.launch.say(f"ending the server, which has {self.spec.stop_timeout_s:g} s for that")
        finally:
            kept.stop()
        self._kept = None
        if kept.unended:
            numbers = ", ".join(map(str, kept.unended))
            self.launch.say(f"processes of the server do not end, not even by SIGKILL: pid {numbers}")

    def hurry(self) -> None:
        """Takes it the time that it has for its end: told to end, it is killed."""
        if self._kept is not None:
            self._kept.hurry()

    def death(self) -> str | None:
        """How it ended by itself, with the end of its log; None: it lives, or there is none of ours."""
        if self._kept is not None and self._death is None:
            self._kept.poll()
            how = self._how_ended(self._kept)
            if how is not None:
                self._death = f"the server died: {how}, {self._age_s():.1f} s after its start\n{self._log.quote()}"
        return None if self._kept is None else self._death

    def pids(self) -> list[int]:
        """The processes of our server."""
        root = None if self._kept is None else self._kept.keeper_pid
        return [] if root is None else [process.pid for process in keeper.descendants(root) if not process.ended]

    def _begin(self) -> None:
        spec, launch = self.spec, self.launch
        shown = scrub(mask_command(spec.command), launch.secrets)
        env = child_environment(launch.environ, launch.hidden, launch.key, spec.env)
        order = Order(command=spec.command, env=env, cwd=spec.cwd, stop_timeout_s=spec.stop_timeout_s)
        self._ready = self._in_background = False
        self.ready_line = self._death = None
        launch.say(f"starting the server: {shown}")
        with self._log.open(f"start {self.starts + 1}", shown) as file:
            self._kept = Kept(order)
            self._begun_ns = now_ns()
            try:
                self._kept.start(file.fileno())
            except RunFailed as error:
                raise RunFailed(f"cannot start the server: {error}; its command is: {shown}") from error
        self.starts += 1

    def _await_ready(self) -> None:
        deadline_ns = self._begun_ns + s_to_ns(self.spec.ready_timeout_s)
        say_ns = self._begun_ns + s_to_ns(SAY_EACH_S)
        poll_s = FIRST_POLL_S
        while True:
            missing = self._missing()
            # Who answers when ours is dead is somebody else.
            if (death := self.death()) is not None:
                raise ServerDied(death)
            if missing is None:
                self._ready = True
                return
            if now_ns() >= deadline_ns:
                raise RunFailed(self._not_ready(missing))
            if now_ns() >= say_ns:
                say_ns += s_to_ns(SAY_EACH_S)
                last = next(iter(self._log.last_lines(1)), None)
                words = "its log is empty" if last is None else f"its log ends with: {last}"
                self.launch.say(f"waiting for the server ({self._age_s():.0f} s): {missing}; {words}")
            if self._kept is not None:
                self._kept.wait(min(poll_s, ns_to_s(deadline_ns - now_ns())))
            poll_s = min(2 * poll_s, POLL_S)

    def _missing(self) -> str | None:
        """Why the server is not ready, in words; None: it is."""
        wanted = self.spec.ready.log_line
        if wanted is not None and self.ready_line is None and not self.adopted:
            self.ready_line = self._log.find_line(wanted)
            if self.ready_line is None:
                return f"no line of its log has {wanted!r} in it"
        url = self._ready_url()
        if url is None:
            return None
        access = Access({}, self.launch.context if urlsplit(url).scheme == "https" else None)
        answer = fetch(url, access, timeout_s=ASK_TIMEOUT_S, max_bytes=_MOST_ANSWER_BYTES)
        statuses = self.spec.ready.statuses
        if answer.status is not None and (answer.status in statuses if statuses else answer.status < 500):
            return None
        trouble = answer.trouble if answer.status is None else f"answers with status {answer.status}"
        return f"{mask_url(url)} {trouble}"

    def _ready_url(self) -> str | None:
        ready, endpoint = self.spec.ready, self.launch.endpoint
        if ready.url is not None:
            return ready.url if endpoint is None else urljoin(endpoint, ready.url)
        if endpoint is None or ready.log_line is not None:
            return None
        parts = urlsplit(endpoint)
        path = parts.path.rstrip("/").removesuffix("/completions").removesuffix("/chat").removesuffix("/v1")
        return urlunsplit(parts._replace(path=path + _MODELS, query="", fragment=""))

    def _not_ready(self, missing: str) -> str:
        return (
            f"the server was not ready within {self.spec.ready_timeout_s:g} s: {missing}. If it only needs longer, "
            f"raise ready_timeout_s; if another sign shows that it is ready, name that under `ready`\n"
            f"{self._log.quote()}"
        )

    def _how_ended(self, kept: Kept) -> str | None:
        """How our server ended, in words; None: it runs. In the background it may, if its command ended well before."""
        if kept.lost:
            return "its watchdog process was killed, and it with that"
        if kept.status is None:
            return None
        if not self._ready and kept.status == 0 and kept.left:
            self._in_background = True
        if not self._in_background:
            return kept.ended
        if kept.last_status is None:
            return None
        return f"it ran in the background; the last of its processes: {describe_status(kept.last_status)}"

    def _age_s(self) -> float:
        return ns_to_s(now_ns() - self._begun_ns)

    def _addresses(self) -> list[Address]:
        return local_addresses(self.launch.endpoint, self.spec.port)

    def _await_free_port(self) -> Address | None:
        """Where somebody listens; None: nowhere. What our own had is given some time to become free."""
        start_ns = now_ns()
        patience_s = PORT_WAIT_S if self.starts or self.launch.ran_before else 0.0
        addresses = self._addresses()
        while (taken := next(filter(listens, addresses), None)) is not None:
            going = any(is_going(listener.pid) for listener in find_listeners(taken.port))
            if going and patience_s < GOING_WAIT_S:
                patience_s = GOING_WAIT_S + self.spec.stop_timeout_s
                self.launch.say("waiting for the server of a run that was killed to end")
            if now_ns() - start_ns >= s_to_ns(patience_s):
                break
            time.sleep(PORT_POLL_S)
        return taken

    def _adopt(self, taken: Address) -> None:
        """Takes the server that is there as ours, as long as it may be. Raises RunFailed."""
        who = ", ".join(map(str, find_listeners(taken.port)))
        if not self.spec.adopt:
            seen = f"{who} listens" if who else "another user's process, or a container's, listens"
            raise RunFailed(
                f"cannot start the server: port {taken.port} of {taken.name[0]} is taken: {seen} there. End that, "
                f"choose another port, or leave the server out of the recipe to test the one that is there"
            )
        self.adopted = True
        self.launch.say(
            f"a server is at port {taken.port} already{f': {who}' if who else ''}; it is tested as it is, and neither "
            f"ended nor started again"
        )
        deadline_ns = now_ns() + s_to_ns(self.spec.ready_timeout_s)
        while (missing := self._missing()) is not None:
            if now_ns() >= deadline_ns:
                raise RunFailed(
                    f"the server that is there was not ready within {self.spec.ready_timeout_s:g} s: {missing}"
                )
            time.sleep(POLL_S)

    def _look_who_answers(self) -> None:
        """Says so if the port is served by a process that does not come from our command, as far as can be seen."""
        url = self._ready_url() or self.launch.endpoint
        port = self.spec.port if url is None else port_of(url)
        listeners = [] if port is None else find_listeners(port)
        if listeners and not {listener.pid for listener in listeners} & set(self.pids()):
            who = ", ".join(map(str, listeners))
            self.launch.say(f"{who} listens at port {port}, which the server's command has not started itself")
