# make demo    set up, run the floors and a fine-tuned model on the sample contest, show the board
# make story   run the contest's story again, one change at a time, and print its table (half an hour)
# make test    set up for development and run every test
# make check   lint, types, import rules
# make clean   remove the environment and what the demo made
#
# PYTHON=python3.12 chooses another interpreter. Everything lives in .venv; nothing else is touched.

PYTHON ?= python3
VENV := .venv
ifeq ($(OS),Windows_NT)
BIN := $(VENV)/Scripts
else
BIN := $(VENV)/bin
endif
PIP := $(BIN)/python -m pip --disable-pip-version-check

.PHONY: demo story test test-fast check format contest clean

demo: $(VENV)/.core
	$(BIN)/python cli.py baseline lead --submit
	$(BIN)/python cli.py baseline textrank --submit
	$(BIN)/python cli.py baseline prompt --recipe recipes/tiny-recorded.toml --submit
	@echo "Next, torch (the largest part of the set-up), and three minutes of fine-tuning."
	@$(MAKE) --no-print-directory $(VENV)/.lora
	$(BIN)/python cli.py baseline lora --submit
	$(BIN)/python cli.py leaderboard

story: $(VENV)/.lora
	PYTHONPATH=. $(BIN)/python benchmarks/story.py

test: $(VENV)/.dev
	$(BIN)/python -m pytest -n auto

test-fast: $(VENV)/.dev
	$(BIN)/python -m pytest -n auto -m "not slow"

check: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

contest: $(VENV)/.core
	$(BIN)/python -m contests.mini.generator

$(VENV)/.made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "matbogi needs Python 3.11 or later; $(PYTHON) is older. Try: make PYTHON=python3.12 demo"; exit 1; }
	@$(PYTHON) -m venv $(VENV) || \
	  { rm -rf $(VENV); echo "The module venv is missing. On Debian and Ubuntu: sudo apt install python3-venv"; exit 1; }
	@touch $@

$(VENV)/.core: $(VENV)/.made pyproject.toml constraints.txt
	$(PIP) install --quiet --constraint constraints.txt --editable .
	@echo "Environment $(VENV) ready."
	@touch $@

$(VENV)/.lora: $(VENV)/.core
	$(PIP) install --quiet --constraint constraints.txt torch
	$(PIP) install --quiet --constraint constraints.txt --editable '.[lora]'
	@touch $@

$(VENV)/.dev: $(VENV)/.made pyproject.toml constraints.txt
	$(PIP) install --quiet --constraint constraints.txt torch
	$(PIP) install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $(VENV)/.core $(VENV)/.lora $@

clean:
	rm -f contests/*/private/tokens.sqlite3*
	rm -rf $(VENV) runs leaderboard.db leaderboard.db-journal leaderboard.db-wal leaderboard.db-shm leaderboard.db.lock
	find submissions -mindepth 1 ! -name README.md -delete
