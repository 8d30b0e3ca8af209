# `make help` lists the targets. Everything runs inside .venv, which the first target that needs it builds from
# the lock file; nothing is installed anywhere else.

PYTHON ?= python3
PORT ?= 8000
PROCESSES ?= 4
SEED ?= 1
MINUTES ?= 2
override VENV := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready

# Python writes what it has compiled, whatever is set outside: without it, each of the many processes that tests and
# demo start compiles all it imports again (3 s of processor time instead of 1).
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help setup demo run test check format bench chaos soak lock clean

help:  ## list the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-8s %s\n", $$1, $$2}'

setup: $(READY)  ## build .venv from the lock file

$(READY): requirements-dev.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "Tallyframe needs Python 3.11 or newer; '$(PYTHON)' is $$($(PYTHON) -V 2>&1). Try: make PYTHON=python3.12 ..."; exit 1; }
	@echo "Setting up $(VENV) (once, about a minute) ..."
	@$(PYTHON) -m venv --clear $(VENV)
	@$(BIN)/python -m pip install --quiet --no-compile --disable-pip-version-check --require-hashes --no-deps -r requirements-dev.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --no-index -e .
	@touch $@

demo: $(READY)  ## two sample pictures become one image and one video; prints the ledger
	@$(BIN)/tallyframe demo

run: $(READY)  ## the whole embedded stack until Ctrl-C: make run PORT=8000
	@$(BIN)/tallyframe dev --port $(PORT)

test: $(READY)  ## every test, against real Postgres and Valkey: make test PROCESSES=4
	@$(BIN)/python -m pytest -n $(PROCESSES) --ignore tests/bench
	@$(BIN)/python -m pytest tests/bench

check: $(READY)  ## format, lint, types, import contracts, migrations up to date, architecture tests
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache
	@$(BIN)/python -m pytest -q tests/architecture

format: $(READY)  ## format and fix what the linter can fix
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

bench: $(READY)  ## speed as ratios, in one run on this machine: make bench JSON=path ONLY=accept,poll
	@$(BIN)/python -m bench $(if $(JSON),--json $(JSON)) $(if $(ONLY),--only $(ONLY))

chaos: $(READY)  ## break everything at random, then check the books: make chaos SEED=1 MINUTES=2
	@$(BIN)/python -m chaos --seed $(SEED) --minutes $(MINUTES)

soak: $(READY)  ## restart workers again and again under 20,000 generations, then look at what has grown
	@$(BIN)/python -m chaos.soak

lock: $(READY)  ## resolve the dependencies again and pin them
	@$(BIN)/uv pip compile pyproject.toml --extra embedded --group dev --universal --python-version 3.11 \
	  --generate-hashes --no-header --no-annotate --upgrade --quiet --output-file requirements-dev.lock
	@$(BIN)/uv pip compile pyproject.toml --universal --python-version 3.11 --constraints requirements-dev.lock \
	  --generate-hashes --no-header --no-annotate --upgrade --quiet --output-file requirements.lock

clean:  ## remove .venv, caches and the default data folder
	rm -rf $(VENV) .tallyframe .mypy_cache .ruff_cache .pytest_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
