# Everything here sets up what it needs in .venv; only Python >= 3.11 and a package registry are needed.
PYTHON ?= python3
KILLS ?= 20
SEED ?= 1
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

# Many tests start processes: each would compile everything again.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: setup clients demo test lint format mutate bench chaos docs clean

setup: $(READY)

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "turnout needs Python 3.11 or later; run: make PYTHON=python3.12")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $@

# What tests/test_clients.py needs beside node, npm and chromium; without it those tests skip.
clients: $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev,clients]'
	npm install --prefix tests/clients --no-package-lock --ignore-scripts --no-audit --no-fund --silent

demo: $(READY)
	@$(BIN)/python examples/demo.py

test: $(READY)
	$(BIN)/python -m pytest -n auto --dist loadfile -r s

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python docs/generate.py --check

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(READY)
	$(BIN)/python docs/generate.py

# Coverage and mutation score of the bundled destinations' cases; tests keep the floor for what is quick.
mutate: $(READY)
	$(BIN)/turnout check tests/cases --quiet --min-coverage 100 --min-score 100

bench: $(READY)
	$(BIN)/python benchmarks/bench.py
	$(BIN)/python benchmarks/endtoend.py
	$(BIN)/python benchmarks/gateway.py
	$(BIN)/python benchmarks/diff.py
	$(BIN)/python benchmarks/explain.py

chaos: $(READY)
	$(BIN)/python benchmarks/chaos.py --kills $(KILLS) --seed $(SEED)
	$(BIN)/python benchmarks/chaos_order.py --seed $(SEED)
	$(BIN)/python benchmarks/chaos_gateway.py --kills $(KILLS) --seed $(SEED)

clean:
	rm -rf $(VENV) tests/clients/node_modules dist build .pytest_cache .mypy_cache .ruff_cache .hypothesis
