# Every command a newcomer or a maintainer needs. `make help` lists them.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help docs setup demo test lint types test-slow bench clean

help: ## list these commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# Installed again only when what it depends on has changed.
$(STAMP): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "teacherlm needs Python 3.11 or newer; name one with: make $(MAKECMDGOALS) PYTHON=/path/to/python3.11"; exit 2; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing into $(VENV) (a minute or two the first time)"
	@$(BIN)/python -m pip install --quiet --upgrade pip
	@$(BIN)/python -m pip install --quiet -e '.[local,ray,fit,dev]'
	@touch $@

setup: $(STAMP) ## create .venv and install everything into it

demo: setup ## the paper in miniature: questions, teacher, rules, two students, one page
	@$(BIN)/teacherlm quickstart $(DEMO)

lint: setup ## ruff: style and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: setup ## mypy, strict
	$(BIN)/mypy

test: lint types ## linters, type checks and all quick tests
	$(BIN)/python -m pytest -n 2 -m "not slow"

test-slow: setup ## the tests that take longer
	$(BIN)/python -m pytest -n 2 -m slow --timeout 600

docs: setup ## write the derived parts of docs/ from the declarations
	$(BIN)/python -m teacherlm.api.catalogue_docs docs/catalogue.md
	$(BIN)/python -m teacherlm.api.sql_docs docs/sql.md

bench: setup ## what a call and a sample cost, beside a bare loop and a bare COPY in the same run
	$(BIN)/python benchmarks/client.py
	$(BIN)/python benchmarks/build.py --rows 400000
	$(BIN)/python benchmarks/quality.py --gx-rows 200000
	$(BIN)/python benchmarks/publish.py --rows 400000
	$(BIN)/python benchmarks/train.py
	$(BIN)/python benchmarks/serve.py
	$(BIN)/python benchmarks/evaluate.py

clean: ## remove what was built here
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis dist workspace
