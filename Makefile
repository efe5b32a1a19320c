# Presumes python3 (3.11 or later, with venv) and make. Everything else is set up in $(VENV) by the first target that needs it.
#   make run        trade on paper: the recordings below $(BOT4_DATA), else the synthetic market; the report lies in report/
#   make test       linters, types, import rules, all tests       make coverage   the tests without the compiler, and a figure
#   make stress     the hammers at their full counts              make bench      the benches
#   make mutants    do the tests notice when a check is removed?   make clients   other people's clients on bot4-exchange
#   make adversary  hostile intents by the million, judged by the ledger: INTENTS=1000000 REPORT=build/adversary.json
#   make torture     the bot killed at named points and at random, on paper and live, judged by the ledgers: KILLS=1000
#                    LIVE=500 REPORT=build/torture.json
#   make checklist  writes LIMITS.md: every limit with its default, reject codes, the test that sees it fire and its mutants

PYTHON ?= python3
VENV ?= .venv
BOT4_DATA ?= ../shared/data
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --quiet --disable-pip-version-check
RUNTIME := $(VENV)/.runtime-stamp
DEVELOPMENT := $(VENV)/.development-stamp

# One chain of BTC spot over two days and one of ETH: real input of ten minutes.
SPOT := $(BOT4_DATA)/hftbacktest/spot
CHAINS := $(SPOT)/btcusdt_20240808.gz,$(SPOT)/btcusdt_20240809.gz,$(SPOT)/ethusdt_20240808.gz
FEED ?= $(if $(wildcard $(SPOT)/btcusdt_20240808.gz),replay:$(CHAINS),synthetic)
REPORT ?= report

export BOT4_DATA

.PHONY: run test stress bench lint mutants clients adversary torture checklist coverage requirements clean
.DEFAULT_GOAL := run

run: $(RUNTIME)
	$(BIN)/bot4-supervisor start --config config/paper.toml --feed "$(FEED)" --pace event --until-end --report "$(REPORT)"

lint: $(DEVELOPMENT)
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

# Two at a time, then those by themselves that measure or that load every core.
test: lint
	$(BIN)/python -m pytest -n 2 --dist loadfile -m "not stress and not alone"
	$(BIN)/python -m pytest -m "alone and not stress"

stress: $(DEVELOPMENT)
	$(BIN)/python -m pytest -m stress -s

bench: $(RUNTIME)
	@mkdir -p build
	$(BIN)/bot4-bench --json build/bench.json

mutants: $(DEVELOPMENT)
	$(BIN)/python tests/mutants/run.py $(MUTANTS)

clients: $(DEVELOPMENT)
	$(BIN)/python -m pytest -m stress -s -k "not ten_minutes" tests/clients

adversary: INTENTS = 1000000
adversary: REPORT = build/adversary.json
adversary: $(DEVELOPMENT)
	$(BIN)/python tests/stress/adversary.py --intents $(INTENTS) --report "$(REPORT)"

torture: KILLS = 1000
torture: LIVE = 500
torture: SEED = 1
torture: REPORT = build/torture.json
torture: $(DEVELOPMENT)
	$(BIN)/python tests/stress/torture.py --kills $(KILLS) --live $(LIVE) --seed $(SEED) --report "$(REPORT)"

checklist: $(DEVELOPMENT)
	PYTHONPATH=tests $(BIN)/python tests/checklist.py

coverage: $(DEVELOPMENT)
	$(BIN)/coverage erase
	NUMBA_DISABLE_JIT=1 $(BIN)/coverage run -m pytest
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("Bot4 needs Python 3.11 or later, this is " + sys.version.split()[0])'
	$(PYTHON) -m venv $(VENV)

$(RUNTIME): requirements.txt pyproject.toml | $(VENV)/bin/python
	$(PIP) --require-hashes -r requirements.txt
	$(PIP) --no-deps --no-build-isolation --editable .
	@touch $@

$(DEVELOPMENT): requirements-dev.txt $(RUNTIME) | $(VENV)/bin/python
	$(PIP) --require-hashes -r requirements-dev.txt
	@touch $@

# Writes the pinned requirements anew, without the address of any registry in them; those of development first, since
# the clients in them take fewer versions.
UV := $(BIN)/uv pip compile pyproject.toml --quiet --generate-hashes --universal --python-version 3.11 \
	--no-emit-index-url --no-emit-find-links --no-annotate --no-header --upgrade
requirements: $(RUNTIME)
	$(PIP) uv
	$(UV) --extra build --extra dev -o requirements-dev.txt
	$(UV) --extra build -c requirements-dev.txt -o requirements.txt

clean:
	rm -rf $(VENV) build report .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache .coverage .coverage.*
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
