"""Where a result comes from: what was asked for, of whom, and where the client ran. Secrets are masked here."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import msgspec

from fluxperf import __version__
from fluxperf.definitions import DEFINITIONS
from fluxperf.fetch import fetch
from fluxperf.machine import describe_host
from fluxperf.masking import mask_env, mask_fields, mask_json, mask_url, scrub, scrub_all
from fluxperf.plan.campaign import RecipeText, StageSpec
from fluxperf.plan.workload import Dataset
from fluxperf.revision import describe_revision
from fluxperf.site import Site

LIBRARIES = (
    *("trio", "httpx", "httptools", "h2", "msgspec", "hdrhistogram", "msgpack", "numpy", "scipy"),
    *("prometheus-client", "PyYAML"),
)
ASK_TIMEOUT_S = 5.0
MOST_BYTES = 16_384


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """What all stages of a run have in common: where it runs, when it began, its recipe, and a digest of what was
    asked for.
    """

    started_at: str
    resumed_at: tuple[str, ...] = ()
    environment: Mapping[str, Any] = field(default_factory=dict)
    recipe: RecipeText | None = None
    asked_sha256: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a stage was asked for, and what was found for it. `server` tells what we know of a server of our own.

    `answers` is what the server says of itself.
    """

    spec: StageSpec
    site: Site
    dataset: Dataset
    origin: Origin
    answers: Mapping[str, Any] = field(default_factory=dict)
    server: Callable[[], Mapping[str, Any] | None] = lambda: None


def describe_asked(asked: Asked) -> dict[str, Any]:
    """What was asked for and found, fit to be shown."""
    settings, site, dataset = asked.spec.settings, asked.site, asked.dataset
    shown: dict[str, Any] = {
        field.name: getattr(settings, field.name) for field in fields(settings) if field.name != "api_key"
    }
    shown["header"] = mask_fields(settings.header)
    shown["extra_body"] = mask_json(settings.extra_body)
    shown["label"] = dict(settings.label)
    if asked.origin.asked_sha256 is not None:
        shown["asked_sha256"] = asked.origin.asked_sha256
    if asked.spec.title is not None:
        shown |= {"stage": asked.spec.title, "env": mask_env(asked.spec.env, asked.site.secrets)}
    found = {
        **shown,
        **{name: mask_url(shown[name]) for name in ("reset_cache_url", "prometheus_url") if shown[name] is not None},
        "endpoint": site.shown_url,
        "endpoint_given": None if settings.endpoint is None else mask_url(settings.endpoint),
        "address": str(site.found.route.address),
        "model": site.model,
        "model_from": site.model_from,
        "dataset_path": str(dataset.path.absolute()),
        "dataset_entries": len(dataset),
        "dataset_sha256": dataset.sha256,
        "definitions": DEFINITIONS,
    }
    scrubbed: dict[str, Any] = scrub_all(found, site.secrets)
    return scrubbed


def describe_server(asked: Asked) -> dict[str, Any] | None:
    """The server under test: how we started it, if we did, and what it says of itself; None: nothing is known."""
    return {**(asked.server() or {}), **asked.answers} or None


def describe_recipe(recipe: RecipeText | None) -> dict[str, Any] | None:
    """The recipe as a result has it; None: there is none."""
    return None if recipe is None else {"path": recipe.path, "sha256": recipe.sha256, "text": recipe.text}


def ask_server(site: Site) -> dict[str, Any]:
    """What the server says of itself: the JSON of GET /version and /v1/models, as far as there is any."""
    found = {}
    for name, path in (("version", "/version"), ("models", "/v1/models")):
        url = site.base + path
        answer = fetch(url, site.access_to(url), timeout_s=ASK_TIMEOUT_S, max_bytes=MOST_BYTES)
        if answer.status is None or "event-stream" in answer.headers.get("content-type", ""):
            break  # not worth a further question
        if answer.ok:
            try:
                found[name] = msgspec.json.decode(scrub(answer.text, site.secrets))
            except (msgspec.DecodeError, RecursionError):
                continue
    return {"answers": found} if found else {}


def describe_environment() -> Mapping[str, Any]:
    """Where the client runs, and on what."""
    return {
        "fluxperf": __version__,
        "python": platform.python_version(),
        "platform": " ".join((os.uname().sysname, os.uname().release, os.uname().machine)),
        "cores": os.cpu_count(),
        "usable_cores": len(os.sched_getaffinity(0)),
        "libraries": {name: _version(name) for name in LIBRARIES},
        "host": describe_host(),
        "working_directory": str(Path.cwd()),
        "revision": describe_revision(Path.cwd()),
    }


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
