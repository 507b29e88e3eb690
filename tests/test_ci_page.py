"""What docs/ci.md tells users to type can be typed: its gates, its options, its workflow and its scripts."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from fluxperf.baselines.command import USAGE as BASELINE_USAGE
from fluxperf.plan.gate_checks import find_doubts
from fluxperf.plan.gates import METRICS, parse_gate
from fluxperf.usage import OPTIONS

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "ci.md").read_text("utf-8")
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
OF_COMPARE = {"--fail-on"}


def blocks(language: str) -> list[str]:
    return [text for name, text in BLOCKS if name == language]


def written_gates() -> list[str]:
    """The gates after `--fail-on`, in the table of gates, and in the recipe of the examples."""
    table = PAGE.partition("| gate | fails if |")[2].partition("\n\n")[0]
    recipe = yaml.safe_load((ROOT / "examples" / "ci_recipe.yaml").read_text("utf-8"))
    of_table = re.findall(r"^\| `(.*?)` \|", table, re.MULTILINE)
    return list(dict.fromkeys(re.findall(r"--fail-on '([^']*)'", PAGE) + of_table + recipe["gates"]))


def test_there_are_gates_of_every_kind() -> None:
    assert {parse_gate(text).against.value for text in written_gates()} == {"value", "baseline", "round"}


@pytest.mark.parametrize("text", written_gates())
def test_a_gate_is_one_that_is_meant(text: str) -> None:
    assert find_doubts([parse_gate(text)]) == []


def test_every_metric_is_in_the_table() -> None:
    table = PAGE.partition("| metric | statistics |")[2].partition("\n\n")[0]
    rows = [line.split("|")[1:3] for line in table.splitlines() if line.startswith("| `")]
    named = {
        name: set(re.findall(r"`(\w+)`", known)) for names, known in rows for name in re.findall(r"`(\w+)`", names)
    }
    assert named == {name: set(known) for name, known in METRICS.items()}


def test_options_are_ours() -> None:
    lines = [line for text in blocks("bash") + blocks("yaml") + blocks("sh") for line in joined(text)]
    commands = [line for line in lines if "fluxperf " in line and not line.lstrip().startswith("#")]
    assert len(commands) > 8
    for line in commands:
        words = line.partition("fluxperf ")[2].split()
        found = {word.partition("=")[0] for word in words if re.match(r"--[a-z]", word)}
        known = set(re.findall(r"--[a-z-]+", BASELINE_USAGE)) if words[0] == "baseline" else set(OPTIONS)
        assert found <= known | {"--port", "--prefill-tokens-per-s"}, line


def joined(text: str) -> list[str]:
    """Lines, those that end in a backslash with the next one."""
    return re.sub(r"\\\n\s*", " ", text).splitlines()


def test_the_workflow_is_one() -> None:
    workflow = yaml.safe_load(blocks("yaml")[0])
    steps = workflow["jobs"]["performance"]["steps"]
    assert [step["uses"].split("@")[0] for step in steps if "uses" in step] == [
        "actions/checkout",
        "actions/setup-python",
        "actions/upload-artifact",
    ]
    measure = next(step["run"] for step in steps if step.get("name") == "Measure")
    for option in ("--baseline", "--fail-on", "--junit", "--markdown", "--github", "--strict"):
        assert option in measure
    assert workflow["permissions"] == {"contents": "read"}


def scripts() -> list[str]:
    """All that a shell is given."""
    steps = yaml.safe_load(blocks("yaml")[0])["jobs"]["performance"]["steps"]
    return [*blocks("bash"), *blocks("sh"), *(step["run"] for step in steps if "run" in step)]


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_scripts_are_shell_scripts() -> None:
    assert len(scripts()) >= 5
    for script in scripts():
        ended = subprocess.run(["bash", "-n"], input=script, text=True, capture_output=True, check=False)
        assert (ended.returncode, ended.stderr) == (0, ""), script


def test_a_crontab_has_no_percent_sign_which_ends_the_command() -> None:
    (crontab,) = [text for text in blocks("") if text.startswith("MAILTO")]
    line = crontab.splitlines()[1]
    assert "%" not in line
    assert len(shlex.split(line)) == 9


def test_links_within_the_page_lead_somewhere() -> None:
    headings = re.findall(r"^#+ (.*)$", PAGE, re.MULTILINE)
    anchors = {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
    assert set(re.findall(r"\]\(#([\w-]+)\)", PAGE)) <= anchors
