# dsn_lightning: `make help` lists the targets. Everything sets itself up in .venv from a bare Python >= 3.11.
PYTHON ?= python3
SEEDS ?= 0
DATASET ?= needle
KILLS ?= 20
VIDEOS ?=
BIN := .venv/bin
UV_VERSION := 0.13.9
AUDIT_VERSION := 2.10.1
DECORD_VERSION := 0.6.0

.DEFAULT_GOAL := help
.PHONY: help setup demo notebooks test test-all test-faults bench lint format type audit docs lock clean

help: ## show this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | awk -F'\t' '{printf "  make %-11s %s\n", $$1, $$2}'

.venv/.ready: pyproject.toml requirements.lock
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "dsn_lightning needs Python >= 3.11: make PYTHON=/path/to/python3.11")'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python -r requirements.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps -e .
	touch $@

setup: .venv/.ready ## make .venv with the pinned dependencies; costs nothing when it is there

demo: setup ## Table I on the embedded data set: SEEDS=0,1,2 for more seeds, DATASET=needle_everywhere for the control
	$(BIN)/python experiments/demo.py --seeds $(SEEDS) --dataset $(DATASET) --output outputs/$(if $(filter needle,$(DATASET)),demo,demo_$(DATASET))

notebooks: setup ## execute the notebooks on small runs that it trains once; outputs/notebooks
	$(BIN)/python experiments/run_notebooks.py

test: setup ## the test suite, without the longest tests
	$(BIN)/python -m pytest -q -n 2 --dist loadfile --no-loadscope-reorder -m "not slow and not faults"

test-all: setup ## every test but those of `make test-faults`
	$(BIN)/python -m pytest -q -n 2 --dist loadfile --no-loadscope-reorder -m "not faults"

test-faults: setup ## kills, full disks and other faults, for real; KILLS=120 for more kills; the table is outputs/faults.md
	DSN_KILLS=$(KILLS) DSN_FAULT_TABLE=outputs/faults.md $(BIN)/python -m pytest -q -n 2 --dist worksteal tests/faults

bench: setup ## times reading, training steps, evaluations and answers, with peers; VIDEOS="a.mp4 b.mp4" for more files; outputs/speed
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps decord==$(DECORD_VERSION)
	$(BIN)/python experiments/speed/bench.py --video $(VIDEOS)

lint: setup ## ruff and mypy, changing nothing
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: setup ## let ruff format and mend the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

type: setup ## mypy alone
	$(BIN)/mypy

audit: setup ## look for known vulnerabilities of the pinned packages (pip-audit); says so where its data cannot be reached
	@mkdir -p outputs
	@$(BIN)/uv tool run pip-audit==$(AUDIT_VERSION) --no-deps --disable-pip --progress-spinner=off -r requirements.lock \
	  > outputs/audit.txt 2>&1; code=$$?; \
	if ! grep -q "^Found .* known vulnerabilit" outputs/audit.txt && \
	  grep -qE "could not be audited|Traceback|No solution|error:" outputs/audit.txt; then \
	  echo "not audited: the list of vulnerabilities cannot be reached for all packages; see outputs/audit.txt"; \
	else cat outputs/audit.txt; exit $$code; fi

.venv/.docs-ready: .venv/.ready requirements-docs.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python -r requirements-docs.lock
	touch $@

docs: .venv/.docs-ready ## build the documentation in docs/_build/html; warnings are errors
	$(BIN)/python -m sphinx -b html -W --keep-going -q docs docs/_build/html
	@echo "open docs/_build/html/index.html"

lock: setup ## update requirements.lock and requirements-docs.lock from pyproject.toml
	$(BIN)/uv pip compile --quiet --python-version 3.11 --group dev --no-annotate --no-header pyproject.toml -o requirements.lock
	$(BIN)/uv pip compile --quiet --python-version 3.11 --group docs --constraint requirements.lock --no-annotate --no-header -o requirements-docs.lock

clean: ## remove what was made, the environment and the embedded data set included
	rm -rf .venv docs/_build outputs multirun data/needle .pytest_cache .mypy_cache .ruff_cache .hypothesis build dist
