# The doors for people and CI. `make` alone lists them.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
PYTHON ?= python3
# SSLBENCH_VENV lets a second clone reuse an installed interpreter.
VENV ?= $(or $(SSLBENCH_VENV),.venv)
READY := $(VENV)/.ready
export PATH := $(abspath $(VENV))/bin:$(PATH)
SNAKEMAKE := snakemake --profile workflow/profiles/local

.PHONY: help setup reproduce snakemake mend sync workflow-report faults test test-fast smoke golden lint format types \
        layers docs bench ui share fetch recompute lock clean

help:  ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  %-16s %s\n", $$1, $$2}'

$(READY): requirements.lock Makefile
	@test -x $(VENV)/bin/python || $(PYTHON) -m venv $(VENV)
	@echo "installing requirements.lock into $(VENV) (some minutes, once)"
	@$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	@printf '#!/bin/sh\nexec "$$(dirname "$$0")/python" -m sslbench.cli "$$@"\n' > $(VENV)/bin/sslbench
	@chmod +x $(VENV)/bin/sslbench
	@touch $@

setup: $(READY)  ## .venv from the lock, nothing else

reproduce: setup  ## the default grid through DVC, then the leaderboard and where the report is
	@sslbench doctor --params
	@sslbench mend
	dvc repro
	@sslbench publish
	@sslbench leaderboard

snakemake: setup  ## the same grid through Snakemake, in parallel, then recorded in DVC
	@sslbench doctor --params
	@sslbench mend
	$(SNAKEMAKE)
	@sslbench sync dvc
	@sslbench publish
	@sslbench leaderboard

mend: setup  ## hash every file, remove the damaged ones, make them again with DVC
	@sslbench mend --hash
	dvc repro
	@sslbench publish

sync: setup  ## after `dvc repro` or `dvc pull`: let Snakemake accept what is there
	@sslbench sync snakemake

share: setup  ## artifacts and run cache to the team's remote, checked before they go
	@sslbench verify
	dvc push --run-cache

fetch: setup  ## every number of dvc.lock from the team's remote, no stage run; then MLflow and the leaderboard
	dvc pull --run-cache
	@sslbench sync snakemake
	@sslbench publish
	@sslbench leaderboard

recompute: setup  ## one published number of the default grid, from nothing, as dvc.lock records it
	sslbench verify $(or $(ID),scenes/rotation/knn/top1) --recompute --at $(or $(AT),HEAD) --tolerance 0.05

workflow-report: setup  ## after `make snakemake`: what ran and what came out, in build/workflow.html
	@mkdir -p build
	$(SNAKEMAKE) --report build/workflow.html

test: setup  ## the whole suite
	python -m pytest -n 2 --dist loadgroup tests

test-fast: setup  ## without the slow ones
	python -m pytest -n 2 --dist loadgroup -m "not slow" tests

smoke: setup  ## the smoke grid through both engines, from nothing, compared
	python -m pytest tests/golden/test_pipeline.py

golden: setup  ## rewrite the golden files; review the diff like code
	python -m tests.golden.regenerate

lint: setup  ## ruff, formatting, snakefmt, snakemake --lint
	ruff check .
	ruff format --check .
	snakefmt --check Snakefile workflow
	python -m pytest -q tests/dag/test_lint.py

format: setup  ## put everything into shape
	ruff check --fix .
	ruff format .
	snakefmt Snakefile workflow

types: setup  ## mypy, strict
	mypy

layers: setup  ## imports point down only
	lint-imports

docs: setup  ## rewrite the generated pages and the schema
	sslbench docs

ui: setup  ## MLflow on the local store
	@sslbench publish
	mlflow ui --backend-store-uri $${MLFLOW_TRACKING_URI:-sqlite:///mlflow.db}

faults: setup  ## kill, fill, flip and cut what can be, and see that one command mends it
	python -m tests.faults.campaign --docs docs/reliability.md

bench: setup  ## the fixed cost of a cell, and pretraining beside lightly
	python -m benchmarks.cell_cost
	python -m benchmarks.throughput

lock:  ## resolve pyproject.toml afresh into requirements.lock
	$(PYTHON) -m benchmarks.make_lock

clean:  ## remove what stages and tools made (not .venv, not DVC's cache)
	rm -rf data runs metrics report logs .scratch .snakemake .pytest_cache .mypy_cache .ruff_cache
