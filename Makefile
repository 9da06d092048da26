# `make` lists the targets.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
TRUTH ?= ../shared/truth
PYTEST := $(BIN)/python -m pytest

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-clients test-chaos lint format check truth conformance critest bench docs clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

$(STAMP): pyproject.toml requirements-dev.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps --editable .
	@touch $@

setup: $(STAMP) ## make the virtual environment and install into it

demo: setup ## run the guestbook on a cluster of its own (KEEP=1 leaves it up)
	@$(BIN)/python examples/guestbook/demo.py $(if $(KEEP),--keep)

test: setup ## set up, and pass the tests
	$(PYTEST) -n 2 -m "not clients and not chaos"

test-clients: setup ## real client programs against a running server
	$(PYTEST) -n 2 -m clients

test-chaos: setup ## kills, dead disks, lost power, many times over
	$(PYTEST) -m chaos --timeout 900

lint: setup ## ruff, import-linter, mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/mypy

format: setup ## let ruff format everything
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

check: lint test ## what must pass before a commit

truth: setup ## replay exchanges recorded from the upstream server (TRUTH=folder)
	@$(BIN)/python scripts/replay_truth.py $(TRUTH)

conformance: setup ## the community's own suite (FOCUS=regex PARALLEL=n); builds for ten minutes at first
	@$(BIN)/python tests/conformance/run.py $(if $(FOCUS),--focus '$(FOCUS)') $(if $(PARALLEL),--parallel $(PARALLEL))

critest: setup ## the community's CRI validation suite against kube-core cri (FOCUS=regex); needs root
	@PYTHONPATH=tests $(BIN)/python -m critest.run $(if $(FOCUS),--focus '$(FOCUS)')

bench: setup ## print the figures of benchmarks/
	@for each in benchmarks/*.py; do echo "== $$each"; $(BIN)/python $$each || exit 1; done

docs: setup ## write the generated pages, and build the documentation into build/site
	@$(BIN)/python scripts/generate_reference.py
	@$(BIN)/python scripts/generate_compatibility.py
	@$(BIN)/python -m properdocs build --strict

clean: ## remove what was built
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
