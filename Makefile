# Everything runs in .venv, with the exact versions of constraints.txt. Needs make, a C compiler and Python 3.11 or newer.

PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed

.PHONY: help venv demo test lint bench clean

help:
	@echo 'make demo    run the main job against the built-in mock server (results/demo)'
	@echo 'make test    run the tests'
	@echo 'make lint    ruff and mypy'
	@echo 'make bench   how accurate FluxPerf is here, and what it costs; BENCH="--repeat 3" adds options'
	@echo 'make venv    only make the virtual environment .venv'
	@echo 'make clean   remove .venv, builds and caches'

venv: $(STAMP)

$(STAMP): setup.py constraints.txt fluxperf/__init__.py
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo >&2 "FluxPerf needs Python 3.11 or newer, and '$(PYTHON)' is not. Try: make PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
		echo >&2 "'$(PYTHON)' cannot make virtual environments. On Debian and Ubuntu: apt install python3-venv"; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

demo: $(STAMP)
	$(BIN)/fluxperf --mock-server --dataset examples/example_dataset.json --num-samples 10 --concurrency 2 \
		--output-dir results/demo --overwrite

test: $(STAMP)
	$(BIN)/python -m pytest
	PYTHON=$(BIN)/python bash tests/test_recipe_env_integration.sh

lint: $(STAMP)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

bench: $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[bench]'
	$(BIN)/python -m bench $(BENCH)

clean:
	rm -rf .venv build dist *.egg-info .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
