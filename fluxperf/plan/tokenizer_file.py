"""Where the tokenizer.json is that a name stands for: a folder, a file, or a model of the Hugging Face hub."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

from fluxperf.errors import FluxPerfError, Interrupted, RunFailed, UsageError
from fluxperf.masking import mask_url

FILE = "tokenizer.json"
# Other forms, which say what a model's tokens are in the terms of other libraries.
_OTHERS = ("tokenizer.model", "spiece.model", "sentencepiece.bpe.model", "vocab.json", "merges.txt", "vocab.txt")
_OTHER_ENDINGS = (".model", ".tiktoken")
_HUB_NAME = re.compile(r"[\w.-]+(/[\w.-]+)?", re.ASCII)
_PROGRAM = Path(__file__).with_name("hub_download.py")
DOWNLOAD_TIMEOUT_S = 600  # for a file of some megabytes; a hub that does not answer is given up far sooner


def find_tokenizer(name: str, revision: str | None = None) -> Path:
    """The file that `name` stands for, fetched from the hub if need be.

    Raises UsageError that says what to do, and RunFailed if the hub cannot be reached.
    """
    if problem := find_name_problem(name, revision):
        raise UsageError(f"tokenizer {name}: {problem}")
    path = Path(name).expanduser()
    if path.is_dir():
        return path / FILE
    return path if path.exists() else _download(name, revision)


def is_of_the_hub(name: str) -> bool:
    """Whether the name is that of a model of the hub, and of nothing that is here."""
    return find_name_problem(name) is None and not Path(name).expanduser().exists()


def find_name_problem(name: str, revision: str | None = None) -> str | None:
    """What can be told to be wrong with a tokenizer's name and revision without asking the hub, and what to do."""
    if not name.isprintable():
        return f"holds characters that no name has: {name!r}"
    try:
        return _judge(name, Path(name).expanduser(), revision)
    except (OSError, RuntimeError) as error:  # the latter where ~ leads nowhere
        return f"it cannot be looked at: {getattr(error, 'strerror', None) or error}"


def _judge(name: str, path: Path, revision: str | None) -> str | None:
    if not path.exists():
        return None if _HUB_NAME.fullmatch(name) and not _looks_like_path(name) else _no_such_file(name)
    if revision is not None:
        return f"the revision {revision} is one of the hub, but {path} is here: leave it out"
    if path.is_dir():
        return None if (path / FILE).exists() else f"there is no {FILE} in {path}{_say_others(path, name)}"
    if path.name in _OTHERS or path.suffix in _OTHER_ENDINGS:
        return f"it is no {FILE}: {_say_conversion(name)}"
    return None


def _looks_like_path(name: str) -> bool:
    return name.startswith((".", "~", "/")) or Path(name).suffix in (".json", ".txt", *_OTHER_ENDINGS)


def _no_such_file(name: str) -> str:
    return f"no such file or folder: {name}; give a folder with a {FILE}, that file, or a model of the hub as org/name"


def _say_others(folder: Path, name: str) -> str:
    found = sorted(one.name for one in folder.iterdir() if one.name in _OTHERS or one.suffix in _OTHER_ENDINGS)
    return f", but {', '.join(found)}: {_say_conversion(name)}" if found else "; give a folder that holds one"


def _say_conversion(name: str) -> str:
    return (
        f"convert it with the transformers library, AutoTokenizer.from_pretrained({name!r}).save_pretrained('FOLDER'), "
        f"and give that folder, in which there is a {FILE} then"
    )


def _download(name: str, revision: str | None) -> Path:
    """The file in the hub's cache. A process of its own fetches it: the libraries for that leave threads behind."""
    command = [sys.executable, "-P", str(_PROGRAM), name, FILE, *([] if revision is None else [revision])]
    try:
        ended = subprocess.run(  # noqa: S603 - a program of ours
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=DOWNLOAD_TIMEOUT_S,
        )
    except subprocess.TimeoutExpired:
        raise RunFailed(
            f"tokenizer {name}: {_hub()} had not sent the {FILE} after {DOWNLOAD_TIMEOUT_S} s; "
            "give a local folder that holds it"
        ) from None
    if ended.returncode < 0 and -ended.returncode in (2, 15):
        raise Interrupted(-ended.returncode)
    try:
        told = json.loads(ended.stdout.splitlines()[-1])
    except (ValueError, IndexError):
        words = ended.stderr.strip().splitlines()[-1:] or [f"exit status {ended.returncode}"]
        raise RunFailed(f"tokenizer {name}: the download failed: {words[0]}; give a local folder") from None
    if "path" in told:
        return Path(told["path"])
    raise _explain(name, revision, told["kinds"], told["reason"])


def _hub() -> str:
    return mask_url(os.environ.get("HF_ENDPOINT") or "https://huggingface.co")


def _explain(name: str, revision: str | None, kinds: list[str], reason: str) -> FluxPerfError:
    """What an exception of the hub's library means. `kinds` are the names of its class and those above."""
    local = f"give a local folder with a {FILE}"
    if "ModuleNotFoundError" in kinds:
        what = f"the hub's library is missing ({reason}): pip install huggingface-hub, or {local}"
    elif "GatedRepoError" in kinds:
        what = f"the model is gated at {_hub()}: ask for access there and set HF_TOKEN to a token of yours, or {local}"
    elif "RevisionNotFoundError" in kinds:
        what = f"there is no revision {revision or 'main'} at {_hub()}"
    elif "RepositoryNotFoundError" in kinds or "HFValidationError" in kinds:
        what = f"there is no such folder or file here, and no such model at {_hub()} (or a private one: set HF_TOKEN)"
    elif "OfflineModeIsEnabled" in kinds:
        what = f"it is not in the cache, and HF_HUB_OFFLINE forbids to ask the hub: unset it, or {local}"
    elif "EntryNotFoundError" in kinds:
        what = f"the model at {_hub()} has no {FILE}: {_say_conversion(name)}"
    else:
        return RunFailed(
            f"tokenizer {name}: it cannot be had from {_hub()}: {reason}; {local}, or a mirror's address as HF_ENDPOINT"
        )
    return UsageError(f"tokenizer {name}: {what}")
