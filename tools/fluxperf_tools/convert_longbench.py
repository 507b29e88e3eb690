"""The command that turns LongBench into a dataset for FluxPerf: options in, a file and a summary out."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from fluxperf.errors import UsageError
from fluxperf_tools.command import parse, read_number, run

if TYPE_CHECKING:
    from fluxperf_tools.longbench.conversion import Order
    from fluxperf_tools.longbench.tasks import Format

USAGE = """\
Turns LongBench, from the Hugging Face hub or from files, into a dataset for
FluxPerf: one {"text": "..."} a line.

Usage: convert_longbench.py [--dataset=NAME]... [options]

From where (one of the three):
  --dataset NAME...  Tasks on the hub: narrativeqa, hotpotqa_e ..., longbench-v2
  --input-file F     A file: JSON lines, a JSON array, parquet or a zip of these
  --input-dir D      All .jsonl, .json, .parquet and .zip files in D and below

To where:
  --output F         The file to write; its folder is made
  --no-clobber       Refuse to replace a file

What:
  --num-samples N    So many entries of all sources together; not given: all
  --format NAME      auto, context_question, context_only, question_only or
                     concatenate. auto picks by the task [default: auto]
  --no-shuffle       In the order of the sources, not in one drawn by the seed
  --seed N           What the sample and its order are drawn by [default: 42]
  --min-tokens N     Only entries whose text has at least N tokens ...
  --max-tokens N     ... and at most N
  --tokenizer NAME   Count these with a model's tokenizer: a folder, a
                     tokenizer.json or a name on the hub; not given: an estimate
  --strict           End at the first bad line, instead of skipping it

  -h, --help         Show this
  --version          Show the version

The formats, of a row's context and input:
  context_question   {context}, a blank line, Question: {input}
  context_only       {context}
  question_only      {input}
  concatenate        {context}, a line end, {input}

Exit codes: 0 done, 2 wrong usage or nothing to use, 3 something failed (the
hub cannot be reached, the disk is full).
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line and returns its exit code."""
    return run(lambda: _convert(read_order(sys.argv[1:] if argv is None else argv)))


def read_order(argv: Sequence[str]) -> Order:
    """The options, read and checked. Raises UsageError."""
    given = parse(USAGE, argv, ["--dataset"])
    from fluxperf_tools.longbench.conversion import Order
    from fluxperf_tools.longbench.sample import Wish
    from fluxperf_tools.longbench.tasks import read_dataset_name

    sources = [name for name in ("--dataset", "--input-file", "--input-dir") if given[name]]
    if len(sources) != 1:
        said = f"{' and '.join(sources)} are given" if sources else "nothing is given to read"
        raise UsageError(f"{said}: exactly one of --dataset, --input-file and --input-dir is needed")
    if not given["--output"]:
        raise UsageError("--output is missing: the file to write")
    for name in given["--dataset"]:
        read_dataset_name(name)
    least, most = read_number(given, "--min-tokens", 0), read_number(given, "--max-tokens", 1)
    if least is not None and most is not None and least > most:
        raise UsageError(f"--min-tokens {least} is more than --max-tokens {most}: nothing would be left")
    return Order(
        names=tuple(given["--dataset"]),
        file=Path(given["--input-file"]) if given["--input-file"] else None,
        folder=Path(given["--input-dir"]) if given["--input-dir"] else None,
        output=Path(given["--output"]),
        no_clobber=given["--no-clobber"],
        strict=given["--strict"],
        form=_read_format(given["--format"]),
        wish=Wish(read_number(given, "--num-samples", 1), read_number(given, "--seed") or 0, not given["--no-shuffle"]),
        least_tokens=least,
        most_tokens=most,
        tokenizer=given["--tokenizer"],
    )


def _convert(order: Order) -> int:
    from fluxperf.plan.tokens import load_tokens
    from fluxperf_tools.longbench import conversion, sources
    from fluxperf_tools.summary import say
    from fluxperf_tools.writing import check_output

    check_output(order.output, order.no_clobber)
    tokens = load_tokens(order.tokenizer, parallel=True)
    if order.file is not None:
        found = sources.list_file(order.file, order.output)
    elif order.folder is not None:
        found = sources.list_folder(order.folder, order.output)
    else:
        found = sources.fetch(order.names)
    say(conversion.convert(found, order, tokens))
    return 0


def _read_format(name: str) -> Format | None:
    from fluxperf_tools.longbench.tasks import AUTO, FORMATS

    form = next((form for form in FORMATS if form == name), None)
    if form is None and name != AUTO:
        near = difflib.get_close_matches(name, [AUTO, *FORMATS], n=1)
        hint = f", did you mean {near[0]}?" if near else ""
        raise UsageError(f"--format: unknown format {name!r}{hint}\nknown are {', '.join([AUTO, *FORMATS])}")
    return form
