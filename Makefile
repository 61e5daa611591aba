# `make demo` and `make test` need only a Python >= 3.11 with pip: they set up .venv themselves.
# Another Python: make test PYTHON=/path/to/python. Parallel tests: make test WORKERS=4.

PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3.14 python3 python; do \
	command -v $$p >/dev/null 2>&1 && $$p -c 'import sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
WORKERS ?= 2
BIN := .venv/bin
# One thread per process: networks this small, and tests side by side, only wait for each other with more.
ONE_THREAD := OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1

.PHONY: demo test contracts unit docs bench reliability quality versions format clean

demo: .venv/installed
	$(ONE_THREAD) $(BIN)/mibias train recipes/quickstart.yaml --out runs/demo --overwrite

# What a change must pass, and what continuous integration runs.
test: .venv/installed-all
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	+$(MAKE) --no-print-directory --jobs 2 contracts unit

# Types, and who may import whom. `make test` checks it beside the tests.
contracts: .venv/installed-all
	$(BIN)/mypy
	$(BIN)/lint-imports

# The tests alone; those that take longer than a minute: make unit PYTEST="-m slow".
unit: .venv/installed-all
	$(ONE_THREAD) $(BIN)/python -m pytest -q -n $(WORKERS) $(PYTEST)

# The documentation as a site, in site/. A warning is an error.
docs: .venv/installed-all
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --site-dir site

bench: .venv/installed-all
	$(ONE_THREAD) $(BIN)/python benchmarks/taste.py --jobs 2

# What faults, bad input and hostile files do to it: fills docs/reliability.md. Begun again, it goes on.
reliability: .venv/installed-all
	$(ONE_THREAD) PYTHONPATH=. $(BIN)/python benchmarks/reliability --jobs $(WORKERS)

# Lines that the tests reach, and the share of 300 mutants that they notice; takes hours. Begun again, it goes on.
quality: .venv/installed-all
	$(ONE_THREAD) PYTHONPATH=. $(BIN)/python benchmarks/quality.py --jobs $(WORKERS)

# The oldest and the newest supported versions of torch, timm, typer, pydantic, Fabric and scikit-learn; fetches gigabytes.
versions: .venv/bin/python
	$(ONE_THREAD) $(BIN)/python benchmarks/versions.py

format: .venv/installed-all
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf .venv site build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache

# Without ensurepip (a system Python that splits it off), the Python's own pip fills the environment.
.venv/bin/python:
	@test -n "$(PYTHON)" || { echo "mibias needs Python 3.11 or newer with the venv module; none was found. Name one: make PYTHON=/path/to/python" >&2; exit 1; }
	@if $(PYTHON) -c 'import ensurepip' 2>/dev/null; then \
		$(PYTHON) -m venv .venv; \
	elif $(PYTHON) -m pip --version >/dev/null 2>&1; then \
		$(PYTHON) -m venv --without-pip .venv && $(PYTHON) -m pip --python .venv install pip; \
	else \
		echo "$(PYTHON) has neither ensurepip nor pip: install one (Debian and Ubuntu: apt install python3-venv), then run make again" >&2; exit 1; \
	fi || { rm -rf .venv; exit 1; }

.venv/installed: pyproject.toml | .venv/bin/python
	$(BIN)/python -m pip install --disable-pip-version-check -e .
	@touch $@

.venv/installed-all: pyproject.toml | .venv/bin/python
	$(BIN)/python -m pip install --disable-pip-version-check -e '.[all]'
	@touch $@ .venv/installed
