# Cabochon's everyday commands. `make` alone lists them.
#
# Everything runs in .venv, which the first target that needs it builds: a machine needs Python 3.11 or newer, make, and
# the package registries. Two stamps say what is installed: `demo` (the members the demo runs) and `dev` (every member
# and the tools). A changed pyproject.toml or constraints.txt installs again; nothing else does.
# The real engines that tests run against are kept outside the checkout; tests/engines.py builds what is missing.

.DEFAULT_GOAL := help
.NOTPARALLEL:
.DELETE_ON_ERROR:
.PHONY: help demo test check coverage lint format typecheck docs bench mutants engines venv constraints clean

# The first of these that runs, is new enough and can make a virtual environment. `make PYTHON=... demo` picks another.
NEW_ENOUGH := import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))
PYTHON ?= $(shell for python in python3.13 python3.12 python3.11 python3; do \
	"$$python" -c '$(NEW_ENOUGH)' >/dev/null 2>&1 && { echo "$$python"; break; }; done)

# More arguments for the command behind a target: make test ARGS="-k transaction -x"
ARGS ?=
# Test processes side by side: one more than two cores, for much of what real engines and servers do is waiting. Those
# marked with one `xdist_group` share something slow, or disturb each other, and go to one process.
# `make test WORKERS=0` runs in one, which a debugger needs.
test: WORKERS ?= 3
check: WORKERS ?= 2
# What `make bench` measures: a file in benchmarks/.
BENCH ?= pipeline

VENV := .venv
BIN := $(VENV)/bin
DEMO := core $(wildcard $(addprefix plugins/,callbacks demo http_fetcher local_source mock_store opa))
MEMBERS := $(patsubst %/pyproject.toml,%,$(wildcard core/pyproject.toml plugins/*/pyproject.toml))

# $(call install,MEMBERS EXTRA-ARGUMENTS): with uv, and with pip where uv cannot.
editable = $(foreach member,$(1),-e ./$(member))
define install
	@$(BIN)/uv pip install -q --python $(BIN)/python -c constraints.txt -b constraints.txt $(1) || { \
		echo "uv could not install: trying pip"; \
		$(BIN)/python -m pip install -q --upgrade pip && $(BIN)/python -m pip install -q -c constraints.txt $(1); }
endef

help: ## List the targets
	@echo "Cabochon keeps policy engines in sync. Start with: make demo"
	@echo
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo
	@echo '  ARGS="..." is passed on:   make test ARGS="-k transaction -x"'
	@echo '  WORKERS=0 in one process:  make test WORKERS=0 ARGS=--pdb'
	@echo '  PYTHON=... picks another:  make clean test PYTHON=python3.12'

demo: $(VENV)/.stamp-demo ## See it work: the whole pipeline in this terminal, offline
	@PATH="$$PATH:$$($(BIN)/python tests/engines.py --folders)" $(BIN)/cabochon demo $(ARGS)

test: $(VENV)/.stamp-dev ## Run the tests, in random order
	@$(BIN)/python tests/engines.py --optional
	@$(BIN)/pytest -n $(WORKERS) --dist loadgroup $(ARGS)

# Two cores: the types on one, the tests on what is left. What pyright says comes last, for it is long.
check: $(VENV)/.stamp-dev ## The inner loop, under two minutes: format, lint, types, unit tests, rooms
	@$(BIN)/ruff format --check -q .
	@$(BIN)/ruff check -q .
	@types=$$(mktemp); PYRIGHT_PYTHON_IGNORE_WARNINGS=1 $(BIN)/pyright > "$$types" & types_pid=$$!; \
		$(BIN)/pytest -q -n $(WORKERS) -m "not slow and not network" core/tests tests/packaging/test_rooms.py $(ARGS); \
		tests_ok=$$?; wait "$$types_pid"; types_ok=$$?; cat "$$types"; rm -f "$$types"; \
		[ "$$tests_ok" = 0 ] && [ "$$types_ok" = 0 ]

# Not with a pytest plugin: ours imports the code before that could watch it.
coverage: $(VENV)/.stamp-dev ## Run the tests and show which branches they leave out
	@$(BIN)/python tests/engines.py --optional
	@$(BIN)/coverage erase
	@$(BIN)/coverage run -m pytest $(ARGS)
	@$(BIN)/coverage combine -q
	@$(BIN)/coverage report

lint: $(VENV)/.stamp-dev ## Check format and lint, changing nothing
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check $(ARGS) .

format: $(VENV)/.stamp-dev ## Format, and mend what the linter can mend safely
	@$(BIN)/ruff check --fix-only -q .
	@$(BIN)/ruff format .

typecheck: $(VENV)/.stamp-dev ## Check the types, strictly, tests included
	@PYRIGHT_PYTHON_IGNORE_WARNINGS=1 $(BIN)/pyright $(ARGS)

docs: $(VENV)/.stamp-dev ## Write the pages of docs/ that follow from the code
	@$(BIN)/python docs/face.py $(ARGS)
	@$(BIN)/python docs/generate.py $(ARGS)

bench: $(VENV)/.stamp-dev ## Measure the pipeline, or with BENCH=opa the agent and a real OPA
	@$(BIN)/python benchmarks/$(BENCH).py $(ARGS)

mutants: $(VENV)/.stamp-dev ## Break the code on purpose and see that the tests notice
	@$(BIN)/python tests/mutants/run.py $(ARGS)

engines: $(VENV)/.stamp-dev ## Build the engines that tests run against, once, outside the checkout (needs Go)
	@$(BIN)/python tests/engines.py

venv: $(VENV)/.stamp-dev ## Only set up .venv with every member and the tools

constraints: $(VENV)/.stamp-python ## Resolve again and rewrite the pins in constraints.txt
	@$(BIN)/uv pip compile -q --upgrade --python-version 3.11 --all-extras --group dev \
		--no-header --no-annotate $(addsuffix /pyproject.toml,$(MEMBERS)) > $(VENV)/resolved.txt
	@{ echo "# Every package of the development environment, pinned. Written by: make constraints"; \
		grep -E '^[a-z0-9][a-z0-9._-]*==[^ ]+$$' $(VENV)/resolved.txt; } > $(VENV)/constraints.txt
	@mv $(VENV)/constraints.txt constraints.txt

clean: ## Remove .venv, caches and build results
	@rm -rf $(VENV) .pytest_cache .ruff_cache .hypothesis .coverage .coverage.* htmlcov dist core/dist plugins/*/dist
	@find core plugins tests examples benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/.stamp-python:
	@python="$(PYTHON)"; "$${python:-false}" -c '$(NEW_ENOUGH)' >/dev/null 2>&1 || { \
		echo "make: Cabochon needs Python 3.11 or newer with its venv module; found none that runs. Name one: make PYTHON=/path/to/python3" >&2; \
		exit 1; }; \
	echo "setting up $(VENV) (once)"; \
	"$$python" -m venv --clear $(VENV)
	@$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt uv || echo "no uv to be had: pip will do"
	@touch $@

$(VENV)/.stamp-demo: $(VENV)/.stamp-python constraints.txt $(addsuffix /pyproject.toml,$(DEMO))
	$(call install,$(call editable,$(DEMO)))
	@touch $@

$(VENV)/.stamp-dev: $(VENV)/.stamp-python pyproject.toml constraints.txt $(addsuffix /pyproject.toml,$(MEMBERS))
	$(call install,--group dev $(call editable,$(MEMBERS)))
	@touch $(VENV)/.stamp-demo $@
