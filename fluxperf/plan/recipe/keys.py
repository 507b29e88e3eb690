"""The keys of a recipe's blocks: every option's name, older names, and those that only a recipe has."""

from __future__ import annotations

from fluxperf.plan.readers import READERS

TOP = ("global", "mock_server", "server", "vllm", "hooks", "gates", "stages", "suites", "continue_on_error")
SUITE = ("name", "stages", "env")
# Read apart from the options, since they belong to a stage's server, hooks and variables.
BLOCKS = ("server", "vllm", "hooks", "mock_server", "env")

ALIASES = {"concurrency_levels": "concurrency", "tokenizer_name": "tokenizer", "as": "lens"}
# Different words for the order of later rounds. The last is an older name.
ORDERS = ("round2_order", "no_shuffle_round2", "shuffle_round2")
# One directory holds all stages, and one voice speaks of them.
OF_CAMPAIGN = (
    *("output_dir", "overwrite", "quiet", "continue_on_error", "repeat", "baseline", "fail_on", "judge"),
    *("allow_different", "junit", "markdown", "github", "lens"),
)
# How the mock is started, which the block `mock_server` says as well.
OF_MOCK = {"mock_host": "host", "mock_port": "port"}
# Options that make no sense within the file that one of them names.
_OF_COMMAND = frozenset({"recipe", "dry_run", "resume"})


def setting_name(key: str) -> str:
    """The name of the setting that a key is about."""
    return "round2_order" if key in ORDERS else ALIASES.get(key, key)


def option_keys(later: frozenset[str]) -> tuple[str, ...]:
    """The keys that `global` and a stage have in common. `later` are the options that are not yet built."""
    more = ("shuffle_round2", "output", "tokenizer_trust_remote_code", "continue_on_error", "env")
    return tuple(dict.fromkeys((*READERS, *ALIASES, *more, *sorted(later - _OF_COMMAND))))


def stage_keys(later: frozenset[str]) -> tuple[str, ...]:
    """The keys of a stage."""
    return tuple(dict.fromkeys(("name", *BLOCKS, *option_keys(later))))
