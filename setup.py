"""Builds and installs FluxPerf. Tool settings are in pyproject.toml, exact versions in constraints.txt."""

import re
from pathlib import Path

from setuptools import setup

ROOT = Path(__file__).parent


def read_version() -> str:
    """The version that the package states, read without importing it (its dependencies may not be there yet)."""
    found = re.search(r'^__version__ = "(.+)"$', (ROOT / "fluxperf" / "__init__.py").read_text("utf-8"), re.MULTILINE)
    if not found:
        raise ValueError('fluxperf/__init__.py has no line __version__ = "..."')
    return found[1]


def read_readme() -> str:
    """The README, or nothing where it was left out of the copy that is built."""
    readme = ROOT / "README.md"
    return readme.read_text("utf-8") if readme.exists() else ""


setup(
    name="fluxperf",
    version=read_version(),
    description="A load-testing client for OpenAI-compatible LLM servers and their caches",
    long_description=read_readme(),
    long_description_content_type="text/markdown",
    author="FluxPerf contributors",
    license="MIT",
    license_files=["LICENSE"],
    classifiers=[
        "Environment :: Console",
        "Framework :: Trio",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3 :: Only",
        "Topic :: System :: Benchmark",
        "Typing :: Typed",
    ],
    python_requires=">=3.11",
    # Lower bounds are the oldest versions that the tests have passed with; requirements.txt repeats the list.
    install_requires=[
        "trio>=0.25",
        "httpx>=0.27",
        "h2>=4.1",
        "uvloop>=0.19",
        "hdrhistogram>=0.10.3",
        "msgpack>=1.0.7",
        "PyYAML>=6.0.1",
        "docopt-ng>=0.9",
        "httptools>=0.6.1",
        "msgspec>=0.18.5",
        "rich>=13.7",
        "numpy>=1.26",
        "scipy>=1.12",
        "prometheus-client>=0.20",
        "ijson>=3.2",
    ],
    extras_require={
        "bench": ["aiohttp>=3.10"],
        "convert": ["datasets>=3.0", "huggingface-hub>=0.24", "pyarrow>=16.0"],
        "report": ["bokeh>=3.4"],
        "tokenizers": ["tokenizers>=0.20", "huggingface-hub>=0.24"],
        "dev": [
            "bokeh>=3.4",
            "datasets>=3.0",
            "huggingface-hub>=0.24",
            "hypercorn>=0.18",
            "hypothesis>=6.170",
            "mypy>=2.4",
            "packaging>=26.0",
            "pyarrow>=16.0",
            "pytest>=9.2",
            "ruff>=0.17",
            "scipy-stubs>=1.17",
            "selenium>=4.20",
            "tokenizers>=0.20",
            "trustme>=1.2",
            "types-PyYAML>=6.0.12",
        ],
    },
    # Source roots instead of a src folder: they hold for normal, editable and uninstalled use alike.
    package_dir={
        "fluxperf": "fluxperf",
        "fluxperf_mock": "mock/fluxperf_mock",
        "fluxperf_tools": "tools/fluxperf_tools",
    },
    packages=[
        "fluxperf",
        "fluxperf.analysis",
        "fluxperf.api",
        "fluxperf.baselines",
        "fluxperf.calibrate",
        "fluxperf.compare",
        "fluxperf.engine",
        "fluxperf.launch",
        "fluxperf.model",
        "fluxperf.plan",
        "fluxperf.plan.recipe",
        "fluxperf.presentation",
        "fluxperf.processes",
        "fluxperf.report",
        "fluxperf.report.html",
        "fluxperf.stored",
        "fluxperf.watch",
        "fluxperf_mock",
        "fluxperf_tools",
        "fluxperf_tools.longbench",
        "fluxperf_tools.prefix",
        "fluxperf_tools.sharegpt",
    ],
    package_data={
        "fluxperf": ["py.typed"],
        "fluxperf.calibrate": ["exact_server/*"],
        "fluxperf.presentation": ["*.css", "*.js"],
    },
    entry_points={
        "console_scripts": [
            "fluxperf = fluxperf.cli:main",
            "fluxperf-convert-longbench = fluxperf_tools.convert_longbench:main",
            "fluxperf-generate-prefix-dataset = fluxperf_tools.generate_prefix_dataset:main",
            "fluxperf-process-sharegpt = fluxperf_tools.process_sharegpt:main",
            "fluxperf-validate-jsonl = fluxperf_tools.validate_jsonl:main",
        ]
    },
)
