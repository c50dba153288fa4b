# Each target sets up .venv first when it is missing or stale (pyproject.toml or constraints.txt changed).
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
EXTRAS ?= dev
STAMP := $(VENV)/.stamp-$(EXTRAS)
THREADS := OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1

.PHONY: demo test coverage lint bench studies docs clean

demo: $(STAMP)
	$(BIN)/deepmr demo --out demo --overwrite

test: $(STAMP)
	$(THREADS) $(BIN)/python -m pytest -n 2 -m "not slow"

coverage: $(STAMP)
	$(THREADS) $(BIN)/python -m pytest -n 2 -m "not slow" --cov --cov-report=term:skip-covered

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(STAMP)
	$(BIN)/python benchmarks/run.py

studies: $(STAMP)
	$(THREADS) $(BIN)/python -m pytest -m slow
	$(BIN)/python simulations/run.py

docs:
	$(MAKE) EXTRAS=docs docs-built

.PHONY: docs-built
docs-built: $(STAMP)
	$(BIN)/mkdocs build --strict

$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[$(EXTRAS)]"
	touch $@

clean:
	rm -rf $(VENV) demo site dist build .coverage* .mypy_cache .ruff_cache .pytest_cache
