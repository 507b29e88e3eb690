"""What the generator was asked for, read from its command line and checked. Opens nothing."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fluxperf.errors import UsageError
from fluxperf_tools.command import read_number, read_whole
from fluxperf_tools.prefix.design import Design
from fluxperf_tools.prefix.scales import MOCK, Template

DEFAULT_GROUPS, DEFAULT_PER_GROUP = 8, 8
DEFAULT_SHARED_TOKENS, DEFAULT_UNIQUE_TOKENS = 512, 64
DEFAULT_BLOCK_SIZES = (16, 1)
MOST_PROMPTS = 1_000_000
DEFAULT_SEED = 42


@dataclass(frozen=True, slots=True)
class Target:
    """A hit rate that is wanted, 0 to 1: by the split of prompts of `prompt_tokens`, or (None) by the groups' sizes."""

    hit_rate: float
    prompt_tokens: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The command line's values. `design` has its defaults in place of what the target is to find."""

    output: Path
    no_clobber: bool
    design: Design
    target: Target | None
    corpus: Path | None
    tokenizer: str | None
    revision: str | None
    template: Template
    block_sizes: tuple[int, ...]
    cache_tokens: tuple[int | None, ...]
    slots: tuple[int, ...]
    answer_tokens: int
    permutations: int | None

    @property
    def theory(self) -> Path:
        """The file beside the dataset."""
        return self.output.with_suffix(".theory.json")


def read_options(given: Mapping[str, Any]) -> Options:
    """The options as docopt found them. Raises UsageError."""
    output = Path(given["--output"])
    if output.name.endswith(".theory.json"):
        raise UsageError(f"--output {output} has the name of a file with the theory: name the dataset, such as x.jsonl")
    tokenizer = given["--tokenizer"]
    template = _template(given["--template-tokens"])
    if tokenizer == MOCK and template != Template():
        raise UsageError("--tokenizer mock knows the mock server's template: leave --template-tokens out")
    return Options(
        output=output,
        no_clobber=given["--no-clobber"],
        design=_design(given),
        target=_target(given),
        corpus=Path(given["--corpus"]) if given["--corpus"] is not None else None,
        tokenizer=tokenizer,
        revision=given["--tokenizer-revision"],
        template=template,
        block_sizes=_once("--block-sizes", [read_whole("--block-sizes", text, 1) for text in given["--block-sizes"]])
        or DEFAULT_BLOCK_SIZES,
        cache_tokens=(None, *sorted(_once("--cache-tokens", _cache_sizes(given)))),
        slots=_once("--slots", [read_whole("--slots", text, 1) for text in given["--slots"]]) or (1,),
        answer_tokens=_number(given, "--max-output-tokens", 1, 4),
        permutations=_number(given, "--permutations", 1, 0) or None,
    )


def read_seed(given: Mapping[str, Any]) -> int:
    """The seed alone. Raises UsageError."""
    seed = read_number(given, "--seed")
    return DEFAULT_SEED if seed is None else seed


def _design(given: Mapping[str, Any]) -> Design:
    turns = _number(given, "--turns", 1, 1)
    for name in ("--branching", "--reply-tokens"):
        if given[name] is not None and turns == 1:
            raise UsageError(f"{name} is about what follows a first turn: give --turns 2 or more, too")
    unique_tokens = _number(given, "--unique-tokens", 0, DEFAULT_UNIQUE_TOKENS)
    design = Design(
        groups=_number(given, "--groups", 1, DEFAULT_GROUPS),
        per_group=_number(given, "--per-group", 1, DEFAULT_PER_GROUP),
        shared_tokens=_number(given, "--shared-tokens", 0, DEFAULT_SHARED_TOKENS),
        unique_tokens=unique_tokens,
        zipf=_real("--zipf", given["--zipf"] or "0", 10),
        turns=turns,
        branching=_number(given, "--branching", 1, 1),
        reply_tokens=_number(given, "--reply-tokens", 1, max(unique_tokens, 1)) if turns > 1 else 0,
        repeat_distance=read_number(given, "--repeat-distance", 0),
        seed=read_seed(given),
    )
    if design.prompts > MOST_PROMPTS:
        raise UsageError(f"{design.prompts:,} prompts are more than the {MOST_PROMPTS:,} that are made: ask for fewer")
    return design


def _target(given: Mapping[str, Any]) -> Target | None:
    """Which of the sizes is free for the hit rate."""
    rate, prompt_tokens = given["--hit-rate"], given["--prompt-tokens"]
    if rate is None:
        if prompt_tokens is not None:
            raise UsageError("--prompt-tokens is for --hit-rate; else --shared-tokens and --unique-tokens say it")
        return None
    wanted = _real("--hit-rate", rate, 1)
    if given["--turns"] not in (None, "1"):
        raise UsageError("--hit-rate is for prompts of one turn: leave --turns out")
    lengths = [name for name in ("--shared-tokens", "--unique-tokens") if given[name] is not None]
    if prompt_tokens is not None:
        if lengths:
            raise UsageError(f"--hit-rate splits the --prompt-tokens: leave {' and '.join(lengths)} out")
        return Target(wanted, read_whole("--prompt-tokens", prompt_tokens, 1))
    if len(lengths) < 2:
        raise UsageError(
            "--hit-rate needs --prompt-tokens, which it splits; or --shared-tokens and --unique-tokens, for which it "
            "finds --per-group"
        )
    if given["--per-group"] is not None:
        raise UsageError("nothing is left for --hit-rate to find: leave out --per-group, or give --prompt-tokens")
    return Target(wanted, None)


def _template(texts: Sequence[str]) -> Template:
    if len(texts) not in (0, 2, 3):
        raise UsageError(f"--template-tokens takes BEFORE AFTER, or BEFORE AFTER BETWEEN, but has {len(texts)} numbers")
    numbers = [read_whole("--template-tokens", text, 0) for text in texts]
    if max(numbers, default=0) > 10_000:
        raise UsageError(f"--template-tokens {max(numbers)}: no chat template is that long")
    return Template(*numbers) if len(numbers) == 3 else Template(*numbers, *numbers[1:])


def _cache_sizes(given: Mapping[str, Any]) -> list[int]:
    texts = (text for text in given["--cache-tokens"] if text.lower() not in ("inf", "infinite"))
    return [read_whole("--cache-tokens", text, 1) for text in texts]


def _once(name: str, values: Sequence[int]) -> tuple[int, ...]:
    for value in values:
        if values.count(value) > 1:
            raise UsageError(f"{name} has {value} twice")
    return tuple(values)


def _number(given: Mapping[str, Any], name: str, least: int, default: int) -> int:
    number = read_number(given, name, least)
    return default if number is None else number


def _real(name: str, text: str, most: float) -> float:
    """A number from 0 to `most`; a share may be given in per cent."""
    found = re.fullmatch(r"([0-9]{1,6}\.?[0-9]{0,9}|\.[0-9]{1,9})(%?)", text)
    value = float(found[1]) / (100 if found[2] else 1) if found else -1.0
    if not 0 <= value <= most or (found and found[2] and most != 1):
        raise UsageError(f"{name} must be a number from 0 to {most:g}, but is {text!r}")
    return value
