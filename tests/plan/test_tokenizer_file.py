from __future__ import annotations

from pathlib import Path
from socket import socket
from textwrap import dedent

import pytest

from fluxperf.errors import FluxPerfError, Interrupted, RunFailed, UsageError
from fluxperf.plan import tokenizer_file
from fluxperf.plan.tokenizer_file import find_name_problem, find_tokenizer, is_of_the_hub
from tests.plan.model_hub import COMMIT, ModelHub

CONVERSION = (
    "convert it with the transformers library, AutoTokenizer.from_pretrained({!r}).save_pretrained('FOLDER'), "
    "and give that folder, in which there is a tokenizer.json then"
)
NO_SUCH = (
    "no such file or folder: {}; give a folder with a tokenizer.json, that file, or a model of the hub as org/name"
)


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def complaint(name: str, revision: str | None = None, kind: type[FluxPerfError] = UsageError) -> str:
    with pytest.raises(kind) as caught:
        find_tokenizer(name, revision)
    assert type(caught.value) is kind
    start = f"tokenizer {name}: "
    assert str(caught.value).startswith(start)
    return str(caught.value).removeprefix(start)


# Here.


def test_a_folder_stands_for_the_file_in_it() -> None:
    folder = Path("models/mine")
    folder.mkdir(parents=True)
    (folder / "tokenizer.json").touch()
    assert find_tokenizer("models/mine") == find_tokenizer("models/mine/tokenizer.json") == folder / "tokenizer.json"
    Path("other.json").touch()
    assert find_tokenizer("other.json") == Path("other.json")


def test_home_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "tokenizer.json").touch()
    assert find_tokenizer("~") == tmp_path / "tokenizer.json"


@pytest.mark.parametrize(
    "name", ["./mine", "../a/b", "/no/such", "~/no such", "a/b/c", "mine.json", "a/x.model", "a b"]
)
def test_what_looks_like_a_path_is_not_asked_for_at_the_hub(name: str) -> None:
    assert find_name_problem(name) == NO_SUCH.format(name)
    assert complaint(name) == NO_SUCH.format(name)


@pytest.mark.parametrize("name", ["org/name", "gpt2", "Org-1/Name_2.5-7B"])
def test_what_looks_like_a_model_may_be_one(name: str) -> None:
    assert find_name_problem(name) is None
    assert find_name_problem(name, "main") is None


@pytest.mark.parametrize("name", ["x" * 5000, "~nobody-of-this-name/x", "a\0b"])
def test_a_name_that_no_file_can_have_is_a_problem(name: str) -> None:
    assert find_name_problem(name)


def test_a_folder_without_the_file_is_told() -> None:
    Path("empty").mkdir()
    assert complaint("empty") == "there is no tokenizer.json in empty; give a folder that holds one"


@pytest.mark.parametrize("file", ["tokenizer.model", "vocab.json", "vocab.txt", "qwen.tiktoken"])
def test_a_folder_with_another_form_is_told_how_to_convert_it(file: str) -> None:
    Path("older").mkdir()
    Path("older", file).touch()
    Path("older", "config.json").touch()
    assert complaint("older") == f"there is no tokenizer.json in older, but {file}: {CONVERSION.format('older')}"


@pytest.mark.parametrize("file", ["tokenizer.model", "vocab.txt", "some.tiktoken"])
def test_a_file_of_another_form_is_told_how_to_convert_it(file: str) -> None:
    Path(file).touch()
    assert complaint(file) == f"it is no tokenizer.json: {CONVERSION.format(file)}"


def test_what_is_here_has_no_revision() -> None:
    Path("tokenizer.json").touch()
    assert complaint("tokenizer.json", "v1") == (
        "the revision v1 is one of the hub, but tokenizer.json is here: leave it out"
    )


# At the hub.


def test_a_model_is_fetched_once(model_hub: ModelHub) -> None:
    path = find_tokenizer("org/good")
    assert path.read_bytes() == model_hub.files["tokenizer.json"]
    assert COMMIT in str(path)
    fetched = [request for request in model_hub.requests if request[0] == "GET" and "tokenizer.json" in request[1]]
    assert find_tokenizer("org/good", "v1") == path
    assert [one for one in model_hub.requests if one[0] == "GET" and "tokenizer.json" in one[1]] == fetched
    assert len(fetched) == 1


def test_the_key_of_the_hub_is_used(model_hub: ModelHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    find_tokenizer("org/good")
    assert ("HEAD", "/org/good/resolve/main/tokenizer.json", "Bearer hf_secret") in model_hub.requests


@pytest.mark.parametrize(
    ("name", "revision", "expected"),
    [
        ("org/good", "v9", "there is no revision v9 at URL"),
        ("org/bare", None, f"the model at URL has no tokenizer.json: {CONVERSION.format('org/bare')}"),
        (
            "org/gated",
            None,
            "the model is gated at URL: ask for access there and set HF_TOKEN to a token of yours, "
            "or give a local folder with a tokenizer.json",
        ),
        (
            "org/none",
            None,
            "there is no such folder or file here, and no such model at URL (or a private one: set HF_TOKEN)",
        ),
        (
            "org/na--me",
            None,
            "there is no such folder or file here, and no such model at URL (or a private one: set HF_TOKEN)",
        ),
    ],
)
def test_what_the_hub_refuses_is_told(model_hub: ModelHub, name: str, revision: str | None, expected: str) -> None:
    assert complaint(name, revision) == expected.replace("URL", model_hub.url)


def test_a_hub_that_fails_is_no_fault_of_the_users(model_hub: ModelHub) -> None:
    told = complaint("org/broken", kind=RunFailed)
    assert told.startswith(f"it cannot be had from {model_hub.url}: ")
    assert "400 Bad Request" in told
    assert told.endswith("; give a local folder with a tokenizer.json, or a mirror's address as HF_ENDPOINT")


def test_a_dead_hub_is_told_at_once_and_the_cache_will_do(model_hub: ModelHub, monkeypatch: pytest.MonkeyPatch) -> None:
    path = find_tokenizer("org/good")
    with socket() as nobody:  # bound, but nobody listens
        nobody.bind(("127.0.0.1", 0))
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{nobody.getsockname()[1]}")
        assert find_tokenizer("org/good") == path
        assert "Connection refused" in complaint("org/bare", kind=RunFailed)


def test_without_the_hub_the_cache_will_do(model_hub: ModelHub, monkeypatch: pytest.MonkeyPatch) -> None:
    path = find_tokenizer("org/good")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert find_tokenizer("org/good") == path
    assert complaint("org/bare") == (
        "it is not in the cache, and HF_HUB_OFFLINE forbids to ask the hub: unset it, "
        "or give a local folder with a tokenizer.json"
    )


# The process that asks, with another library in the place of the hub's.


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A module to be written, which the process that asks the hub will find."""
    folder = tmp_path / "library"
    folder.mkdir()
    monkeypatch.setenv("PYTHONPATH", str(folder))
    monkeypatch.setenv("HF_ENDPOINT", "http://me:secret@hub.example")
    return folder / "huggingface_hub.py"


def test_a_hub_that_cannot_be_reached_is_told_with_the_reason(library: Path) -> None:
    code = """
        class LocalEntryNotFoundError(FileNotFoundError): ...
        def hf_hub_url(*_, **__):
            return "url"
        def get_hf_file_metadata(url, timeout):
            try:
                raise ConnectionRefusedError(111, "Connection refused")
            except OSError as error:
                raise ValueError("something went wrong; check your connection") from error
        def hf_hub_download(*_, local_files_only):
            raise LocalEntryNotFoundError("not in the cache either")
    """
    library.write_text(dedent(code))
    assert complaint("org/good", kind=RunFailed) == (
        "it cannot be had from http://hub.example: ConnectionRefusedError: [Errno 111] Connection refused; "
        "give a local folder with a tokenizer.json, or a mirror's address as HF_ENDPOINT"
    )


def test_a_missing_library_is_told(library: Path) -> None:
    library.write_text("import no_such_module")
    assert complaint("org/good") == (
        "the hub's library is missing (ModuleNotFoundError: No module named 'no_such_module'): "
        "pip install huggingface-hub, or give a local folder with a tokenizer.json"
    )


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("import os; os._exit(9)", "the download failed: exit status 9; give a local folder"),
        (
            "import os, sys; sys.stderr.write('oh\\nno\\n'); sys.stderr.flush(); os._exit(9)",
            "the download failed: no; give a local folder",
        ),
    ],
)
def test_a_process_that_dies_is_told(library: Path, code: str, expected: str) -> None:
    library.write_text(code)
    assert complaint("org/good", kind=RunFailed) == expected


def test_a_download_without_an_end_is_given_up(library: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    library.write_text("import signal; signal.pause()")
    monkeypatch.setattr(tokenizer_file, "DOWNLOAD_TIMEOUT_S", 0.01)
    assert complaint("org/good", kind=RunFailed) == (
        "http://hub.example had not sent the tokenizer.json after 0.01 s; give a local folder that holds it"
    )


@pytest.mark.parametrize("number", [2, 15])
def test_an_interrupted_download_interrupts(library: Path, number: int) -> None:
    library.write_text(f"import os, signal; signal.signal({number}, signal.SIG_DFL); os.kill(os.getpid(), {number})")
    with pytest.raises(Interrupted) as caught:
        find_tokenizer("org/good")
    assert caught.value.signum == number


def test_what_the_hub_said_is_told_without_secrets(library: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_abcdefgh")
    code = """
        def hf_hub_url(*_, **__):
            return "url"
        def get_hf_file_metadata(url, timeout):
            raise ValueError("hf_abcdefgh is refused by 'http://me:s3cret@hub.example/org/name'")
        def hf_hub_download(*_, local_files_only):
            raise FileNotFoundError
    """
    library.write_text(dedent(code))
    with pytest.raises(RunFailed) as caught:
        find_tokenizer("org/name")
    assert "s3cret" not in str(caught.value)
    assert "hf_abcdefgh" not in str(caught.value)
    assert "hub.example" in str(caught.value)


def test_what_is_here_or_cannot_be_is_not_of_the_hub(tmp_path: Path) -> None:
    assert is_of_the_hub("org/name")
    assert not is_of_the_hub(str(tmp_path))
    assert not is_of_the_hub("./org")
    assert not is_of_the_hub("x" * 5000)
