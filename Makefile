# `make book` builds the book, `make test` tests it. Both set up .venv first; neither needs more than
# Python 3.11 to 3.13, git and make. `make help` lists the rest.

PYTHON ?= python3
VENV := .venv
# Relative, because the path of this folder may hold spaces.
BIN := $(VENV)/bin
READY := $(VENV)/.installed
HTML := _build/html
# Tests and chapters run side by side, one thread each.
SIDE_BY_SIDE := -n auto --maxprocesses=4 --maxschedchunk=1

# Chapters run with the packages of .venv and nothing else, whether or not it is activated.
export PATH := $(CURDIR)/$(BIN):$(PATH)
export PYTHONNOUSERSITE := 1
export JUPYTER_PREFER_ENV_PATH := 1
unexport JUPYTER_PATH PYTHONPATH

.DEFAULT_GOAL := help
.PHONY: help setup book pdf notebooks demos test test-slow check-site shake serve lint clean distclean

help:  ## show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "make %-11s %s\n", $$1, $$2}'

setup: $(READY)  ## make .venv, install requirements.txt and wmlib in it, fetch the demos' browser files

$(READY): requirements.txt pyproject.toml book/_ext/vendor.py book/_ext/platforms.py
	@"$(PYTHON)" book/_ext/platforms.py
	@test -x $(BIN)/python || "$(PYTHON)" -m venv $(VENV) || \
		{ rm -rf $(VENV); echo 'make: $(PYTHON) could not make a virtual environment (Debian, Ubuntu: install python3-venv)' >&2; exit 1; }
	@echo 'Installing the packages of requirements.txt in $(VENV): minutes the first time, and only then.'
	$(BIN)/python -m pip install --disable-pip-version-check --quiet --requirement requirements.txt
	$(BIN)/python -m pip install --disable-pip-version-check --quiet --no-deps --editable .
	$(BIN)/python book/_ext/vendor.py
	$(BIN)/python -m ipykernel install --sys-prefix --env OMP_WAIT_POLICY passive
	@touch $@

book: $(READY)  ## run every chapter that changed and build the book
	$(BIN)/jupyter-book build . -W -n --keep-going

pdf: $(READY)  ## print the built book into one PDF, _build/world-models-from-scratch.pdf (needs Chromium)
	$(BIN)/python book/_make/pdf.py $(HTML) _build/world-models-from-scratch.pdf

notebooks: $(READY)  ## pack the chapters and what they read into an archive, _build/world-models-from-scratch.zip
	$(BIN)/python book/_make/notebooks.py _build/world-models-from-scratch.zip

demos: $(READY)  ## bundle the demos' scripts and styles anew, after a change of one in wmlib/demos/
	$(BIN)/python book/_make/demos.py wmlib/demos

test: $(READY)  ## test the library, then run the chapters as tests
	$(BIN)/python -m pytest $(SIDE_BY_SIDE)
	$(BIN)/python -m pytest $(SIDE_BY_SIDE) --nbmake --nbmake-timeout=600 --override-ini addopts= book/

test-slow: $(READY)  ## the library's slow tests
	$(BIN)/python -m pytest -m slow $(SIDE_BY_SIDE)

check-site: $(READY)  ## check the built book (links, every page in a browser without a network), and the demos in JupyterLab
	@test -f $(HTML)/book/index.html || { echo 'make: there is no built book yet; run: make book' >&2; exit 1; }
	$(BIN)/python -m pytest -m site $(SIDE_BY_SIDE) --dist=loadgroup --no-loadscope-reorder tests/site

shake: $(READY)  ## run every chapter many times under changed arithmetic (hours), and keep the rows
	$(BIN)/python benchmarks/shake.py --save

serve: $(READY)  ## show the built book on http://localhost:8000
	@test -f $(HTML)/index.html || { echo 'make: there is no built book yet; run: make book' >&2; exit 1; }
	$(BIN)/python -m http.server 8000 --bind 127.0.0.1 --directory $(HTML)

lint: $(READY)  ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/mypy

clean:  ## remove what was built, keep .venv
	rm -rf _build .pytest_cache .mypy_cache .ruff_cache
	find book tests wmlib -name __pycache__ -type d -prune -exec rm -rf {} +

distclean: clean  ## remove .venv and the fetched browser files as well
	rm -rf $(VENV) book/_vendor wmlib.egg-info
