#!/usr/bin/env bash
# Runs examples/recipe_env_test.yaml as a user would, and checks what comes of it: the same load with the prefix cache
# off and on. Exit code 0: everything holds.
#
#   bash tests/test_recipe_env_integration.sh
#
# PYTHON names the interpreter (default: .venv's if it is there, else python3), FLUXPERF the command (bin/fluxperf).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

if [[ -z ${PYTHON:-} ]]; then
  PYTHON=python3
  [[ -x .venv/bin/python ]] && PYTHON=.venv/bin/python
fi
read -r -a fluxperf <<<"${FLUXPERF:-$PYTHON bin/fluxperf}"
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT

failures=0
check() {  # check WHAT COMMAND...
  local what=$1
  shift
  if "$@"; then
    echo "ok       $what"
  else
    echo "FAILED   $what"
    failures=$((failures + 1))
  fi
}

check "a dry run shows both stages" \
  bash -c '"${@:2}" | grep -q "Cache off" && "${@:2}" | grep -q "Cache on" && [[ ! -e $1 ]]' - "$place/run" \
  "${fluxperf[@]}" --recipe examples/recipe_env_test.yaml --output-dir "$place/run" --dry-run

export HF_TOKEN=hf_not_a_real_token_0123456789
code=0
"${fluxperf[@]}" --recipe examples/recipe_env_test.yaml --output-dir "$place/run" --no-progress \
  >"$place/out.txt" 2>"$place/err.txt" || code=$?
check "the recipe runs to its end (exit code $code)" test "$code" -eq 0
if ((code != 0)); then
  cat "$place/err.txt"
  exit 1
fi

check "the closing table has the stages side by side" grep -q "Stages Side by Side" "$place/out.txt"
for stage in "Cache off" "Cache on"; do
  for file in run.json metrics_summary.csv concurrency_1_round_1.json concurrency_1_round_2.json hooks.log; do
    check "$stage has $file" test -s "$place/run/$stage/$file"
  done
done
check "the hook saw the stage's variable" \
  grep -q "Cache off has ENABLE_PREFIX_CACHE=false" "$place/run/Cache off/hooks.log"
check "no file holds the token" bash -c '! grep -rq "$HF_TOKEN" "$1"' - "$place"

"$PYTHON" - "$place/run" <<'PYTHON' || failures=$((failures + 1))
"""Checks the figures of both stages."""
import csv
import json
import sys
from pathlib import Path

place = Path(sys.argv[1])
failed = 0


def check(what, holds):
    global failed
    print(f"{'ok      ' if holds else 'FAILED  '} {what}")
    failed += not holds


def summary(stage, number):
    return json.loads((place / stage / f"concurrency_1_round_{number}.json").read_text("utf-8"))["summary"]


run = json.loads((place / "run.json").read_text("utf-8"))
check("the run is complete", run["partial"] is False)
check("its stages are in order", [stage["name"] for stage in run["stages"]] == ["Cache off", "Cache on"])
env = [stage["env"]["ENABLE_PREFIX_CACHE"] for stage in run["stages"]]
check(f"their environment is on record: {env}", env == ["false", "true"])
for stage, low, high in (("Cache off", 0, 0), ("Cache on", 0.5, 1)):
    ratio = summary(stage, 2)["cached_tokens"]["ratio"]
    check(f"{stage}: {ratio:.1%} of round 2's prompt tokens came from the cache", low <= ratio <= high)
    check(f"{stage}: every request succeeded", summary(stage, 2)["failed_requests"] == 0)
off, on = (summary(stage, 2)["ttft_ms"]["p50"] for stage in ("Cache off", "Cache on"))
check(f"round 2's TTFT is lower with the cache: {off:.1f} -> {on:.1f} ms", on < off)
with (place / "metrics_summary.csv").open(encoding="utf-8-sig", newline="") as file:
    rows = [(row["stage"], row["round"]) for row in csv.DictReader(file)]
check("the summary has a row a stage and round", rows == [(s, r) for s in ("Cache off", "Cache on") for r in "12"])
sys.exit(bool(failed))
PYTHON

if ((failures)); then
  echo "test_recipe_env_integration: something does not hold"
  exit 1
fi
echo "test_recipe_env_integration: all of it holds"
