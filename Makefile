# The commands of a checkout. `make help` lists them. Needs Python 3.11 or newer, make and git.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
DEMO_OFFICE ?= demo-office
# The demo's keys guard nothing; every key of a real office has a passphrase of its own.
DEMO_ENV = PLACET_HOME="$(DEMO_OFFICE)" PLACET_PASSPHRASE="demo passphrase, never use it"
UI ?= 1
# One for each core; a file's tests stay in one process, which makes what they share once.
TEST_PROCESSES ?= auto
UV_PIP = "$(BIN)/uv" pip install --python "$(BIN)/python" --constraint constraints.txt

# uv does not read pip's settings, so hand over the ones that say where packages come from.
empty :=
space := $(empty) $(empty)
comma := ,
ifneq ($(strip $(PIP_FIND_LINKS)),)
export UV_FIND_LINKS ?= $(subst $(space),$(comma),$(strip $(PIP_FIND_LINKS)))
endif
ifneq ($(strip $(PIP_INDEX_URL)),)
export UV_DEFAULT_INDEX ?= $(PIP_INDEX_URL)
endif
ifneq ($(strip $(PIP_EXTRA_INDEX_URL)),)
export UV_INDEX ?= $(PIP_EXTRA_INDEX_URL)
endif
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.PHONY: help setup demo test check format-check lint types imports docs fmt bench constraints clean

help: ## List these commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(STAMP) ## Make .venv and install Placet with all extras (quick when nothing changed)

$(STAMP): pyproject.toml constraints.txt
	@command -v "$(PYTHON)" >/dev/null || { \
	  echo "Placet needs Python 3.11 or newer, and there is no '$(PYTHON)'. Install it, or name another: make setup PYTHON=python3.12" >&2; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "Placet needs Python 3.11 or newer; $(PYTHON) is $$("$(PYTHON)" -V 2>&1). Name another: make setup PYTHON=python3.12" >&2; exit 1; }
	@echo "Setting up $(VENV) with $$("$(PYTHON)" -V): the first time this downloads several hundred MB and takes some minutes."
	@test -x "$(BIN)/python" && "$(BIN)/python" -m pip --version >/dev/null 2>&1 || "$(PYTHON)" -m venv --clear "$(VENV)" || { \
	  echo "'$(PYTHON) -m venv' failed. On Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	@test -x "$(BIN)/uv" || "$(BIN)/python" -m pip install --quiet --constraint constraints.txt uv
	@$(UV_PIP) --editable '.[eval,postgres,ui,dev]'
	@touch "$@"
	@echo "Ready: $(BIN)/placet"

demo: setup ## Run the whole way on a real model, then serve the review app (UI=0: end after the table)
	@$(DEMO_ENV) "$(BIN)/placet" demo
ifneq ($(UI),0)
	@$(DEMO_ENV) "$(BIN)/placet" ui
endif

test: setup ## Run the tests (some of them: PYTEST_ARGS='tests/unit -k merkle'; in one process: TEST_PROCESSES=0)
	@# By file, as they come: the unit tests are last, so that no process waits long for another's last file.
	@"$(BIN)/python" -m pytest -n $(TEST_PROCESSES) --maxprocesses 4 --dist loadfile --no-loadscope-reorder $(PYTEST_ARGS)

check: setup format-check lint types imports docs ## Format, lint, strict types, import contracts, docs

format-check: setup
	@echo "== format" && "$(BIN)/ruff" format --check .

lint: setup
	@echo "== lint" && "$(BIN)/ruff" check .

types: setup
	@echo "== types" && "$(BIN)/mypy"

imports: setup
	@echo "== import contracts" && "$(BIN)/lint-imports" --no-logo

docs: setup
	@echo "== docs" && "$(BIN)/python" tools/check_docs.py && "$(BIN)/python" tools/cli_reference.py --check \
	  && "$(BIN)/python" tools/predicate_pages.py --check && "$(BIN)/python" tools/policy_schema.py --check

fmt: setup ## Format, and mend what the linter can mend
	@"$(BIN)/ruff" check --quiet --fix-only .
	@"$(BIN)/ruff" format .

bench: setup ## Run a benchmark (the engine's; BENCH_ARGS='statistics', 'ledger', … for others)
	@"$(BIN)/python" -m benchmarks $(BENCH_ARGS)

constraints: setup ## Resolve every dependency anew into constraints.txt
	@"$(BIN)/python" tools/compile_constraints.py

clean: ## Remove .venv, caches and builds (keeps offices)
	rm -rf "$(VENV)" build dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .grimp_cache .hypothesis
	find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +
