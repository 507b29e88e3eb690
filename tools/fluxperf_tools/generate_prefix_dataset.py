"""The command that makes prompts with controlled sharing, and says what caches should make of them.

The parts are in the subpackage `prefix`; this module brings them together and writes the two files.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from hashlib import file_digest
from itertools import product
from pathlib import Path
from typing import Any

import msgspec

from fluxperf.errors import UsageError
from fluxperf.files import write_whole
from fluxperf.meter import track
from fluxperf_tools.command import complain, parse, run
from fluxperf_tools.prefix.account import Outcome, describe_cache, document, tell
from fluxperf_tools.prefix.blocks import BlockCache
from fluxperf_tools.prefix.composition import Composer, Lexicon, as_row
from fluxperf_tools.prefix.design import Design, Distances, Prompt, arrange, group_sizes
from fluxperf_tools.prefix.options import Options, read_options, read_seed
from fluxperf_tools.prefix.scales import Messages, Scale, load_scale
from fluxperf_tools.prefix.slots import DEFAULT_SLOTS, SlotCache
from fluxperf_tools.prefix.target import Surroundings, highest_rate, hit_rate, size_groups, split_prompt
from fluxperf_tools.prefix.theory import Cache, Forecast, Orders, Sharing, forecast
from fluxperf_tools.prefix.tree import TOKEN_BYTES, Chain, grow
from fluxperf_tools.prefix.words import own_words, read_corpus
from fluxperf_tools.summary import say, sized
from fluxperf_tools.writing import check_output, write_jsonl

USAGE = """Makes prompts that share their beginnings as you say, and tells what caches should hit of them.

Usage:
  generate_prefix_dataset.py --output=F [options] [--template-tokens=N]... [--block-sizes=N]... [--cache-tokens=N]...
                             [--slots=N]...
  generate_prefix_dataset.py (-h | --help)
  generate_prefix_dataset.py --version

F gets {"id", "text"} rows, with --turns {"id", "messages"}; F with the suffix .theory.json what to expect.
Numbers of tokens are of text, without what a chat template adds. Lists take spaces: --block-sizes 16 64.

The prompts:
  --output F              The dataset, JSONL
  --groups N              Groups; the prompts of one begin alike (default 8)
  --per-group N           Prompts a group, on average (default 8)
  --shared-tokens N       What a group's prompts begin with (default 512)
  --unique-tokens N       What follows, and differs from its first token on (default 64)
  --zipf X                Popularity: the group of rank r gets prompts in proportion to 1 / r^X (default 0)
  --turns N               Sessions of N turns, a prompt for each turn with its history before it (default 1)
  --branching N           Ways in which each turn but the last goes on (default 1)
  --reply-tokens N        Of each answer in a history; else as many as --unique-tokens
  --hit-rate X            Find sizes for this hit rate (0 to 1, or such as 60%) of round 1 in an endless cache of the
                          first of --block-sizes: the split of --prompt-tokens, or else --per-group
  --prompt-tokens N       Shared and unique ones together, for --hit-rate
  --repeat-distance N     Prompts of other groups between two uses of a group, in the file's order; else random
  --corpus F              Take the words from this text (UTF-8), as often as they are in it
  --seed N                Decides words and order (default 42)
  --no-clobber            Do not replace files
  --mixed                 Something else: the mix of datasets/MixedBench.jsonl, by the seed alone; no theory

How tokens are counted:
  --tokenizer NAME        A folder with a tokenizer.json, that file, or a model of the Hugging Face hub: exact for
                          that model. Or mock: as FluxPerf's mock server counts. Else tokens are estimated
  --tokenizer-revision R  Its branch, tag or commit on the hub
  --template-tokens N     BEFORE AFTER [BETWEEN]: tokens that the chat template puts before the first message, after a
                          question, and between an answer and the next question (else as many as AFTER)

The theory:
  --block-sizes N         Tokens of a cache's block; several (default 16 1)
  --cache-tokens N        Tokens that a cache holds; several. One without end is always there
  --slots N               Slots of a llama.cpp server (-np); several (default 1)
  --max-output-tokens N   Answers take room, too: as the run's option (default 4)
  --permutations N        Random orders to average over (default 20; beyond 10,000 prompts fewer, to 3)
  -h --help               Show this
  --version               Show the version

Exit codes: 0 done, 2 wrong usage, 3 something failed.
"""
_LISTS = ("--template-tokens", "--block-sizes", "--cache-tokens", "--slots")
# Beyond it the model of llama.cpp, which looks through all prompts that are held, would take minutes.
MOST_SLOT_PROMPTS = 5_000
_BATCH = 64
_OPTIONS_OF_MIXED = ("--mixed", "--output", "--seed", "--no-clobber")
_NEAR = 0.01
_NEAR_TOKENS = 2


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit code."""
    return run(lambda: _generate(sys.argv[1:] if argv is None else argv))


def _generate(argv: Sequence[str]) -> int:
    given = parse(USAGE, argv, _LISTS)
    if given["--mixed"]:
        return _mix(given)
    options = read_options(given)
    check_output(options.output, options.no_clobber)
    check_output(options.theory, options.no_clobber)
    _spare_corpus(options)
    words = own_words() if options.corpus is None else read_corpus(options.corpus)
    scale = load_scale(options.tokenizer, options.template, options.revision)
    options = replace(options, design=_settle(options, scale))
    prompts = arrange(options.design)
    lexicon = Lexicon(words, scale, are_ours=options.corpus is None)
    composer = Composer(options.design, lexicon)
    messages = [composer.messages(one) for one in track(prompts, "Writing prompts", len(prompts))]
    chains = grow(list(_encode(scale, messages)))
    outcome = _judge(options, scale, prompts, chains)
    rows = (as_row(one, texts) for one, texts in zip(prompts, messages, strict=True))
    written = write_jsonl(options.output, rows, no_clobber=options.no_clobber)
    with options.output.open("rb") as file:
        digest = file_digest(file, "sha256").hexdigest()
    write_theory(options.theory, outcome, digest)
    _warn(outcome, len(lexicon.starts))
    _warn_of_lengths(outcome, scale, messages)
    say(tell(outcome, sized(written.size_bytes), written.replaced))
    return 0


def _spare_corpus(options: Options) -> None:
    corpus = options.corpus
    for path in (options.output, options.theory):
        if corpus is not None and corpus.exists() and path.exists() and path.samefile(corpus):
            raise UsageError(f"{path} is the --corpus itself, and would be lost: choose another name")


def _mix(given: Mapping[str, Any]) -> int:
    from fluxperf_tools.prefix.mixed import mixed_texts

    others = [name for name, value in given.items() if value and name not in _OPTIONS_OF_MIXED]
    if others:
        raise UsageError(f"--mixed takes no {' and no '.join(others)}: leave out the one or the other")
    output, no_clobber = Path(given["--output"]), given["--no-clobber"]
    texts = mixed_texts(read_seed(given))
    written = write_jsonl(output, ({"text": text} for text in texts), no_clobber=no_clobber)
    replaced = " (replaced)" if written.replaced else ""
    say([f"{output}: {written.rows:,} prompts of many kinds, {sized(written.size_bytes)}{replaced}"])
    return 0


def write_theory(path: Path, outcome: Outcome, digest: str) -> None:
    """Writes the document, whole or not at all."""
    text = msgspec.json.format(msgspec.json.encode(document(outcome, digest)), indent=2)
    write_whole(path, [text, b"\n"])


def _settle(options: Options, scale: Scale) -> Design:
    """The design with the sizes that the target asks for. Complains if it cannot be had."""
    design, target = options.design, options.target
    if target is None:
        return design
    around = Surroundings(options.block_sizes[0], scale.head_tokens, scale.tail_tokens)
    is_beyond = False
    if target.prompt_tokens is None:
        is_beyond = target.hit_rate > highest_rate(design, around)
        design = size_groups(design, target.hit_rate, around)
    else:
        design = split_prompt(design, target.hit_rate, target.prompt_tokens, around)
    reached = hit_rate(design, around)
    if is_beyond or abs(reached - target.hit_rate) > _NEAR:
        nearest = f"the nearest to a hit rate of {100 * target.hit_rate:.1f}% is {100 * reached:.1f}%"
        complain(
            f"{nearest}, of {design.per_group:,} prompts a group: more is to be had of more --shared-tokens, fewer "
            "--unique-tokens, or groups as large as --per-group asks for"
            if is_beyond
            else f"{nearest}: more is to be had of larger groups, finer steps of smaller blocks or longer prompts"
        )
    return design


def _encode(scale: Scale, messages: Sequence[Messages]) -> Iterator[bytes]:
    for place in track(range(0, len(messages), _BATCH), "Counting tokens", -(-len(messages) // _BATCH)):
        yield from scale.encode(messages[place : place + _BATCH])


def _judge(options: Options, scale: Scale, prompts: Sequence[Prompt], chains: Sequence[Chain]) -> Outcome:
    groups = [one.group for one in prompts]
    permutations = options.permutations or max(min(20, 200_000 // len(prompts)), 3)
    orders = Orders(options.design.seed, permutations)
    caches = list(_caches(options, len(prompts)))
    forecasts: list[Forecast] = [
        forecast(cache, chains, orders) for cache in track(caches, "Simulating caches", len(caches))
    ]
    first_turns = [place for place, one in enumerate(prompts) if len(one.way) == 1]
    return Outcome(
        options,
        prompts,
        chains,
        Sharing.of([chains[place] for place in first_turns], [groups[place] for place in first_turns]),
        Distances.of(groups, [chain.tokens for chain in chains]),
        forecasts,
        scale.name,
        scale.exact,
    )


def _caches(options: Options, prompts: int) -> Iterator[Cache]:
    for block, room in product(options.block_sizes, options.cache_tokens):
        yield BlockCache(block, room, options.answer_tokens)
    if prompts <= MOST_SLOT_PROMPTS:
        for slots, host_memory in product(options.slots, (True, False)):
            yield SlotCache(slots, host_memory, False, options.answer_tokens)
        yield SlotCache(DEFAULT_SLOTS, True, True, options.answer_tokens)


def _warn(outcome: Outcome, starts: int) -> None:
    """Says where the texts may not be as designed, and which caches are too small."""
    design = outcome.options.design
    most = max(design.groups, *group_sizes(design))
    if most > starts:
        complain(
            f"{most:,} texts are to begin differently, but there are {starts:,} words: some begin with the same one, "
            "and share a token or two more; what they share was measured, and the theory is of that"
        )
    distance = design.repeat_distance
    if distance is not None and design.groups <= distance:
        complain(
            f"--repeat-distance {distance:,} takes {distance + 1:,} groups, but there are {design.groups:,}: what came "
            f"of it is {outcome.distances.most:,} at most"
        )
    for found in outcome.forecasts:
        if not found.fits:
            complain(f"{describe_cache(found.cache)}: a prompt with its answer is larger, so no engine could serve it")


def _warn_of_lengths(outcome: Outcome, scale: Scale, messages: Sequence[Messages]) -> None:
    """Says if prompts are longer or shorter than designed: words cannot make up every small number of tokens."""
    design = outcome.options.design
    around: dict[int, int] = {}  # by the number of turns, the tokens of the template alone
    differences = []
    for one, texts, chain in zip(outcome.prompts, messages, outcome.chains, strict=True):
        turns = len(one.way)
        if turns not in around:
            (empty,) = scale.encode([[(role, "") for role, _ in texts]])
            around[turns] = -(-len(empty) // TOKEN_BYTES)
        history = (turns - 1) * (design.unique_tokens + design.reply_tokens)
        designed = around[turns] + design.shared_tokens + design.unique_tokens + history
        differences.append(chain.tokens - designed)
    off = sum(abs(difference) > _NEAR_TOKENS for difference in differences)
    if off:
        complain(
            f"{off:,} of {len(differences):,} prompts are not as long as designed, by {min(differences):+,} to "
            f"{max(differences):+,} tokens, since words cannot make up every length; the theory is of what they are"
        )
