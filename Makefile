# Every target sets up what it needs in .venv, once; `make demo` and `make test` work in a fresh clone.
#
#   make test PYTHON=python3.12                                    another interpreter (3.10 to 3.12)
#   make test TORCH="torch torchvision --index-url URL"            another build of PyTorch, for example without CUDA
#   make test JOBS=8                                               more test processes

PYTHON ?= python3
TORCH ?= torch==2.14.1 torchvision==0.29.1
JOBS ?= 2
BENCH ?= startup

VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check

.PHONY: help install demo test lint docs wheel-test bench clean

help:
	@echo "make demo        the main job on real pictures, offline (about 5 minutes after installation)"
	@echo "make test        style, import rules, tests"
	@echo "make lint        style and import rules alone"
	@echo "make docs        the documentation as a site, in docs/_build/html; a warning is an error"
	@echo "make wheel-test  build the wheel, install it in an empty environment, use it there"
	@echo "make bench       a benchmark: BENCH=startup, or another file of benchmarks/; ARGS=... for it"
	@echo "make install     only set up .venv"
	@echo "make clean       remove everything that make has made, .venv included"

install: $(VENV)/.installed

# PyTorch and torchvision first and together: their versions must match, and pip keeps what it finds installed.
$(VENV)/.torch:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 12))' || { \
	  echo "Python 3.10 to 3.12 is needed (CompressAI has no wheels for others): make PYTHON=python3.12 ..."; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(PIP) install $(TORCH) 'numpy<2'
	@touch $@

$(VENV)/.installed: $(VENV)/.torch pyproject.toml
	$(PIP) install --editable '.[dev]'
	@touch $@

demo: install
	$(BIN)/icmh demo

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

test: lint
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses $(JOBS) --dist worksteal

$(VENV)/.docs: $(VENV)/.installed
	$(PIP) install --editable '.[docs]'
	@touch $@

docs: $(VENV)/.docs
	$(BIN)/python -m sphinx --quiet --fail-on-warning --keep-going -d docs/_build/doctrees docs docs/_build/html
	@echo "docs/_build/html/index.html"

wheel-test: install
	scripts/check_wheel.sh $(BIN)/python

bench: install
	$(BIN)/python benchmarks/$(BENCH).py $(ARGS)

clean:
	rm -rf $(VENV) build dist docs/_build icmh-demo .pytest_cache .ruff_cache .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
