# Two commands do all on a fresh machine: `make demo` and `make test`. Needs Python 3.11 or newer with venv, and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
INSTALLED_TEST := $(VENV)/.installed-test
DIR ?=

.PHONY: demo run test lint types contracts unit pictures docs clean help

help:
	@echo "make demo      set up, then the whole loop on the embedded model (DIR=folder to keep it elsewhere)"
	@echo "make run       set up, then open the workbench"
	@echo "make test      set up, then lint, types, import contracts and tests"
	@echo "make pictures  draw the screens' pictures again, from the running app"
	@echo "make docs      write the generated parts of the README again"

demo: $(INSTALLED)
	@$(BIN)/workbench demo $(if $(DIR),--dir $(DIR))

run: $(INSTALLED)
	@$(BIN)/workbench

test: lint types contracts unit

lint: $(INSTALLED_TEST)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(INSTALLED_TEST)
	$(BIN)/mypy

contracts: $(INSTALLED_TEST)
	$(BIN)/lint-imports

# Hundreds of processes are started: each would compile all modules anew where Python was told not to keep them.
unit: $(INSTALLED_TEST)
	env -u PYTHONDONTWRITEBYTECODE $(BIN)/python -m pytest -n 3 --dist loadgroup -m "not slow" --durations 20

pictures: $(INSTALLED_TEST)
	$(BIN)/python -m tests.pictures

docs: $(INSTALLED_TEST)
	$(BIN)/python -m tests.docs --write

# A virtual environment that is older than what it should hold is filled again; otherwise nothing is installed.
$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "workbench needs Python 3.11 or newer: make PYTHON=python3.12 ..."; exit 2; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing into $(VENV) (some minutes the first time)"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	$(BIN)/python -m compileall -q workbench
	@touch $@

$(INSTALLED_TEST): $(INSTALLED)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[test]'
	@touch $@

clean:
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
