PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
USABLE := $(VENV)/.usable
INSTALLED := $(VENV)/.installed
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
# TORCH=cpu takes PyTorch's build for processors from its own index: elsewhere pip may bring the one for GPUs (gigabytes).
TORCH_INDEX := $(if $(filter cpu,$(TORCH)),--extra-index-url https://download.pytorch.org/whl/cpu)
# Tests on as many cores as there are (up to four: each process takes up to 2 GB), a file in one of them; the long files first.
SIDE_BY_SIDE := -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder

.PHONY: help install setup demo serve test test-avx2 check web web-check browser cluster bench clean

help:            ## Show what can be made
	@grep -E '^[a-z0-9-]+:.*##' Makefile | sed -E 's/:[^#]*## /\t/'

install: $(USABLE)  ## Make the virtual environment .venv and install Malmoi in it, to use it

setup: $(INSTALLED)  ## The same, with what its tests need

$(USABLE): pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(None if (3, 11) <= sys.version_info < (3, 14) else "error: Malmoi needs Python 3.11 to 3.13, this is " + sys.version.split()[0] + "; try make PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)
	$(PIP) --upgrade pip
	$(PIP) $(TORCH_INDEX) -e .
	touch $(USABLE)

$(INSTALLED): $(USABLE)
	$(PIP) $(TORCH_INDEX) -e '.[dev]'
	touch $(INSTALLED)

demo: $(USABLE)      ## Build an assistant from nothing, and report (minutes)
	$(BIN)/malmoi demo --workspace ./demo

serve: $(USABLE)     ## Serve the assistant in a browser
	$(BIN)/malmoi serve --workspace ./demo

test: $(INSTALLED)   ## Pass the tests
	$(BIN)/python -m pytest -rs $(SIDE_BY_SIDE)

test-avx2: $(INSTALLED)  ## Pass the tests of numbers as on a processor without AVX-512
	ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX2 $(BIN)/python -m pytest -q -rs \
		$(SIDE_BY_SIDE) tests/golden tests/unit/model tests/unit/inference tests/unit/train tests/unit/algorithms

check: $(INSTALLED)  ## Lint and types
	$(BIN)/ruff check src tests benchmarks
	$(BIN)/ruff format --check src tests benchmarks
	$(BIN)/mypy

web:             ## Build the pages of web/ into the package (Node.js 20.19 or newer)
	cd web && npm ci && npm run build

web-check: web   ## Fail if the pages in the package are not what web/ gives
	test -z "$$(git status --porcelain -- src/malmoi/serve/static)" || { git status --short -- src/malmoi/serve/static; exit 1; }

browser: $(INSTALLED)  ## Bring what the tests of the pages need, next to Debian's package chromium
	$(PIP) -e '.[browser]'

cluster: $(INSTALLED)  ## Bring Ray, for the tests of several machines
	$(PIP) -e '.[cluster]'

bench: $(INSTALLED)  ## Measure Malmoi beside its peers into bench.json (more than two hours; a quiet machine)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[bench]'
	$(BIN)/python -m benchmarks all --out bench.json

clean:           ## Remove the virtual environment and what the tools left
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis src/*.egg-info
