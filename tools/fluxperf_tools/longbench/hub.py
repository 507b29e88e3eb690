"""Fetches files of datasets from the Hugging Face hub, through huggingface_hub; knows nothing of what is in them."""

from __future__ import annotations

import contextlib
import logging
import os
import zipfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from inspect import signature
from itertools import count
from pathlib import Path
from typing import Any

from fluxperf.errors import RunFailed, UsageError
from fluxperf.masking import mask_url, scrub, secrets_in_env, secrets_in_url
from fluxperf_tools.command import complain
from fluxperf_tools.longbench.attended import Failed, attend
from fluxperf_tools.longbench.ways import Way, advise

_HEAD_TIMEOUT_S = 10
_NO_CONNECTION = {"ConnectError", "ConnectTimeout", "ConnectionError", "ProxyError", "OfflineModeIsEnabled"}
_REFUSALS = {
    "GatedRepoError": "the repository is gated: ask for access on its page, and set HF_TOKEN",
    "RepositoryNotFoundError": "no such repository, or a private one",
    "RevisionNotFoundError": "no such revision",
    "EntryNotFoundError": "no such file",
    "FileMetadataError": "what answers is no hub, since X-Repo-Commit or ETag is missing: check HF_ENDPOINT",
}
# And how much of (repository, revision, file) is not there.
_ABSENT = {"RepositoryNotFoundError": 1, "RevisionNotFoundError": 2, "EntryNotFoundError": 3}
_STATUSES = {
    401: "the hub refuses the token (401): check HF_TOKEN",
    403: "the hub forbids it (403): HF_TOKEN has no right to it, or there is none",
    404: "not found (404)",
    429: "the hub has had too many requests (429): try again later, or set HF_TOKEN",
}
_PIECE_BYTES = 1 << 20
_BROKEN_ZIP = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError)


@dataclass(frozen=True, slots=True)
class Fetched:
    """Files on this disk, and where they came from. Of a zip only `member` is meant."""

    paths: tuple[Path, ...]
    member: str | None
    origin: str


class _Unfit(Exception):
    """A way that leads nowhere: why, in words. `of`: how much of (repository, revision, file) it holds for."""

    def __init__(self, why: str, of: int = 3) -> None:
        super().__init__(why)
        self.of = of


class _Absent(_Unfit):
    """What is not there, as the hub says."""


def _import_library() -> Any:
    """huggingface_hub, set up to be quiet, and to use plain HTTP, which every mirror has and which can be attended."""
    for name in ("HF_HUB_DISABLE_XET", "HF_HUB_DISABLE_TELEMETRY"):
        os.environ.setdefault(name, "1")
    import huggingface_hub
    import huggingface_hub.constants

    logging.getLogger("huggingface_hub").setLevel(logging.CRITICAL)  # what is to be said, we say
    return huggingface_hub


def check_library() -> None:
    """Raises UsageError unless the library `datasets` is there, which brings what loads from the hub."""
    try:
        _import_library()
        import datasets  # noqa: F401 - huggingface_hub and pyarrow come with it
    except ImportError as error:
        raise UsageError(
            f"--dataset loads from the Hugging Face hub with a library that is not installed ({error})\n"
            "pip install datasets\n"
            "or download the files by hand, and give --input-dir or --input-file"
        ) from error


class Hub:
    """The hub as HF_ENDPOINT, HF_TOKEN, HF_HOME and HF_HUB_OFFLINE have it.

    It is asked for each file once, however many datasets are in it, and not at all for what cannot be there. What
    it refuses is taken from the cache if it is there. What does not move for `patience_s` is given up, and with it
    the hub, as it is where there is no connection or no answer in time: so all waiting together has an end.
    """

    def __init__(self, endpoint: str | None = None, cache: Path | None = None, patience_s: float = 60) -> None:
        self._library = _import_library()
        constants = self._library.constants
        self._endpoint = endpoint or constants.ENDPOINT
        self._cache = cache
        self._patience_s = patience_s
        self._unreachable = ""
        self._found: dict[tuple[str, str, str], tuple[Path, bool]] = {}
        self._refused: dict[tuple[str, ...], _Unfit] = {}  # by a file's place, or the beginning of it
        self._said: set[tuple[str, ...]] = set()
        self._secrets = [*secrets_in_env(os.environ), *secrets_in_url(self._endpoint)]
        with contextlib.suppress(OSError):
            self._secrets.append(Path(constants.HF_TOKEN_PATH).read_text().strip())

    def fetch(self, name: str, ways: Sequence[Way]) -> Fetched:
        """The files of the dataset, by the first of the ways that works; says which did not. Raises RunFailed."""
        tried: dict[Way, str] = {}
        places: dict[Way, tuple[str, ...]] = {}
        for way in ways:
            try:
                fetched = self._take(way)
            except _Unfit as problem:
                tried[way] = str(problem)
                places[way] = (*(way.repository, way.revision, way.file)[: problem.of], str(problem))
            else:
                for other, why in tried.items():
                    if places[other] not in self._said:
                        self._said.add(places[other])
                        complain(f"{name}: not from {other}: {why}")
                return fetched
        if len(set(tried.values())) == 1:
            repositories = " and ".join(dict.fromkeys(way.repository for way in ways))
            lines = [f"  {repositories}: {tried[ways[0]]}"]
        else:
            lines = [f"  {way}: {why}" for way, why in tried.items()]
        raise RunFailed("\n".join([f"{name} could not be loaded from {self.shown}. Tried:", *lines, *advise(ways[0])]))

    @property
    def shown(self) -> str:
        """The hub's address, fit to be shown."""
        return scrub(mask_url(self._endpoint), self._secrets)

    def _take(self, way: Way) -> Fetched:
        paths: list[Path] = []
        is_cached = False
        for number in count():
            try:
                path, is_cached = self._get(way, way.file.format(number))
            except _Unfit as problem:
                # No further shard; what the cache has is taken for all there is.
                if number and (is_cached or isinstance(problem, _Absent)):
                    break
                raise
            paths.append(path)
            member = _check(path, way.member)
            if not way.is_sharded:
                break
        shards = f" ({len(paths)} files)" if len(paths) > 1 else ""
        return Fetched(tuple(paths), member, f"{way}{shards}, commit {_commit(paths[0])}")

    def _get(self, way: Way, file: str) -> tuple[Path, bool]:
        """The file on this disk, and whether it was there before, and is taken unasked. Raises _Unfit, both once."""
        place = (way.repository, way.revision, file)
        for length in range(1, len(place) + 1):
            if known := self._refused.get(place[:length]):
                raise known
        if place not in self._found:
            try:
                self._found[place] = self._ask(way, file)
            except _Unfit as problem:
                self._refused[place[: problem.of]] = problem
                raise
        return self._found[place]

    def _ask(self, way: Way, file: str) -> tuple[Path, bool]:
        """As `_get`, without remembering."""
        library = self._library
        place = {"repo_id": way.repository, "repo_type": "dataset", "revision": way.revision, "filename": file}
        where: dict[str, Any] = {**place, "endpoint": self._endpoint, "cache_dir": self._cache}
        problem = self._unreachable
        if not problem:
            url = library.hf_hub_url(**place, endpoint=self._endpoint)
            try:
                # hf_hub_download asks again and again when it gets no answer; this asks once.
                self._call(lambda _: library.get_hf_file_metadata(url, timeout=_HEAD_TIMEOUT_S), way.repository)
                path = Path(self._call(lambda tell: library.hf_hub_download(**where, **_reports(tell)), file))
            except _Absent:
                raise
            except _Unfit as error:
                problem = str(error)
            else:
                return path, False
        try:
            path = Path(self._call(lambda _: library.hf_hub_download(**where, local_files_only=True), file))
        except _Unfit:
            raise _Unfit(f"{problem}; it is not in the cache either" if self._unreachable else problem) from None
        complain(f"{file} of {way.repository} is taken from the cache: {problem}")
        return path, True

    def _call(self, call: Callable[[Callable[[int], None]], Any], what: str) -> Any:
        """What the library's function returns; what it raises, as _Unfit."""
        try:
            return attend(call, f"Downloading {what}", self._patience_s)
        except Failed as failed:
            raise self._judge(failed.error) from failed

    def _judge(self, error: Exception | None) -> _Unfit:
        """What a call ended with, in words; None: it did not end."""
        if error is None:
            self._unreachable = f"nothing came for {self._patience_s:g} s"
            return _Unfit(self._unreachable)
        if isinstance(error.__cause__, Exception) and isinstance(error, FileNotFoundError):
            error = error.__cause__  # which says why the file was looked for in the cache
        kinds = {kind.__name__ for kind in type(error).__mro__}
        status = getattr(getattr(error, "response", None), "status_code", None)
        if kinds & _NO_CONNECTION:
            said = (
                "HF_HUB_OFFLINE is set" if "OfflineModeIsEnabled" in kinds else f"no connection ({_first_line(error)})"
            )
            self._unreachable = scrub(said, self._secrets)
            return _Unfit(self._unreachable)
        wants_token = status == 401 and not self._library.get_token()
        for kind, said in _REFUSALS.items():
            if kind in kinds:
                said += "; one that is not public needs a token, and HF_TOKEN is not set" if wants_token else ""
                return _Absent(said, _ABSENT[kind]) if kind in _ABSENT else _Unfit(said)
        if wants_token:
            return _Unfit("the hub asks for a token (401), and HF_TOKEN is not set")
        if status is not None:
            return (_Absent if status == 404 else _Unfit)(_STATUSES.get(status, f"the hub answers {status}"))
        if any("Timeout" in kind for kind in kinds):
            self._unreachable = f"no answer in time ({type(error).__name__})"
            return _Unfit(self._unreachable)
        return _Unfit(scrub(f"{type(error).__name__}: {_first_line(error)}", self._secrets))


def _reports(tell: Callable[[int], None]) -> dict[str, Any]:
    """The argument that lets hf_hub_download tell how far it is, if this version of it has one."""
    import huggingface_hub

    class Bar:
        """As much of tqdm as is used."""

        def __init__(self, *_: object, **__: object) -> None:
            self.n = 0

        def update(self, count: int = 1) -> None:
            self.n += count
            tell(count)

        def __enter__(self) -> Bar:
            return self

        def __exit__(self, *_: object) -> None: ...

    return {"tqdm_class": Bar} if "tqdm_class" in signature(huggingface_hub.hf_hub_download).parameters else {}


def _check(path: Path, member: str | None) -> str | None:
    """The whole name of the member if the file is a zip. Raises _Unfit if the file is not what it should be."""
    problem = ""
    if path.suffix == ".parquet":
        from fluxperf_tools.reading import Fault, read_records

        problem = next((found.what for found in read_records(path) if isinstance(found, Fault)), "")
    elif member is not None:
        try:
            with zipfile.ZipFile(path) as archive:
                names = [name for name in archive.namelist() if name.rpartition("/")[2] == member]
                if not names:
                    raise _Absent(f"there is no {member} in it")
                with archive.open(names[0]) as file:
                    while file.read(_PIECE_BYTES):
                        pass
                return names[0]
        except _BROKEN_ZIP as error:
            problem = f"a broken zip ({error})"
    if problem:
        raise _Unfit(f"what came is {problem.removesuffix('; fetch it again')}; to fetch it anew, delete {path}")
    return None


def _commit(path: Path) -> str:
    """The commit whose file it is, as the cache names its folders: .../snapshots/COMMIT/..."""
    parts = path.parts
    return parts[parts.index("snapshots") + 1][:10] if "snapshots" in parts[:-1] else "unknown"


def _first_line(error: Exception) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
