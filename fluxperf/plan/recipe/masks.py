"""The text of a recipe without its secrets, line by line as it was; and the secrets themselves."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import yaml

from fluxperf.masking import (
    MASK,
    looks_secret,
    scrub,
    secrets_in_command,
    secrets_in_env,
    secrets_in_header,
    secrets_in_json,
    secrets_in_url,
)
from fluxperf.plan.campaign import StageSpec
from fluxperf.plan.recipe.document import NULL, TEXT, Document

# Keys whose values are read in a way of their own, whatever is below them.
_REGIONS = {
    "env": "env",
    "header": "header",
    "extra_body": "body",
    "command": "command",
    "startup_command": "line",
    "before_stage": "line",
    "after_stage": "line",
    "before_round": "line",
}
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^\s'\"<>]+")
_REFERENCE = re.compile(r"(\w+ )?\$\{\w+\}")
_COMMENT = re.compile(r"(?<!\S)#.*")
_NAMED = re.compile(r"([\w.-]+)[\"']?\s*[:=]\s*(\S.*)")
_PLACES = frozenset({"api_key_env", "client_key", "tls_key"})  # which say where a secret is


def mask_text(document: Document) -> tuple[str, list[str]]:
    """The document's text with what looks secret in it masked, and what that was."""
    finder = _Finder(document.text)
    finder.visit(document.node, "", "")
    text = document.text
    for start in sorted(finder.edits, reverse=True):
        end, shown = finder.edits[start]
        text = text[:start] + shown + text[end:]
    secrets = list(dict.fromkeys(finder.secrets))
    text = "\n".join(_COMMENT.sub(_mask_comment, line) for line in text.split("\n"))
    return scrub(text, [secret for secret in secrets if "\n" not in secret]), secrets


def secrets_of(stage: StageSpec) -> Iterator[str]:
    """What of a stage, with its variables put in, must not be written anywhere."""
    settings = stage.settings
    if settings.api_key is not None:
        yield settings.api_key
    for name, text in settings.header:
        yield from secrets_in_header(name, text)
    yield from secrets_in_json(settings.extra_body)
    for url in (settings.endpoint, settings.reset_cache_url, settings.prometheus_url):
        yield from secrets_in_url(url or "")
    yield from secrets_in_env(stage.env)
    commands = [
        hook.command for kind in ("before_stage", "after_stage", "before_round") for hook in getattr(stage.hooks, kind)
    ]
    if stage.server is not None:
        yield from secrets_in_env(stage.server.env)
        commands.append(stage.server.command)
    for command in commands:
        yield from secrets_in_command(command)


@dataclass(slots=True)
class _Finder:
    """Walks the nodes of a document. `edits`: from where to where the text changes, and to what."""

    text: str
    edits: dict[int, tuple[int, str]] = field(default_factory=dict)
    secrets: list[str] = field(default_factory=list)
    visited: set[tuple[int, str, str]] = field(default_factory=set)

    def visit(self, node: yaml.Node, key: str, region: str) -> None:
        """Looks at the node, which stands under `key`."""
        if (id(node), key, region) in self.visited:  # by way of an alias
            return
        self.visited.add((id(node), key, region))
        if isinstance(node, yaml.MappingNode):
            for key_node, value in node.value:
                name = key_node.value if isinstance(key_node, yaml.ScalarNode) else ""
                if name == "<<":
                    self.visit(value, key, region)
                else:
                    self.visit(value, name, region if region in ("env", "body") else _REGIONS.get(name, region))
        elif isinstance(node, yaml.SequenceNode):
            if region in ("command", "line") and all(isinstance(entry, yaml.ScalarNode) for entry in node.value):
                words = [entry.value for entry in node.value]
                for entry in node.value:
                    self.hide(entry, secrets_in_command(words))
            for entry in node.value:
                self.visit(entry, "" if region == "body" else key, region)
        elif isinstance(node, yaml.ScalarNode) and node.tag != NULL and (region != "body" or node.tag == TEXT):
            self.hide(node, list(_find_secrets(node.value, key, region)))

    def hide(self, node: yaml.ScalarNode, secrets: Iterable[str]) -> None:
        """Masks these secrets in what is written for the node; where they are written otherwise, all of it."""
        start, end = node.start_mark.index, node.end_mark.index
        found = [secret for secret in secrets if secret in node.value and not _REFERENCE.fullmatch(secret)]
        shown = self.edits[start][1] if start in self.edits else self.text[start:end]
        for secret in sorted(found, key=len, reverse=True):
            if "\n" not in secret and secret in shown:
                shown = shown.replace(secret, MASK)
            elif MASK not in shown:
                shown = re.sub(r"\S[^\n]*", MASK, shown)
        if found:
            self.edits[start] = (end, shown)
            self.secrets += found


def _find_secrets(text: str, key: str, region: str) -> Iterator[str]:
    """What is secret in a text under this key."""
    yield from (secret for url in _URL.findall(text) for secret in secrets_in_url(url))
    if not text or key in _PLACES:
        return
    if region == "env":
        yield from secrets_in_env({key: text})
    elif key == "api_key" or (region == "body" and key != "extra_body" and looks_secret(key)):
        yield text
    elif region == "body":
        yield from secrets_in_json(_parse_json(text))
    elif region == "header":
        name, _, rest = (key, "", text) if key != "header" else text.partition(":")
        yield from secrets_in_header(name.strip(), rest.strip())
    elif region in ("command", "line"):
        yield from secrets_in_command(["sh", "-c", text])
        if region == "command":
            yield from secrets_in_command(_split(text))


def _split(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError:
        return [text]


def _parse_json(text: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _mask_comment(found: re.Match[str]) -> str:
    """A comment may be a line that was taken out of use, key and all."""
    comment = found[0]
    secrets = secrets_in_command(["sh", "-c", comment.lstrip("# ")])
    for name, text in _NAMED.findall(comment):
        if looks_secret(name) and name not in _PLACES:
            secrets.append(text)
    for secret in secrets:
        if not _REFERENCE.fullmatch(secret.strip("\"'")):
            comment = comment.replace(secret, MASK)
    return comment
