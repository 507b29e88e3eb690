"""What the command line takes, as text and as tables made from it."""

from __future__ import annotations

import re

USAGE = """FluxPerf: how much does the cache of an OpenAI-compatible LLM server help, and can the number be trusted?

Usage:
  fluxperf [run] [options]
  fluxperf mock [MOCK_OPTIONS...]
  fluxperf compare BASE NEW [COMPARE_OPTIONS...]
  fluxperf report DIR... [REPORT_OPTIONS...]
  fluxperf baseline save|list|show [BASELINE_OPTIONS...]
  fluxperf calibrate [CALIBRATE_OPTIONS...]
  fluxperf --help | --version

`run`, which may be left out, sends the same prompts in rounds at each level of concurrency, streams
every answer, and compares the rounds prompt by prompt. `mock` is a mock LLM server, `compare` says whether one run is
slower than another, `report` makes report.html again, or one page of several runs, `baseline` keeps runs to compare
with, `calibrate` finds out how much load a worker can measure on this machine; each has --help.
A list takes spaces: --concurrency 5 10 20.

A campaign:
  --recipe FILE              Stages, environments and the server under test, in YAML (docs/RECIPE_GUIDE.md); options
                             given beside it override it
  --dry-run                  Show what would be run, and start nothing
  --resume                   Go on with the run in --output-dir that was interrupted
  --continue-on-error        After a stage that failed go on with the next; exit code 3 at the end

What to send, and where:
  --dataset FILE             Prompts: JSONL, a JSON array, or {"data": [...]}
  --endpoint URL             Full URL of chat completions, e.g. http://localhost:8000/v1/chat/completions
  --model NAME               Default: the one model that the server lists
  --api-key KEY              Default: from the environment, FLUXPERF_API_KEY or OPENAI_API_KEY
  --api-key-env NAME         Take the key from this environment variable
  --header HEADER            A further header, 'Name: value'; may be repeated
  --num-samples N...         Prompts a level: one number, or one for each level; default: all
  --concurrency N...         Requests in flight, one level after the other [default: 10]
  --same-samples             Use the same prompts at every level
  --mode MODE                dual_round: every prompt by itself; multi_turn: sessions, turn by turn, each with its
                             history [default: dual_round]
  --max-context-tokens N     Of a session: drop the oldest turns beyond N tokens
  --own-history              Of a session: each round sends its own answers as history, not those of round 1
  --think-time S             Of a session: the pause before each further turn, or a range such as 0.5-2
                             [default: 0]
  --rounds N                 Rounds of the same prompts [default: 2]
  --round1-order ORDER       What is sent, and in which order: shuffled (drawn by the seed), or file (the dataset from
                             its beginning) [default: shuffled]
  --round2-order ORDER       Of later rounds: shuffled, same or reversed [default: shuffled]
  --no-shuffle-round2        The same as --round2-order same
  --control-round            After the last round, one of fresh prompts of the same lengths, which nothing can hit:
                             what the cache gives is told net of what a warmer server gives
  --salt                     Begin every prompt with a salt, another one at each level and in each run, so that
                             round 1 is cold on servers whose cache cannot be emptied
  --seed N                   Decides what is drawn and how it is shuffled [default: 42]

What to ask for:
  --max-output-tokens N      [default: 256]
  --min-output-tokens N
  --temperature X            [default: 0]
  --top-p X
  --extra-body JSON          Further keys of the body; a null removes a key
  --max-input-length N       Cut each prompt to N tokens; without a tokenizer, to N characters
  --tokenizer NAME           Count tokens with a model's own tokenizer: a folder with a tokenizer.json, that file, or
                             a model of the Hugging Face hub; without it, tokens of prompts are an estimate where the
                             server does not count them
  --tokenizer-revision REV   Its branch, tag or commit on the hub

The client:
  --timeout S                For a whole request, from sent to end [default: 300]
  --workers N                Processes; default: one a core, at most the concurrency
  --http VERSION             auto, 1.1 or 2; auto: what the server picks over TLS, else 1.1 [default: auto]
  --streams-per-connection N
                             Requests at once on an HTTP/2 connection, if the server allows [default: 4]
  --timestamps SOURCE        auto, kernel or user: what stamps arrivals [default: auto]
  --ca-file FILE             Certificates to trust (PEM), in place of the system's
  --client-cert FILE         Our certificate (PEM), for servers that ask for one
  --client-key FILE          Its private key, where that is not in the same file
  --insecure                 Trust any certificate
  --slo-file FILE            Service level objectives (YAML), for goodput

The server's cache and metrics:
  --engine ENGINE            auto, vllm, sglang, llamacpp, lmcache, trtllm or none: whose counters of cache hits to
                             read; auto: found out [default: auto]
  --reset-cache-url URL      Call this to empty the cache before the first round, and see that it was
  --reset-cache-between-rounds
                             Before each later round, too
  --reset-cache-between-concurrency
                             Before the first round of each later level, too
  --prometheus-url URL       A /metrics page, or a Prometheus server
  --prometheus-metrics M...  Metrics to show beside TTFT: name, or name{label="value"}

The built-in mock server:
  --mock-server              Start it and test it; an endpoint given beside it is overridden
  --mock-host HOST           [default: 127.0.0.1]
  --mock-port PORT           0: any free port [default: 0]

To fail a build (docs/ci.md):
  --repeat N                 Run the whole plan N times: what differs from run to run is then in the intervals
                             [default: 1]
  --baseline NAME            A baseline (fluxperf baseline), or the directory of a run, to compare with
  --fail-on GATE             End with exit code 1 if this holds, such as 'ttft_ms.p99 > +10%' (against the baseline),
                             'goodput.ratio < 0.95' or 'round2/round1 ttft_ms.p50 > 0.6'; may be repeated
  --judge HOW                Gates go by the interval, so that noise fails no build, or by the point
                             [default: interval]
  --allow-different          Compare also with a baseline of another model, dataset or plan
  --junit FILE               Gates as JUnit XML
  --markdown FILE            A summary for a pull request; it is added to what is in the file
  --github                   Gates as annotations of GitHub Actions, on stdout

What to leave behind:
  --output-dir DIR           [default: results]
  --overwrite                Replace an earlier run in DIR; without it, that run is renamed
  --save-requests            Keep every body, answer and event time
  --debug                    A line for each request's life
  --debug-verbose            The same with payloads, a file a session
  --debug-log-dir DIR        [default: debug_logs]
  --label LABEL              K=V to keep with the result; may be repeated
  --as TOOL                  Print the figures by the definitions of vllm or aiperf, too (docs/lens.md)
  --quiet                    Say nothing but errors
  --no-progress              No live progress
  --strict                   End with exit code 4 if the measurement is invalid
  -h, --help
  --version

Exit codes: 0 done, 1 a gate failed, 2 wrong usage, 3 the run failed, 4 invalid and --strict, 130 and 143 interrupted.
"""

LISTS = frozenset({"--num-samples", "--concurrency", "--prometheus-metrics"})
REPEATED = frozenset({"--fail-on", "--header", "--label"})

COMMANDS = ("run", "mock", "compare", "report", "baseline", "calibrate")
# Promised, not built. Each is taken out of here when it is.
LATER_OPTIONS = frozenset(
    f"--{name}"
    for group in (
        (
            "arrival",
            "cooldown",
            "duration",
            "grace",
            "max-in-flight",
            "replay-round1",
            "request-rate",
            "speed",
            "sweep",
        ),
        ("launcher", "nodes", "ray-address", "rows", "trace", "warmup", "workers-per-node"),
    )
    for name in group
)

_OPTION_LINE = re.compile(r"^  (?:-h, )?(--[a-z0-9-]+)(?: ([A-Z]+(?:\.\.\.)?))?(?:  |$)", re.MULTILINE)
OPTIONS: dict[str, bool] = {name: bool(value) for name, value in _OPTION_LINE.findall(USAGE)}
