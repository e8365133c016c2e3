# Every target sets itself up: nothing but Python (>= 3.11) and make is needed.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# Tests wait half of their time (for processes, leases, instants): three workers for two cores.
WORKERS ?= $(shell $(PYTHON) -c "import os; print(max(1, os.cpu_count() * 3 // 2))")

.PHONY: faults soak serve test lint types pytest bench fuzz messages clean

serve: $(VENV)/.serve
	@$(BIN)/zquant-flow serve $(ARGS)

test: lint types pytest

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(STAMP)
	$(BIN)/mypy

pytest: $(STAMP)
	$(BIN)/pytest -q -n $(WORKERS) --dist worksteal $(ARGS)

# A thousand sudden deaths on every database, bad networks, restarts and locks, and the table of what was found; `make test` has
# the short version. ARGS='--only network restarts locks'
faults: $(STAMP)
	$(BIN)/python -m tests.faults $(ARGS)

bench: $(STAMP)
	$(BIN)/python -m tests.bench $(ARGS)

# An hour of a hundred executions a second, and whether memory grows. ARGS='--minutes 5'
soak: $(STAMP)
	$(BIN)/python -m tests.bench.soak $(ARGS)

# Requests made from the OpenAPI document. ARGS='--cases 20000 --seed 7 --only create_task'
fuzz: $(STAMP)
	$(BIN)/python -m tests.fuzz $(ARGS)

# Bring the catalogues in line with the sources; then translate what is empty in the .po, and run it again.
messages: $(STAMP)
	$(BIN)/python -m tests.messages

# What `make serve` needs: the package and the calendars that the examples use.
$(VENV)/.serve: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -qq --disable-pip-version-check --upgrade pip
	$(BIN)/pip install -qq --disable-pip-version-check -c constraints.txt -e '.[calendars]'
	@touch $@

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -qq --disable-pip-version-check --upgrade pip
	$(BIN)/pip install -qq --disable-pip-version-check -c constraints.txt -e '.[calendars,dev]'
	@touch $@ $(VENV)/.serve

clean:
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache
