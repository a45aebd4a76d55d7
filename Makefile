# `make` lists the targets. Everything lands in .venv; nothing outside this folder is touched.

PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	command -v $$p >/dev/null 2>&1 && $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	&& { echo $$p; break; }; done)
BIN := .venv/bin
CODE := api bench ingest projector schemas streamkit tests
PYTEST_ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help demo setup test check lint format bench chaos clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-7s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: setup ## The whole pipeline with simulated traffic and a live table (DEMO_ARGS="--seconds 10 --port 0")
	@$(BIN)/streamkit demo $(DEMO_ARGS)

setup: .venv/.installed ## Only .venv with the locked dependencies and .venv/bin/streamkit

test: .venv/.installed-dev ## Install what the tests need and run them (PYTEST_ARGS=tests/test_story.py)
	@$(BIN)/python -m pytest $(PYTEST_ARGS)

check: lint test ## Format, lint, types, import rules, tests

lint: .venv/.installed-dev ## The checks that run nothing: format, lint, types, import rules
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy $(wildcard $(CODE))
	@$(BIN)/lint-imports

format: .venv/.installed-dev ## Rewrite the code in the house format
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

bench: .venv/.installed-dev ## The numbers of docs/performance.md, into bench/results.json (BENCH_QUICK=1: under a minute)
	@$(BIN)/python bench/run.py

chaos: .venv/.installed-dev ## Kill, pause and slow everything at random, then check every number (ROUNDS=3 SEED=1 KIND=kafka)
	@$(BIN)/python -m tests.chaos --rounds $(or $(ROUNDS),3) $(if $(SEED),--seed $(SEED)) $(if $(KIND),--kind $(KIND))

clean: ## Remove .venv and the caches; data/ stays
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

.venv/bin/pip:
	@test -n "$(PYTHON)" || { echo "StreamKit needs Python 3.11 or newer, and none was found. Install it \
	(Debian: apt-get install python3 python3-venv), or name one: make PYTHON=/path/to/python3." >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "StreamKit needs Python 3.11 or newer; \
	$(PYTHON) is older. Name another: make PYTHON=/path/to/python3." >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "This Python cannot make a virtual environment. \
	Install what it lacks (Debian: apt-get install python3-venv)." >&2; exit 1; }
	@echo "Making .venv with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv .venv

PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check

.venv/.installed: requirements.lock pyproject.toml | .venv/bin/pip
	@echo "Installing the locked dependencies"
	@$(PIP) --require-hashes -r requirements.lock
	@$(PIP) --no-deps --no-build-isolation -e .
	@touch $@

.venv/.installed-dev: requirements-dev.lock .venv/.installed
	@echo "Installing what the tests need"
	@$(PIP) --require-hashes -r requirements-dev.lock
	@touch $@
