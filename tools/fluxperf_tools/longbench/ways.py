"""Where LongBench's files may be on the Hugging Face hub. Asks nobody.

`datasets` runs no loading scripts since version 4, and LongBench's repository has one. So the files are
taken as they are: the parquet files that the hub itself has made of a dataset (the revision
`refs/convert/parquet`), or the archive that the script would have read.
"""

from __future__ import annotations

from dataclasses import dataclass

REPOSITORIES = {1: ("zai-org/LongBench", "THUDM/LongBench"), 2: ("zai-org/LongBench-v2", "THUDM/LongBench-v2")}
"""By edition. The second name is the former one, which the hub redirects and a mirror may still have."""

_CONVERTED = "refs/convert/parquet"


@dataclass(frozen=True, slots=True)
class Way:
    """Where a dataset may be found. `file` has a place for the number of a shard if there may be several of them."""

    repository: str
    revision: str
    file: str
    member: str | None = None

    def __str__(self) -> str:
        shown = self.file.format("*") if self.is_sharded else self.file
        return f"{self.repository}, {shown} of {self.revision}"

    @property
    def is_sharded(self) -> bool:
        """Whether there may be several files, numbered from 0."""
        return "{" in self.file


def list_ways(name: str, edition: int) -> list[Way]:
    """Where the dataset `name` may be, the best first: the files that were converted are smaller than the archive."""
    ways = []
    for repository in REPOSITORIES[edition]:
        if edition == 1:
            ways += [
                Way(repository, _CONVERTED, f"{name}/test/{{:>04}}.parquet"),
                Way(repository, "main", "data.zip", f"{name}.jsonl"),
            ]
        else:
            ways += [
                Way(repository, "main", "data.json"),
                Way(repository, _CONVERTED, "default/train/{:>04}.parquet"),
            ]
    return ways


def advise(way: Way) -> list[str]:
    """How to do without us."""
    file = "data.json" if way.repository == REPOSITORIES[2][0] else "data.zip"
    lines = [
        "To download it by hand, where there is a connection:",
        f"  hf download {way.repository} {file} --repo-type dataset --local-dir datasets/LongBench",
        f"or https://huggingface.co/datasets/{way.repository}/resolve/main/{file}",
    ]
    if file == "data.zip":
        return [*lines, "then unzip it, and give --input-file data/TASK.jsonl, or --input-dir for all tasks"]
    return [*lines, f"then give --input-file datasets/LongBench/{file}"]
