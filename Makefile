# `make demo` shows it, `make test` proves it. Each sets up .venv first, once.
PYTHON ?= python3
BIN := .venv/bin
PIP := PIP_CONSTRAINT=constraints.txt $(BIN)/python -m pip install --quiet --disable-pip-version-check
SHELL_FILES = .ci/run $(shell find metalfoundry scripts tests benchmarks -name '*.sh')

.DEFAULT_GOAL := help
.PHONY: help demo test unit check format docs faults mutations coverage fuzz bench bench-quick hints clean

help: ## this list
	@sed -n 's/^\([a-z-]*\):[^#]*## /  make \1 \t/p' $(MAKEFILE_LIST) | expand -t 20

demo: .venv/.lab ## see a server being re-installed in the embedded lab, and what hangs when it hangs
	@PATH="$(CURDIR)/$(BIN):$$PATH" sh scripts/demo.sh

# Most of a test's time is waiting for real processes, so three at a time are fine on two cores.
# They start the program some hundred times: it is compiled once, also where PYTHONDONTWRITEBYTECODE is set.
# A node of Kubernetes has the computer to itself: its pods get what is left of the processor beside all the others, and
# what is asked of them is a matter of seconds.
NODE = tests/real/test_guard_cluster.py
PART = $(findstring tests/,$(ARGS))
test: .venv/.dev ## all tests; what was skipped, and why, is listed at the end
	@$(BIN)/python -m compileall -q metalfoundry
	@$(if $(PART),:,$(BIN)/python -m pytest $(NODE) $(ARGS))
	@$(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder $(if $(PART),,--ignore=$(NODE)) $(ARGS)

# What needs no lab and no real parts: seconds instead of minutes.
unit: .venv/.dev ## the quick tests alone
	@$(BIN)/python -m pytest -q -n 3 --dist loadfile tests/model tests/commands tests/diagnosis tests/runs tests/site

check: .venv/.dev ## lint, format, types, shell scripts, dead code, code that stands twice
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/pyright
	@command -v shellcheck >/dev/null || { echo "shellcheck is missing: apt-get install shellcheck" >&2; exit 1; }
	@shellcheck $(SHELL_FILES)
	@$(BIN)/vulture
	@$(BIN)/python -m tests.duplicates

hints: .venv/.dev ## modules and functions that have grown long, for a review
	@$(BIN)/python -m tests.architecture

format: .venv/.dev ## put imports and layout in order
	@$(BIN)/ruff check --fix --select I .
	@$(BIN)/ruff format .

faults: .venv/.dev ## a fault at every command of a provision: the table of docs/faults.md
	@$(BIN)/python -m tests.faults.table

mutations: .venv/.dev ## each safety step taken out once: a test must fail
	@$(BIN)/python -m tests.mutations

coverage: .venv/.dev ## which lines and branches of the package the quick tests never reach
	@$(BIN)/python -m pytest -q -n 3 --dist loadfile --cov=metalfoundry --cov-branch --cov-report=term-missing:skip-covered tests/model tests/commands tests/diagnosis tests/runs tests/site tests/transport tests/records tests/ui

fuzz: .venv/.dev ## two thousand made-up clusters, machines and logs: no traceback, no control character
	@METALFOUNDRY_FUZZ=2000 $(BIN)/python -m pytest -q -n 2 --dist load tests/fuzz

docs: .venv/.dev ## write the tables that repeat what the code says
	@$(BIN)/python -m scripts.docs

bench: .venv/.dev ## the figures of the docs, measured again
	@set -e; export KUBEBUILDER_ASSETS="$$($(BIN)/python -c 'from tests.realtier import assets; print(assets() or "")')"; \
	for name in provision limit guard troubleshoot status fleet; do echo "== $$name"; $(BIN)/python -m "benchmarks.$$name"; done; \
	echo "== others"; $(BIN)/python -m benchmarks.others --write

bench-quick: .venv/.dev ## one run of each side, and ten servers at once: a look, not a figure
	@$(BIN)/python -m benchmarks.others --runs 1 --loops 1 --round-trips 20
	@$(BIN)/python -m benchmarks.fleet --servers 1 10 --failing 0 --killed 0

clean: ## remove what make, the tools and the lab have made
	@if [ -x $(BIN)/fab ]; then $(BIN)/fab lab.down; fi
	rm -rf .venv .lab .cache .mypy_cache .pytest_cache .ruff_cache .hypothesis build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "metalfoundry needs Python 3.11 or newer: make PYTHON=python3.11")'
	@echo "setting up .venv (once)"
	@$(PYTHON) -m venv .venv || { echo "on Debian and Ubuntu: apt-get install python3-venv" >&2; rm -rf .venv; exit 1; }

.venv/.lab: pyproject.toml constraints.txt | .venv/bin/python
	@$(PIP) --editable '.[lab]'
	@touch $@

.venv/.dev: pyproject.toml constraints.txt | .venv/bin/python
	@$(PIP) --editable '.[dev]'
	@touch .venv/.lab $@
