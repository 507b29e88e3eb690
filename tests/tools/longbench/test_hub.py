from __future__ import annotations

import io
import json
import sys
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fluxperf.errors import RunFailed, UsageError
from fluxperf_tools.longbench.hub import Fetched, Hub, check_library
from fluxperf_tools.longbench.ways import list_ways
from fluxperf_tools.reading import Record, read_records
from tests.tools import hub as fake
from tests.tools.longbench_rows import Row, lines, row, row_v2
from tests.tools.parquet_files import write_parquet

NEW, OLD = "zai-org/LongBench", "THUDM/LongBench"
SHARD = "qasper/test/000{}.parquet"


def as_parquet(rows: Iterable[Row]) -> bytes:
    file = io.BytesIO()
    write_parquet(list(rows), file)
    return file.getvalue()


def as_zip(*tasks: str) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for task in tasks:
            archive.writestr(f"data/{task}.jsonl", lines(row(task, number) for number in range(4)))
    return file.getvalue()


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HF_TOKEN", "HF_ENDPOINT", "HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    # It would ask the true hub, whatever the endpoint is.
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_TELEMETRY", True)


@pytest.fixture
def server() -> Iterator[fake.Hub]:
    with fake.serve(fake.Hub()) as hub:
        yield hub


class Fetcher:
    """Fetches from the server with one cache, each time as a new process would."""

    def __init__(self, server: fake.Hub, cache: Path) -> None:
        self.server = server
        self.cache = cache

    def __call__(self, name: str = "qasper", edition: int = 1, patience_s: float = 30) -> Fetched:
        return Hub(self.server.url, self.cache, patience_s).fetch(name, list_ways(name, edition))

    def ids(self, fetched: Fetched) -> list[Any]:
        found = [one for path in fetched.paths for one in read_records(path, member=fetched.member)]
        assert all(isinstance(one, Record) for one in found)
        return [one.value["_id"] for one in found if isinstance(one, Record)]

    def failure(self, **how: Any) -> list[str]:
        with pytest.raises(RunFailed) as caught:
            self(**how)
        return str(caught.value).splitlines()


@pytest.fixture
def fetch(server: fake.Hub, tmp_path: Path) -> Fetcher:
    return Fetcher(server, tmp_path / "cache")


def test_converted_parquet_comes_first_with_all_its_shards(server: fake.Hub, fetch: Fetcher) -> None:
    rows = [row("qasper", number) for number in range(6)]
    for shard in range(3):
        server.add(NEW, SHARD.format(shard), as_parquet(rows[2 * shard : 2 * shard + 2]), fake.PARQUET)
    server.add(NEW, "data.zip", as_zip("qasper"))
    fetched = fetch()
    assert fetch.ids(fetched) == [one["_id"] for one in rows]
    assert fetched.origin.startswith(f"{NEW}, qasper/test/000*.parquet of refs/convert/parquet (3 files), commit ")
    assert not any("data.zip" in line or "/api/" in line for line in server.asked)


@pytest.mark.parametrize("is_large", [False, True])
@pytest.mark.parametrize("sends_codes", [False, True])
def test_the_archive_comes_next(
    server: fake.Hub, fetch: Fetcher, is_large: bool, sends_codes: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    server.sends_codes = sends_codes
    server.add(NEW, "hotpotqa/test/0000.parquet", as_parquet([row("hotpotqa", 1)]), fake.PARQUET)
    server.add(NEW, "data.zip", as_zip("qasper", "qasper_e", "lcc"), is_large=is_large)
    fetched = fetch("qasper_e")
    assert fetched.member == "data/qasper_e.jsonl"
    assert fetch.ids(fetched) == [row("qasper_e", number)["_id"] for number in range(4)]
    assert "data.zip of main, commit" in fetched.origin
    assert f"qasper_e: not from {NEW}, qasper_e/test/000*.parquet" in capsys.readouterr().err


def test_the_former_name_serves_where_the_new_one_is_unknown(server: fake.Hub, fetch: Fetcher) -> None:
    server.add(OLD, "data.zip", as_zip("qasper"))
    assert fetch().origin.startswith(f"{OLD}, data.zip")


def test_a_redirect_from_the_former_name_is_followed(server: fake.Hub, fetch: Fetcher) -> None:
    server.add(NEW, "data.zip", as_zip("qasper"))
    server.moved[f"datasets/{OLD}"] = f"datasets/{NEW}"
    hub = Hub(server.url, fetch.cache)
    fetched = hub.fetch("qasper", [way for way in list_ways("qasper", 1) if way.repository == OLD])
    assert fetch.ids(fetched)


def test_the_second_edition_is_json_or_parquet(server: fake.Hub, fetch: Fetcher, tmp_path: Path) -> None:
    rows = [row_v2(number) for number in range(3)]
    server.add("THUDM/LongBench-v2", "default/train/0000.parquet", as_parquet(rows), fake.PARQUET)
    assert fetch.ids(fetch("longbench-v2", 2)) == [one["_id"] for one in rows]
    server.add("zai-org/LongBench-v2", "data.json", json.dumps(rows).encode())
    fetched = fetch("longbench-v2", 2)
    assert fetched.origin.startswith("zai-org/LongBench-v2, data.json of main")
    assert fetch.ids(fetched) == [one["_id"] for one in rows]


def test_what_is_broken_is_passed_over_and_named(server: fake.Hub, fetch: Fetcher) -> None:
    whole = as_zip("qasper")
    server.add(NEW, SHARD.format(0), b"PAR1, but no more", fake.PARQUET)
    server.add(NEW, "data.zip", whole[:-30])
    server.add(OLD, SHARD.format(0), as_parquet([row("qasper", 1)])[:-9], fake.PARQUET)
    spoiled = bytearray(whole)
    spoiled[60:80] = bytes(20)
    server.add(OLD, "data.zip", bytes(spoiled))
    said = fetch.failure()
    assert sum("what came is a broken" in line and "delete" in line for line in said) == 4
    assert any("hf download zai-org/LongBench data.zip" in line for line in said)
    assert "--input-file" in said[-1]


def test_a_download_that_breaks_off_goes_on_and_in_the_end_is_given_up(server: fake.Hub, fetch: Fetcher) -> None:
    server.add(NEW, "data.zip", as_zip("qasper"), breaks=1)
    assert fetch.ids(fetch())
    assert sum(line.startswith("GET") for line in server.asked) == 2
    server.add(NEW, "data.zip", as_zip("qasper", "lcc"), breaks=99)
    assert any("data.zip of main: nothing came for 1 s" in line for line in fetch.failure(name="lcc", patience_s=1))


@pytest.mark.parametrize("way", ["stalls", "asks to wait for an hour"])
def test_what_does_not_move_is_given_up(server: fake.Hub, fetch: Fetcher, way: str) -> None:
    server.headers = {"Retry-After": "3600"}
    how: dict[str, Any] = {"stalls": True} if way == "stalls" else {"get_status": 429}
    server.add(NEW, "data.zip", as_zip("qasper"), **how)
    assert any("data.zip of main: nothing came for 0.5 s" in line for line in fetch.failure(patience_s=0.5))


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (401, "the hub asks for a token (401), and HF_TOKEN is not set"),
        (403, "gated"),
        (429, "too many requests"),
        (500, "the hub answers 500"),
        (502, "502"),
    ],
)
def test_a_hub_that_refuses_is_asked_once_for_each_way(
    server: fake.Hub, fetch: Fetcher, status: int, said: str
) -> None:
    server.refuses = {f"datasets/{NEW}": status, f"datasets/{OLD}": status}
    server.headers = {"Retry-After": "3600"}
    told = fetch.failure()
    assert said in told[1]
    assert f"{NEW} and {OLD}" in told[1]
    assert len(server.asked) == 4


def test_another_server_is_not_taken_for_a_hub(server: fake.Hub, fetch: Fetcher) -> None:
    server.sends_commit = False
    server.add(NEW, "data.zip", as_zip("qasper"))
    assert any("check HF_ENDPOINT" in line for line in fetch.failure())


def test_what_the_archive_lacks_is_named(server: fake.Hub, fetch: Fetcher) -> None:
    server.add(NEW, "data.zip", as_zip("qasper"))
    assert any("there is no narrativeqa_e.jsonl in it" in line for line in fetch.failure(name="narrativeqa_e"))


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "http://no-such-host.invalid"])
def test_a_dead_hub_is_given_up_at_once(server: fake.Hub, fetch: Fetcher, url: str) -> None:
    server.url = url
    told = fetch.failure()
    assert told[0] == f"qasper could not be loaded from {url}. Tried:"
    assert "no connection" in told[1]


@pytest.mark.parametrize("sharded", [True, False])
def test_without_a_hub_the_cache_serves(
    server: fake.Hub, fetch: Fetcher, sharded: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    if sharded:
        for shard in range(2):
            server.add(NEW, SHARD.format(shard), as_parquet([row("qasper", shard)]), fake.PARQUET)
    else:
        server.add(NEW, "data.zip", as_zip("qasper"))
    first = fetch()
    capsys.readouterr()
    live, server.url = server.url, "http://127.0.0.1:1"
    assert fetch().paths == first.paths
    assert "is taken from the cache: no connection" in capsys.readouterr().err
    server.url = live
    server.refuses = {f"datasets/{NEW}": 503}
    assert fetch().paths == first.paths
    assert "is taken from the cache: the hub answers 503" in capsys.readouterr().err


def test_a_hub_that_fails_between_two_shards_gives_no_half_dataset(server: fake.Hub, fetch: Fetcher) -> None:
    server.add(NEW, SHARD.format(0), as_parquet([row("qasper", 0)]), fake.PARQUET)
    server.add(NEW, SHARD.format(1), as_parquet([row("qasper", 1)]), fake.PARQUET, status=500)
    assert any("the hub answers 500" in line for line in fetch.failure())


def test_the_token_is_sent_and_never_shown(
    server: fake.Hub, fetch: Fetcher, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    server.token = "hf_right1234"
    server.add(NEW, "data.zip", as_zip("qasper"), is_large=True)
    for wrong in ("hf_wrong1234", "hf_wrong1234\nX-Evil: 1", "hf_wrong1234é"):
        monkeypatch.setenv("HF_TOKEN", wrong)
        assert "hf_wrong" not in "\n".join(fetch.failure()) + "".join(capsys.readouterr())
    monkeypatch.setenv("HF_TOKEN", "hf_right1234")
    assert fetch.ids(fetch())
    assert "Bearer hf_right1234" in server.tokens
    assert "hf_right" not in "".join(capsys.readouterr())
    elsewhere = [token for line, token in zip(server.asked, server.tokens, strict=True) if "/elsewhere/" in line]
    assert elsewhere == [None]


def test_a_token_in_what_a_library_says_is_masked(
    server: fake.Hub, fetch: Fetcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_right1234")
    hub = Hub(server.url, fetch.cache)

    def refuse(*_: object, **__: object) -> None:
        raise OSError("illegal header value: Bearer hf_right1234")

    monkeypatch.setattr("huggingface_hub.get_hf_file_metadata", refuse)
    with pytest.raises(RunFailed) as caught:
        hub.fetch("qasper", list_ways("qasper", 1))
    assert "illegal header value: Bearer ****" in str(caught.value)


def test_a_password_in_the_address_is_not_shown(server: fake.Hub, fetch: Fetcher) -> None:
    server.url = "http://me:secret99@127.0.0.1:1"
    assert "secret99" not in "\n".join(fetch.failure())


@pytest.mark.parametrize("missing", ["datasets", "huggingface_hub"])
def test_without_the_library_it_says_how_to_install_it(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    check_library()
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(UsageError) as caught:
        check_library()
    assert "pip install datasets" in str(caught.value).splitlines()


def test_several_datasets_ask_for_a_file_once_and_say_what_is_refused_once(
    server: fake.Hub, fetch: Fetcher, capsys: pytest.CaptureFixture[str]
) -> None:
    server.add(OLD, "data.zip", as_zip("qasper", "lcc", "trec"))
    hub = Hub(server.url, fetch.cache)
    for name in ("qasper", "lcc", "trec"):
        assert fetch.ids(hub.fetch(name, list_ways(name, 1)))
    assert sorted(line.rpartition("/datasets/")[2] for line in server.asked) == [
        *[f"{OLD}/resolve/main/data.zip"] * 3,  # twice its head, then the file
        f"{OLD}/resolve/refs/convert/parquet/qasper/test/0000.parquet",  # where the revision is not there
        f"{NEW}/resolve/refs/convert/parquet/qasper/test/0000.parquet",  # where the repository is not there
    ]
    told = capsys.readouterr().err.splitlines()
    assert [line.partition("not from ")[2].partition(",")[0] for line in told] == [NEW, OLD]


def test_files_that_are_not_there_are_asked_for_and_said_one_by_one(
    server: fake.Hub, fetch: Fetcher, capsys: pytest.CaptureFixture[str]
) -> None:
    server.add(NEW, SHARD.format(9), b"", fake.PARQUET)
    server.add(NEW, "data.zip", as_zip("qasper", "lcc"))
    hub = Hub(server.url, fetch.cache)
    for name in ("qasper", "lcc", "qasper"):
        hub.fetch(name, list_ways(name, 1))
    told = capsys.readouterr().err.splitlines()
    assert [line.partition(": ")[2].partition(":")[0] for line in told] == ["qasper", "lcc"]
    assert sum("convert" in line for line in server.asked) == 2


def test_where_no_answer_comes_in_time_nothing_more_is_asked(
    server: fake.Hub, fetch: Fetcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    class ReadTimeout(Exception):
        """As the library's HTTP client has it."""

    asked = []

    def wait(url: str, **_: object) -> None:
        asked.append(url)
        raise ReadTimeout

    monkeypatch.setattr("huggingface_hub.get_hf_file_metadata", wait)
    assert any("no answer in time (ReadTimeout)" in line for line in fetch.failure())
    assert len(asked) == 1


def test_after_a_download_that_stands_still_nothing_more_is_waited_for(server: fake.Hub, fetch: Fetcher) -> None:
    for repository in (NEW, OLD):
        server.add(repository, "data.zip", as_zip("qasper"), stalls=True)
    fetch.failure(patience_s=0.5)
    assert sum(line.startswith("GET") for line in server.asked) == 1


def test_a_token_that_may_be_needed_is_named_where_there_is_none(
    server: fake.Hub, fetch: Fetcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert any("a private one; one that is not public needs a token" in line for line in fetch.failure())
    monkeypatch.setenv("HF_TOKEN", "hf_right1234")
    assert not any("HF_TOKEN" in line for line in fetch.failure())
    server.refuses = {f"datasets/{NEW}": 401, f"datasets/{OLD}": 401}
    assert any("the hub refuses the token (401)" in line for line in fetch.failure())


def test_a_token_is_masked_where_there_is_no_connection(
    server: fake.Hub, fetch: Fetcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_right1234")

    def refuse(*_: object, **__: object) -> None:
        raise ConnectionError("no way for hf_right1234")

    monkeypatch.setattr("huggingface_hub.get_hf_file_metadata", refuse)
    assert "no connection (no way for ****)" in "\n".join(fetch.failure())
