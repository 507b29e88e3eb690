"""The server under test: the blocks `server` and `vllm`, of which the second is an older way to say the same."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from fluxperf.plan.campaign import Ready, Restart, ServerSpec
from fluxperf.plan.readers import Read, choice_reader, integer_reader, number_reader, read_text, url_reader
from fluxperf.plan.recipe.commands import find_program_problem, read_line, read_words
from fluxperf.plan.recipe.document import Block, Scalar, Value
from fluxperf.plan.recipe.env import read_env
from fluxperf.plan.recipe.values import Reader, Unread, entries, read_flag, resolve_null

_COMMON = ("env", "cwd", "ready", "ready_timeout_s", "stop_timeout_s", "log", "port")
SERVER = ("command", "shell", "restart", *_COMMON)
VLLM = ("auto_restart", "startup_command", *_COMMON)
_READY = ("url", "status", "log_line")
VLLM_PORT = 8000

_read_full_url = url_reader("http://127.0.0.1:8000/health, or /health")


def read_ready_url(raw: Any) -> str:
    """A full URL, or a path on the server of the endpoint. Raises Fault."""
    is_path = isinstance(raw, str) and raw.startswith("/") and not raw.startswith("//") and raw.isprintable()
    url: str = raw if is_path else _read_full_url(raw)
    return url


_READERS: dict[str, Read] = {
    "shell": read_flag,
    "auto_restart": read_flag,
    "cwd": read_text,
    "log": read_text,
    "ready_timeout_s": number_reader(0, 86_400, above=True),
    "stop_timeout_s": number_reader(0, 86_400),
    "restart": choice_reader(*get_args(Restart)),
    "port": integer_reader(1, 65_535),
    "url": read_ready_url,
    "log_line": read_text,
}
_read_status = integer_reader(100, 599)


@dataclass(frozen=True, slots=True)
class ServerBlock:
    """The block that holds for a stage; `kind` is its key, `server` or `vllm`."""

    kind: str
    block: Block


@dataclass(frozen=True, slots=True)
class Scene:
    """What a stage's server is read against. `rehearsed`: a mock takes its place, so it need not be on this machine."""

    reader: Reader
    env: Mapping[str, str | None]
    environ: Mapping[str, str]
    rehearsed: bool = False

    def combine(self, *more: Mapping[str, str | None]) -> dict[str, str]:
        """The environment that a command finds."""
        combined: dict[str, str | None] = dict(self.environ)
        for variables in (self.env, *more):
            combined |= variables
        return {name: text for name, text in combined.items() if text is not None}


def choose_block(top: Block, stage: Block, reader: Reader) -> ServerBlock | None:
    """The block that holds for the stage: its own above that of the recipe, key by key; None: there is none."""
    chosen: ServerBlock | None = None
    for block in (top, stage):
        given = [kind for kind in ("server", "vllm") if kind in block.entries]
        filled = [kind for kind in given if resolve_null(block.entries[kind]) is not None]
        if len(filled) > 1:
            what = "stands beside server, of which it is the old name: leave one out"
            reader.faults.add(block.entries["vllm"].place, what)
        if not filled:
            chosen = None if given else chosen
            continue
        kind = filled[0]
        above = chosen.block if chosen is not None and chosen.kind == kind else None
        value = block.entries[kind]
        own = dict(reader.block(value, SERVER if kind == "server" else VLLM))
        chosen = ServerBlock(kind, Block(value.place, _merge(entries(above), own)))
    return chosen


def _merge(above: Mapping[str, Value], own: Mapping[str, Value]) -> dict[str, Value]:
    """Key by key; variables are merged one by one, too."""
    merged = {**above, **own}
    env, own_env = above.get("env"), own.get("env")
    if isinstance(env, Block) and isinstance(own_env, Block):
        merged["env"] = Block(own_env.place, {**env.entries, **own_env.entries})
    return merged


def read_server(chosen: ServerBlock, scene: Scene) -> ServerSpec | None:
    """The server to start; None: there is none to start, or it has been said what is wrong."""
    values = {key: value for key, value in chosen.block.entries.items() if resolve_null(value) is not None}
    facts = _read_facts(values, _READERS.keys() & values.keys(), scene.reader)
    env = read_env([values.get("env")], scene.reader)
    ready = _read_ready(values.get("ready"), scene.reader)
    if chosen.kind == "vllm":
        facts = {"port": VLLM_PORT, **facts}
        adopt = facts.pop("auto_restart", None) is False
        facts |= {"restart": "never", "adopt": True} if adopt else {}
        ready = ready or Ready(url=f"http://127.0.0.1:{facts['port']}/health", statuses=(200,))
    try:
        command = _read_command(chosen, values, facts, scene)
    except Unread:
        return None
    if command is None:
        return None
    if not scene.rehearsed:
        _check_machine(command, values, facts, scene.combine(env), scene.reader)
    facts.pop("shell", None)
    return ServerSpec(command=command, env=env, ready=ready or Ready(), **facts)


def _read_facts(values: Mapping[str, Value], keys: Iterable[str], reader: Reader) -> dict[str, Any]:
    """What `_READERS` make of these keys, without those that are faulty."""
    facts = {key: _attempt(values[key], _READERS[key], reader) for key in keys}
    return {key: fact for key, fact in facts.items() if fact is not None}


def find_port(chosen: ServerBlock, reader: Reader) -> int:
    """The port of a `vllm` block."""
    value = resolve_null(chosen.block.entries.get("port"))
    port = None if value is None else _attempt(value, _READERS["port"], reader)
    return VLLM_PORT if port is None else int(port)


def _attempt(value: Value, read: Read, reader: Reader) -> Any:
    try:
        return reader.read(value, read)
    except Unread:
        return None


def _read_command(
    chosen: ServerBlock, values: Mapping[str, Value], facts: Mapping[str, Any], scene: Scene
) -> tuple[str, ...] | None:
    """The command's words; None where there is no server to start. Raises Unread."""
    reader = scene.reader
    if chosen.kind == "vllm":
        if "startup_command" in values:
            return read_line(values["startup_command"], reader, scene.environ)
        if facts.get("adopt") or "auto_restart" not in values:
            return None
        reader.refuse(values["auto_restart"].place, "needs startup_command: the line that starts the server")
    if "command" not in values:
        if scene.rehearsed:
            return ()
        reader.refuse(chosen.block.place, "command is missing: what starts the server?")
    if facts.get("shell"):
        return read_line(values["command"], reader, scene.environ)
    return read_words(values["command"], reader)


def _check_machine(
    words: tuple[str, ...],
    values: Mapping[str, Value],
    facts: Mapping[str, Any],
    env: Mapping[str, str],
    reader: Reader,
) -> None:
    """What the server needs of this machine is there."""
    cwd = facts.get("cwd")
    lost = cwd is not None and not Path(cwd).is_dir()
    if lost:
        reader.faults.add(values["cwd"].place, f"there is no directory {cwd!r}")
    if "command" in values and not facts.get("shell") and not (lost and os.sep in words[0]):
        problem = find_program_problem(words[0], env, cwd)
        if problem is not None:
            reader.faults.add(values["command"].place, problem)


def _read_ready(value: Value | None, reader: Reader) -> Ready | None:
    """When the server is ready, as far as the recipe says so; a text is a URL."""
    if value is None:
        return None
    if isinstance(value, Scalar):
        url = _attempt(value, _READERS["url"], reader)
        return Ready(url=url, statuses=(200,)) if url is not None else None
    given = {key: entry for key, entry in reader.block(value, _READY) if resolve_null(entry) is not None}
    facts = _read_facts(given, given.keys() & {"url", "log_line"}, reader)
    statuses: tuple[int, ...] = (200,) if "url" in facts else ()
    if "status" in given:
        statuses = _attempt(given["status"], _read_statuses, reader) or ()
    return Ready(statuses=statuses, **facts)


def _read_statuses(raw: Any) -> tuple[int, ...]:
    return tuple(_read_status(status) for status in (raw if isinstance(raw, list) else [raw]))
