# Sets up and runs everything; each target is one of the commands that the README names.

PYTHON ?= python3
VENV := .venv
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)

.PHONY: setup repro quick ui test check lock

repro: setup
	dvc repro
	@echo "Done. Look at plots/samples.png and reports/filter.html; 'make ui' opens the runs."

quick: setup
	bash scripts/quick.sh

ui: setup
	python -m pipeline.ui

test: setup
	pytest -m "not long"

check: setup
	ruff check .
	ruff format --check .
	mypy
	pytest

lock: setup
	uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-emit-find-links --python-version 3.11 \
		--extra dev --custom-compile-command "make lock" pyproject.toml --output-file requirements.lock

setup: $(VENV)/.installed

# The stamp is the last thing written, so a set-up that was cut off starts again.
$(VENV)/.installed: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed: make PYTHON=python3.11" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
	pip install --quiet --require-hashes --requirement requirements.lock
	pip install --quiet --no-deps --no-build-isolation --editable .
	touch $@
