"""setup.py, requirements.txt, constraints.txt, the changelog and the ways to start FluxPerf agree with each other."""

from __future__ import annotations

import os
import re
import runpy
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from packaging.requirements import Requirement

import fluxperf

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def setup(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The arguments that setup.py gives to setuptools."""
    arguments: dict[str, Any] = {}
    setuptools = ModuleType("setuptools")
    setuptools.setup = arguments.update  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "setuptools", setuptools)
    runpy.run_path(str(ROOT / "setup.py"))
    return arguments


def read_requirements(name: str) -> list[str]:
    lines = (ROOT / name).read_text("utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def test_requirements_are_those_of_setup(setup: dict[str, Any]) -> None:
    assert read_requirements("requirements.txt") == setup["install_requires"]


def test_constraints_pin_every_requirement_within_its_bounds(setup: dict[str, Any]) -> None:
    pins = dict(line.lower().split("==") for line in read_requirements("constraints.txt"))
    for text in [*setup["install_requires"], *setup["extras_require"]["dev"]]:
        requirement = Requirement(text)
        assert requirement.specifier, f"{text} has no lower bound"
        assert pins[requirement.name.lower()] in requirement.specifier


def test_every_package_is_installed(setup: dict[str, Any]) -> None:
    roots = {name: ROOT / folder for name, folder in setup["package_dir"].items()}
    folders = {(name, module.parent) for name, root in roots.items() for module in root.rglob("*.py")}
    found = {".".join([name, *folder.relative_to(roots[name]).parts]) for name, folder in folders}
    assert sorted(setup["packages"]) == sorted(found)
    assert [folder for _, folder in folders if not (folder / "__init__.py").exists()] == []


def test_every_source_root_is_installed(setup: dict[str, Any]) -> None:
    roots = [ROOT / "fluxperf", *ROOT.glob("mock/*/"), *ROOT.glob("tools/*/")]
    packages = {str(root.relative_to(ROOT)) for root in roots if (root / "__init__.py").exists()}
    assert set(setup["package_dir"].values()) == packages


def test_version_is_the_same_everywhere(setup: dict[str, Any]) -> None:
    newest = re.search(r"^## \[(.+?)\]", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)
    assert newest
    assert setup["version"] == fluxperf.__version__ == newest[1]


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """The real entry files of a clone, around a command that only says where it found the two packages."""
    root = tmp_path / "a clone"
    for name in ("bin/fluxperf", "fluxperf/__init__.py", "fluxperf/__main__.py"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, root / name)
    (root / "mock" / "fluxperf_mock").mkdir(parents=True)
    (root / "mock" / "fluxperf_mock" / "__init__.py").touch()
    (root / "fluxperf" / "cli.py").write_text(
        "import fluxperf, fluxperf_mock\n"
        "def main(argv=None):\n"
        "    print(fluxperf.__file__, fluxperf_mock.__file__, sep='\\n')\n"
        "    return 3\n"
    )
    return root


def run(*arguments: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *arguments], cwd=cwd, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("way", ["bin", "link", "module"])
def test_a_clone_runs_its_own_code_uninstalled(clone: Path, tmp_path: Path, way: str) -> None:
    link = tmp_path / "link"
    link.symlink_to(clone / "bin" / "fluxperf")
    starts: dict[str, list[str | Path]] = {
        "bin": [clone / "bin" / "fluxperf"],
        "link": [link],
        "module": ["-m", "fluxperf"],
    }
    # -S: without site-packages, where an installed FluxPerf could answer in the clone's place.
    ended = run("-S", *starts[way], cwd=clone if way == "module" else tmp_path)
    found = [str(clone / "fluxperf" / "__init__.py"), str(clone / "mock" / "fluxperf_mock" / "__init__.py")]
    assert (ended.returncode, ended.stdout.splitlines(), ended.stderr) == (3, found, "")


@pytest.mark.skipif(find_spec("fluxperf.cli") is None, reason="the command is not there yet")
@pytest.mark.parametrize("way", ["bin", "module"])
def test_version_is_printed(tmp_path: Path, way: str) -> None:
    starts: dict[str, list[str | Path]] = {"bin": [ROOT / "bin" / "fluxperf"], "module": ["-m", "fluxperf"]}
    ended = run(*starts[way], "--version", cwd=ROOT if way == "module" else tmp_path)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, f"fluxperf {fluxperf.__version__}\n", "")


def test_command_is_executable() -> None:
    assert os.access(ROOT / "bin" / "fluxperf", os.X_OK)
