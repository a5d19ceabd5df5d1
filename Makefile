# Two commands: `make run` (the main job) and `make test` (every check and test). Both do all set-up first.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.ONESHELL:
.DELETE_ON_ERROR:
.PHONY: setup browser run check types style workflow test fuzz cluster-test storage-test bench schema examples docs wheel format clean

# A run and the tests start hundreds of processes: what Python compiles, and what is read off the sources, is kept.
export PYTHONDONTWRITEBYTECODE :=

PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
CODE := setup.py src tests workflow/scripts docs/examples docs/tools
RULES := Snakefile workflow

setup: $(READY)

# torch goes first and alone: with its version fixed and a CPU file at hand, pip takes that one, not a CUDA build.
# The version is the one of constraints.txt, which holds every other too.
$(READY): pyproject.toml setup.py constraints.txt
	[ -x $(BIN)/python ] || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt torch
	$(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt -e '.[pipeline,baselines,test,docs]'
	touch $@

# The report's tests look at it in headless Chromium and are skipped where there is none.
browser:
	@if command -v chromium chromium-browser google-chrome >/dev/null; then exit 0; fi
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
		(apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends chromium >/dev/null) \
			|| echo "make: chromium could not be installed; the browser tests will be skipped"
	else
		echo "make: no chromium found; install it to run the browser tests, which are skipped now"
	fi

# What the first gate waits for goes first; what asks nothing of the gates fills the cores beside it.
run: setup
	$(BIN)/snakemake --cores all --prioritize signal_gate -- all

# The parts side by side, each with its output in one piece; types take as long as all others together.
check: setup
	@$(MAKE) --no-print-directory --jobs=2 --output-sync=target types style workflow docs

types: setup
	$(BIN)/mypy

style: setup
	$(BIN)/ruff check $(CODE)
	$(BIN)/ruff format --check $(CODE)
	PYTHONPATH=src $(BIN)/lint-imports

workflow: setup
	$(BIN)/snakefmt --check $(RULES)
	$(BIN)/snakemake --lint

# Files are spread over two workers in the order of tests/conftest.py: the run of the whole pipeline starts first, and
# the longest files come before the short ones. The slowest twenty tests are listed at the end.
test: browser check
	OMP_NUM_THREADS=$${OMP_NUM_THREADS:-1} $(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder --durations=20

# Every format that is read, broken in 2,000 ways each; `make test` tries 25. A failure says how to repeat its case.
fuzz: setup
	OMP_NUM_THREADS=1 FUZZ=2000 $(BIN)/pytest -n 2 tests/fuzz

# The tiny experiment through a SLURM of its own, against a run without; half an hour. Skips where there can be none.
cluster-test: setup
	$(BIN)/python tests/workflow/on_slurm.py

# The same with its results in a bucket of a server on this machine, against a run on the disk.
storage-test: setup
	$(BIN)/python tests/workflow/on_storage.py

# Speed beside what a user would take instead: docs/benchmarks.md, in some twenty minutes of a quiet core.
bench: setup
	$(BIN)/python -m pip install --disable-pip-version-check -q -c constraints.txt -e '.[bench]'
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.speed --gallery 5000 25010 --into docs/benchmarks.md

schema: setup
	mkdir -p workflow/schemas
	$(BIN)/vialign config schema > workflow/schemas/config.schema.json
	$(BIN)/vialign data notes --into docs/data.md
	$(BIN)/vialign methods --into docs/methods.md
	$(BIN)/vialign results list --into docs/architecture.md
	$(BIN)/vialign config reference > docs/configuration.md

# The example pages with what their scripts print, and the map of the rules; tests hold the pages against both.
examples: setup
	$(BIN)/python docs/tools/draw_map.py
	$(BIN)/python docs/tools/api_reference.py > docs/api.md
	for script in docs/examples/*_*.py; do $(BIN)/python docs/examples/render.py "$$script"; done

# The documentation as a folder of pages that opens without a network: site/index.html.
docs: setup
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

# The package with the workflow in it, as dist/*.whl. What an earlier build left would be packed too.
wheel: setup
	rm -rf build dist
	$(BIN)/python -m pip wheel --disable-pip-version-check --no-deps --wheel-dir dist .
	rm -rf build

format: setup
	$(BIN)/ruff check --fix $(CODE)
	$(BIN)/ruff format $(CODE)
	$(BIN)/snakefmt $(RULES)

clean:
	rm -rf results .snakemake .pytest_cache .mypy_cache .ruff_cache .hypothesis site build dist
