# Sets up and runs everything; each target is one of the commands that the README names.

PYTHON ?= python3
VENV := .venv
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)

.PHONY: setup repro quick ui test check recipes study lock

# DVC hashes the dataroot before the import begins, and would wait for a pipe in it for ever.
repro: setup
	@python -m pipeline.precheck
	dvc repro
	@echo "Done. Look at plots/samples.png, reports/filter.html and reports/evaluate.html; 'make ui' opens the runs."

# A first look: fewer faces, smaller nets and batches, in a temporary checkout, so that no file of yours changes.
QUICK := data/builtin.yaml:count=6000 num_epochs=18 batch_size=64 ngf=32 ndf=32 \
	evaluate.n_generated=1000 evaluate.n_real=1000

quick: setup
	@python -m pipeline.precheck
	@dvc exp remove --quiet quick 2>/dev/null || true
	dvc exp run --temp --name quick $(addprefix --set-param ,$(QUICK))
	dvc get --quiet --force --rev "$$(git for-each-ref --format='%(objectname)' 'refs/exps/*/*/quick')" . plots/samples.png \
		--out plots/quick.png
	@echo "Done. Look at plots/quick.png; 'make ui' opens the run, 'dvc exp apply quick' brings its generator here."

ui: setup
	python -m pipeline.ui

test: setup
	pytest -m "not long"

check: setup
	ruff check .
	ruff format --check .
	mypy
	bandit --quiet --configfile pyproject.toml --recursive pipeline stages
	pytest

# Which recipe draws the better faces in the same time: some 85 minutes on two cores.
recipes: setup
	python -m benchmarks.recipes

# Does cleaning help? FORM=--quick takes under 15 minutes on two cores, FORM=--long a night; what is there is not run again.
study: setup
	dcgan study cleaning $(FORM)

lock: setup
	uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-emit-find-links --python-version 3.11 \
		--extra dev --custom-compile-command "make lock" pyproject.toml --output-file requirements.lock

setup: $(VENV)/.installed

# The stamp is the last thing written, so a set-up that was cut off starts again.
$(VENV)/.installed: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed: make PYTHON=python3.11" if sys.version_info < (3, 11) else 0)'
	@echo "Installing about 7 GB into $(VENV); this takes some minutes."
	$(PYTHON) -m venv $(VENV)
	pip install --quiet --require-hashes --requirement requirements.lock
	pip install --quiet --no-deps --no-build-isolation --editable .
	@# The page of `dvc plots`, which would fetch its scripts from the network.
	python -m pipeline.plots_page
	@# DVC keeps experiments as commits, and git makes none for nobody.
	@git config user.email >/dev/null || git config user.email "$$(id -un)@localhost"
	@git config user.name >/dev/null || git config user.name "$$(id -un)"
	touch $@
