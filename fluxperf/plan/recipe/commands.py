"""Commands of a recipe: lists of words, texts that are split as a shell would, and lines for a shell."""

from __future__ import annotations

import os
import shlex
import shutil
from collections.abc import Mapping
from pathlib import Path

from fluxperf.plan.campaign import HOOK_TIMEOUT_S, Hook, Hooks
from fluxperf.plan.readers import number_reader
from fluxperf.plan.recipe.document import Listing, Scalar, Value
from fluxperf.plan.recipe.faults import Place
from fluxperf.plan.recipe.values import Reader, Unread, read_flag, resolve_null

HOOKS = ("before_stage", "after_stage", "before_round")
_HOOK = ("command", "shell", "timeout_s")
_read_timeout = number_reader(0, 86_400, above=True)


def read_words(value: Value, reader: Reader) -> tuple[str, ...]:
    """The words of a command that is run without a shell. Raises Unread."""
    if isinstance(value, Listing):
        words = [_read_word(word, reader) for word in value.entries]
    else:
        text = reader.written(value) or ""
        try:
            words = shlex.split(text)
        except ValueError as error:
            reader.refuse(value.place, f"cannot be split into words: {error}")
    if not words or not words[0].strip():
        reader.refuse(value.place, "is an empty command")
    return tuple(words)


def _read_word(value: Value, reader: Reader) -> str:
    word = reader.written(value)
    if word is None:
        reader.refuse(value.place, "is null, which is no word of a command; put it in quotes")
    return word


def read_line(value: Value, reader: Reader, environ: Mapping[str, str]) -> tuple[str, ...]:
    """A line that is given to bash, or where there is none to sh, which puts the variables in. Raises Unread."""
    if not isinstance(value, Scalar):
        reader.refuse(value.place, "must be a text: the line that a shell is given")
    if resolve_null(value) is None or not value.text.strip():
        reader.refuse(value.place, "is an empty command")
    return ("bash" if shutil.which("bash", path=environ.get("PATH")) else "/bin/sh", "-c", value.text)


def find_program_problem(word: str, env: Mapping[str, str], cwd: str | None) -> str | None:
    """Why a command that begins with this word cannot be executed; None: it can."""
    if os.sep not in word:
        found = shutil.which(word, path=env.get("PATH", os.defpath))
        return None if found else f"there is no program {word!r} in PATH"
    path = Path(cwd or ".", word)
    if not path.is_file():
        return f"there is no file {str(path)!r}"
    return None if os.access(path, os.X_OK) else f"{str(path)!r} cannot be executed"


def read_hooks(blocks: tuple[Value | None, ...], reader: Reader, env: Mapping[str, str]) -> Hooks:
    """The hooks of all blocks, those of later ones in the place of earlier ones of the same kind."""
    values: dict[str, Value] = {}
    for block in blocks:
        if block is not None:
            values.update(reader.block(block, HOOKS))
    return Hooks(**{kind: tuple(_read_kind(value, reader, env)) for kind, value in values.items()})


def _read_kind(value: Value, reader: Reader, env: Mapping[str, str]) -> list[Hook]:
    """The commands of one kind of hook."""
    if resolve_null(value) is None:
        return []
    parts = [value]
    if isinstance(value, Listing):
        first = value.entries[0] if value.entries else None
        several = any(not isinstance(part, Scalar) for part in value.entries)
        if first is None or several or (isinstance(first, Scalar) and len(first.text.split()) > 1):
            parts = list(value.entries)
    hooks = []
    for part in parts:
        try:
            hooks.append(_read_hook(part, reader, env))
        except Unread:
            continue
    return hooks


def _read_hook(value: Value, reader: Reader, env: Mapping[str, str]) -> Hook:
    if isinstance(value, Scalar):
        return Hook(read_line(value, reader, env))
    if isinstance(value, Listing):
        return Hook(_checked(value.place, read_words(value, reader), reader, env))
    found = dict(reader.block(value, _HOOK))
    if "command" not in found:
        reader.refuse(value.place, "command is missing: what is to be run?")
    timeout_s = reader.read(found["timeout_s"], _read_timeout) if "timeout_s" in found else None
    shell = reader.read(found["shell"], read_flag) if "shell" in found else False
    if shell:
        command = read_line(found["command"], reader, env)
    else:
        command = _checked(found["command"].place, read_words(found["command"], reader), reader, env)
    return Hook(command, HOOK_TIMEOUT_S if timeout_s is None else timeout_s)


def _checked(place: Place, words: tuple[str, ...], reader: Reader, env: Mapping[str, str]) -> tuple[str, ...]:
    if problem := find_program_problem(words[0], env, None):
        reader.refuse(place, problem)
    return words
