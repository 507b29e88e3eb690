"""`Site`: the server under test as a run finds it: URL, the address that answers, model, what requests carry."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit, urlunsplit

from fluxperf import __version__
from fluxperf.engine.preflight import Found, Wishes, find_route, list_models, make_access
from fluxperf.engine.tls import Trust, make_context
from fluxperf.errors import UsageError
from fluxperf.fetch import Access
from fluxperf.masking import mask_url, secrets_in_header, secrets_in_json, secrets_in_url
from fluxperf.plan.readers import Fault, check_header_value
from fluxperf.plan.settings import Settings

DEFAULT_MODEL = "gpt-3.5-turbo"
NONE_LISTED = "default: the server lists none"
KEY_VARIABLES = ("FLUXPERF_API_KEY", "OPENAI_API_KEY")
PROXY_VARIABLES = ("http_proxy", "https_proxy", "all_proxy")
_KEY_HEADER = "authorization"
_OF_BODIES = ("content-type", "connection")

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Site:
    """Where requests go and what they carry. `secrets` are texts that must never be written anywhere."""

    url: str
    found: Found
    headers: Mapping[str, str]
    model: str
    model_from: str
    secrets: tuple[str, ...]
    trust: Trust

    @property
    def base(self) -> str:
        """The server's URL without the path of the API: what stands beside that is below it."""
        parts = urlsplit(self.url)
        path = parts.path.rstrip("/").removesuffix("/completions").removesuffix("/chat").removesuffix("/v1")
        return urlunsplit(parts._replace(path=path, query="", fragment=""))

    def access_to(self, url: str) -> Access:
        """How a URL is asked for. Only the server itself gets the headers, with the key in them (RFC 6454)."""
        if _origin(url) == _origin(self.url):
            own = {name: text for name, text in self.headers.items() if name not in _OF_BODIES}
            return make_access(self.found, self.trust, own)
        context = make_context(self.trust, "1.1") if urlsplit(url).scheme == "https" else None
        return Access({}, context)

    @property
    def shown_url(self) -> str:
        """The URL as it may be shown."""
        return mask_url(self.url)


@dataclass(frozen=True, slots=True)
class Shield:
    """What is kept from files and processes: texts that must not be written, variables that no child is shown."""

    secrets: tuple[str, ...] = ()
    hidden: tuple[str, ...] = KEY_VARIABLES


def hidden_variables(settings: Settings) -> tuple[str, ...]:
    """The environment variables that hold keys: no server and no hook is shown them."""
    return tuple(name for name in (settings.api_key_env, *KEY_VARIABLES) if name)


def find_key(settings: Settings) -> str | None:
    """The API key, from the option or the environment; None if there is none. Raises UsageError."""
    if settings.api_key is not None:
        return settings.api_key
    named = settings.api_key_env
    if named is not None and not os.environ.get(named, "").strip():
        raise UsageError(f"--api-key-env {named}: there is no such environment variable, or it is empty")
    for name in [named] if named is not None else KEY_VARIABLES:
        key = os.environ.get(name, "").strip()
        if key:
            try:
                check_header_value("the key", key)
            except Fault as fault:
                raise UsageError(f"environment variable {name} {fault}") from fault
            return key
    return None


def make_headers(settings: Settings, key: str | None) -> dict[str, str]:
    """What every request carries, names in lower case. A header given by the user replaces ours of that name."""
    headers = {
        "accept": "*/*",
        "accept-encoding": "identity",
        "connection": "keep-alive",
        "user-agent": f"fluxperf/{__version__}",
        "content-type": "application/json",
    }
    if key is not None:
        headers[_KEY_HEADER] = f"Bearer {key}"
    for name, text in settings.header:
        headers[name.lower()] = text
    return headers


def find_site(endpoint: str, settings: Settings, say: Say) -> Site:
    """The server at that URL. Raises ServerUnreachable, and UsageError (no such key variable, several models)."""
    key = find_key(settings)
    ignored = [name for name in PROXY_VARIABLES if os.environ.get(name) or os.environ.get(name.upper())]
    if ignored:
        say(f"proxy variables are ignored: {', '.join(ignored)}")
    urls = [url for url in (endpoint, settings.reset_cache_url, settings.prometheus_url) if url is not None]
    in_headers = [secret for name, text in settings.header for secret in secrets_in_header(name, text)]
    in_urls = [secret for url in urls for secret in secrets_in_url(url)]
    secrets = tuple({text for text in (key, *in_headers, *in_urls, *secrets_in_json(settings.extra_body)) if text})
    headers = make_headers(settings, key)
    if key is not None and urlsplit(endpoint).username:
        say("the user and password in the URL of the endpoint are sent in place of the API key")
    trust = read_trust(settings)
    if trust.insecure and urlsplit(endpoint).scheme == "https":
        say("--insecure: the server's certificate is not verified, so it may be anybody")
    if trust != Trust() and urlsplit(endpoint).scheme == "http":
        say("the endpoint is http://, without TLS: --ca-file, --client-cert and --insecure do nothing")
    found = find_route(endpoint, Wishes(settings.http, trust, settings.streams_per_connection))
    model, model_from = settings.model, "given"
    if model is None:
        model, model_from = _choose_model(list_models(endpoint, headers, found, trust))
    if model_from == NONE_LISTED:
        say(f"the server does not say which models it has: asking for {model}; --model names another")
    return Site(endpoint, found, headers, model, model_from, secrets, trust)


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme)


def read_trust(settings: Settings) -> Trust:
    """Whose certificates the settings say to believe, and who we are."""
    return Trust(settings.ca_file, settings.client_cert, settings.client_key, settings.insecure)


def _choose_model(listed: list[str] | None) -> tuple[str, str]:
    if not listed:
        return DEFAULT_MODEL, NONE_LISTED
    if len(listed) > 1:
        names = ", ".join(listed[:20]) + (", ..." if len(listed) > 20 else "")
        raise UsageError(f"--model is missing and the server lists several; choose one: {names}")
    return listed[0], "listed by the server"
