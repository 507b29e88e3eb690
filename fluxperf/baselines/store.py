"""Runs that are kept to be compared with, by name, in a directory. Compares nothing.

A baseline is `STORE/NAME/`: the run's files as they were, and `baseline.json` with where they are from and what they
hash to. It is made beside its place and then put there in one step; a lock keeps two that save at once apart.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import re
import secrets
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from fluxperf import __version__
from fluxperf.baselines.contents import check_worth_keeping, describe_run, find_files
from fluxperf.baselines.exchange import put_in_place, recover
from fluxperf.clock import timestamp
from fluxperf.errors import RunFailed, UsageError
from fluxperf.files import write_whole
from fluxperf.stored import read_run

SCHEMA = "fluxperf.baseline/1"
RECORD = "baseline.json"
ENVIRONMENT = "FLUXPERF_BASELINES"
DEFAULT = "baselines"
_LOCK = ".lock"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,99}")
_CHUNK_BYTES = 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """What is known of a baseline. `files` has the SHA-256 of each by its path, and `digest` is that of them all.

    `run` is where the run itself is from, as `contents.describe_run` tells it; `source` the directory that was copied.
    """

    name: str
    path: Path
    saved_at: str
    source: str
    fluxperf: str
    run: Mapping[str, Any]
    files: Mapping[str, str]
    digest: str

    def find_changes(self) -> list[str]:
        """What is no longer as it was saved, a sentence each."""
        found = []
        for name, sha256 in self.files.items():
            try:
                if _hash_file(self.path / name) != sha256:
                    found.append(f"{name} has changed")
            except OSError as error:
                found.append(f"{name} cannot be read: {error.strerror or error}")
        if _digest(self.files) != self.digest:
            found.append(f"{RECORD} has changed")
        return found


@dataclass(frozen=True, slots=True)
class Store:
    """The directory of all baselines, which need not be there yet."""

    path: Path

    def save(self, name: str, source: Path, *, force: bool = False) -> tuple[Baseline, Baseline | None]:
        """Keeps the run in the directory `source`, in the place of an earlier one of that name, which comes back too.

        Raises UsageError for a name or a run that is no good (`force`: the run may be partial, failed or invalid), and
        RunFailed where the store cannot be written; the earlier baseline is then as it was.
        """
        check_name(name)
        run = read_run(source)
        folder = source if source.is_dir() else source.parent
        if not force:
            check_worth_keeping(run, source)
        files = find_files(run, folder, force=force)
        try:
            with self._locked():
                earlier = self._find_earlier(name)
                return self._copy(name, folder, files, describe_run(run)), earlier
        except OSError as error:
            raise RunFailed(f"cannot save baseline {name} in {self.path}: {error.strerror or error}") from error

    def _find_earlier(self, name: str) -> Baseline | None:
        """What is replaced; None: nothing, or a baseline whose record is broken. Raises UsageError for what is none."""
        place = self.path / name
        try:
            return self._read(place) if place.exists() else None
        except UsageError:
            if not (place / RECORD).is_file():
                raise
            return None

    def _copy(self, name: str, folder: Path, files: list[str], run: Mapping[str, Any]) -> Baseline:
        place = self.path / name
        new = self.path / f".{name}.{secrets.token_hex(4)}.tmp"
        try:
            hashes = {file: _copy_file(folder / file, new / file) for file in files}
            made = Baseline(
                name=name,
                path=place,
                saved_at=timestamp(),
                source=str(folder.resolve()),
                fluxperf=__version__,
                run=run,
                files=hashes,
                digest=_digest(hashes),
            )
            record = {"schema": SCHEMA, **{key: entry for key, entry in asdict(made).items() if key != "path"}}
            write_whole(new / RECORD, [json.dumps(record, indent=1, ensure_ascii=False, default=str), "\n"])
            before = put_in_place(new, place)
        except BaseException:
            shutil.rmtree(new, ignore_errors=True)
            raise
        if before is not None:
            shutil.rmtree(before, ignore_errors=True)
        return made

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """Nobody else saves meanwhile; so what looks half made is what a crash has left, and goes."""
        self.path.mkdir(parents=True, exist_ok=True)
        lock = os.open(self.path / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            recover(self.path)
            for half in self.path.glob(".*.tmp"):
                shutil.rmtree(half, ignore_errors=True)
            yield
        finally:
            os.close(lock)

    def list(self) -> list[Baseline | UsageError]:
        """All baselines by name; of one whose record cannot be read, what is wrong with it."""
        places = sorted(self.path.iterdir()) if self.path.is_dir() else []
        found = [place for place in places if (place / RECORD).is_file() and _NAME.fullmatch(place.name)]
        return [self._try(place) for place in found]

    def _try(self, place: Path) -> Baseline | UsageError:
        try:
            return self._read(place)
        except UsageError as error:
            return error

    def find(self, name: str) -> Baseline:
        """The baseline. Raises UsageError if there is none, or if its record cannot be read."""
        check_name(name)
        if not (self.path / name / RECORD).is_file():
            raise UsageError(f"there is no baseline {name!r} in {self.path}{self.near(name)}")
        return self._read(self.path / name)

    def near(self, name: str) -> str:
        """Which name was likely meant, and what there is."""
        names = [one.name for one in self.path.iterdir() if (one / RECORD).is_file()] if self.path.is_dir() else []
        near = get_close_matches(name, names, 1, 0.6)
        if near:
            return f"; did you mean {near[0]}?"
        return f"; there are {', '.join(sorted(names))}" if names else "; fluxperf baseline save NAME DIR makes one"

    @staticmethod
    def _read(place: Path) -> Baseline:
        file = place / RECORD
        try:
            found = json.loads(file.read_text("utf-8"))
            if found["schema"] != SCHEMA:
                raise UsageError(f"{file}: is of schema {found['schema']}, and this version knows {SCHEMA}")
            texts = {key: str(found[key]) for key in ("saved_at", "source", "fluxperf", "digest")}
            return Baseline(
                name=place.name,
                path=place,
                run=dict(found["run"]),
                files={str(name): str(sha256) for name, sha256 in found["files"].items()},
                **texts,
            )
        except OSError as error:
            raise UsageError(f"{file}: cannot be read: {error.strerror or error}") from None
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            what = f"{type(error).__name__}: {error}"
            raise UsageError(f"{file}: is no record of a baseline ({what}): save the baseline anew") from None


def find_store(given: str | None = None, environ: Mapping[str, str] = os.environ) -> Store:
    """The store: what was given, else what the environment names, else `baselines` in the working directory."""
    return Store(Path(given or environ.get(ENVIRONMENT) or DEFAULT))


def resolve(name_or_path: str, store: Store | None = None) -> Path:
    """The directory that is meant: a baseline's by its name, or any by its path.

    Raises UsageError if there is neither, or both (a path with a slash in it is never a name).
    """
    store = find_store() if store is None else store
    path = Path(name_or_path)
    place = store.path / name_or_path
    is_name = _NAME.fullmatch(name_or_path) is not None and (place / RECORD).is_file()
    if is_name and path.exists() and not path.samefile(place):
        raise UsageError(
            f"{name_or_path} is a baseline in {store.path} and a directory here: write {store.path / name_or_path} "
            f"or ./{name_or_path}"
        )
    if is_name:
        return place
    if not path.exists():
        raise UsageError(
            f"{name_or_path}: there is neither such a directory nor a baseline of that name in {store.path}"
            f"{store.near(name_or_path)}"
        )
    return path


def check_name(name: str) -> None:
    """Raises UsageError for a name that could be a path, an option or a hidden file."""
    if not _NAME.fullmatch(name):
        plain = re.sub(r"[^A-Za-z0-9._+-]+", "-", name).strip(".-_+")[:100]
        hint = f", such as {plain}" if plain else ""
        raise UsageError(f"{name!r} is no name for a baseline: take letters, digits and . _ + -{hint}")


def _copy_file(source: Path, target: Path) -> str:
    """Copies the bytes, and returns their SHA-256."""
    target.parent.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256()
    with source.open("rb") as before, target.open("xb") as after:
        while chunk := before.read(_CHUNK_BYTES):
            digest.update(chunk)
            after.write(chunk)
    return digest.hexdigest()


def _hash_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _digest(files: Mapping[str, str]) -> str:
    """One hash over all files, as `sha256sum` would list them in the order of their names."""
    listing = "".join(f"{files[name]}  {name}\n" for name in sorted(files))
    return hashlib.sha256(listing.encode("utf-8", "surrogateescape")).hexdigest()
