"""Where a result comes from: what was asked for, of whom, and where the client ran. Secrets are masked here."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass, fields
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from fluxperf import __version__
from fluxperf.masking import mask_fields, mask_json, mask_url
from fluxperf.plan.settings import Settings
from fluxperf.plan.workload import Dataset
from fluxperf.site import Site

LIBRARIES = ("trio", "httpx", "httptools", "msgspec", "hdrhistogram", "msgpack", "scipy", "prometheus-client")


@dataclass(frozen=True, slots=True)
class Asked:
    """What was asked for, and what was found for it."""

    settings: Settings
    site: Site
    dataset: Dataset


def describe_asked(asked: Asked) -> dict[str, Any]:
    """What was asked for and found, fit to be shown."""
    settings, site, dataset = asked.settings, asked.site, asked.dataset
    shown: dict[str, Any] = {
        field.name: getattr(settings, field.name) for field in fields(settings) if field.name != "api_key"
    }
    shown["header"] = mask_fields(settings.header)
    shown["extra_body"] = mask_json(settings.extra_body)
    shown["label"] = dict(settings.label)
    return {
        **shown,
        **{name: mask_url(shown[name]) for name in ("reset_cache_url", "prometheus_url") if shown[name] is not None},
        "endpoint": site.shown_url,
        "endpoint_given": None if settings.endpoint is None else mask_url(settings.endpoint),
        "address": str(site.found.route.address),
        "model": site.model,
        "model_from": site.model_from,
        "dataset_entries": len(dataset),
        "dataset_sha256": dataset.sha256,
    }


def describe_environment() -> Mapping[str, Any]:
    """Where the client ran, and on what."""
    return {
        "fluxperf": __version__,
        "python": platform.python_version(),
        "platform": " ".join((os.uname().sysname, os.uname().release, os.uname().machine)),
        "cores": os.cpu_count(),
        "usable_cores": len(os.sched_getaffinity(0)),
        "libraries": {name: _version(name) for name in LIBRARIES},
    }


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
