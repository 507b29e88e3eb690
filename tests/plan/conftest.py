from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.plan.model_hub import ModelHub
from tests.plan.tokenizers_made import KINDS


@pytest.fixture(scope="session")
def tokenizer_folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A folder with a tokenizer.json for each kind; made in this thread alone, since other tests fork."""
    pytest.importorskip("tokenizers")
    folders = {name: tmp_path_factory.mktemp(name) for name in KINDS}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TOKENIZERS_PARALLELISM", "false")
        for name, folder in folders.items():
            KINDS[name]().save(str(folder / "tokenizer.json"))
    return folders


@pytest.fixture
def model_hub(
    tokenizer_folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[ModelHub]:
    """A hub with one model, org/good, that who asks the hub is led to; its cache is empty."""
    for name in ("HF_TOKEN", "HF_HUB_OFFLINE", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        monkeypatch.delenv(name, raising=False)
    hub = ModelHub()
    hub.files["tokenizer.json"] = (tokenizer_folders["byte_level"] / "tokenizer.json").read_bytes()
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub cache"))
    monkeypatch.setenv("HF_ENDPOINT", hub.url)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with hub.serving():
        yield hub
