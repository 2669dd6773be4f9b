# make app: the dashboard.  make test: everything a change must pass.  Both do their own set-up.
.PHONY: app test test-lowest test-ray lint fix unit checkpoints screenshots readme docs clean
.DEFAULT_GOAL := app

PYTHON := $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && echo $$p && break; done)
BIN := .venv/bin
# Each of the tests' processes would compile all modules again.
unexport PYTHONDONTWRITEBYTECODE
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet

app: .venv/app
	$(BIN)/streamlit run app.py

.venv/app: requirements.txt pyproject.toml
	@test -n "$(PYTHON)" || { echo "FNKD Lab needs Python 3.11 or newer; install it and run make again." >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@echo "Installing requirements into .venv (several minutes and gigabytes the first time, for torch)"
	$(PIP) -r requirements.txt
	$(PIP) --no-deps --editable .
	@touch $@

.venv/dev: .venv/app
	@echo "Installing the development requirements"
	$(PIP) --editable ".[dev]"
	@sh .ci/browser
	@touch $@

test: .venv/dev
	$(MAKE) --no-print-directory --jobs 2 lint docs
	$(BIN)/python -m pytest

# The lowest versions that requirements.txt and pyproject.toml state, in an environment of their own.
test-lowest: .venv-lowest/ready
	.venv-lowest/bin/python -m pytest --ignore tests/browser

.venv-lowest/ready: requirements.txt pyproject.toml .ci/lowest
	@test -x .venv-lowest/bin/python || $(PYTHON) -m venv .venv-lowest
	.ci/lowest > .venv-lowest/requirements.txt
	.venv-lowest/bin/python -m pip --disable-pip-version-check install --quiet -r .venv-lowest/requirements.txt
	.venv-lowest/bin/python -m pip --disable-pip-version-check install --quiet --no-deps --editable .
	@touch $@

# On a Ray cluster of two nodes, which the tests start and stop themselves.
test-ray: .venv/ray
	$(BIN)/python -m pytest tests/ray -m ray --numprocesses=0

.venv/ray: .venv/dev
	$(PIP) --editable ".[ray]"
	@touch $@

lint: .venv/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/mypy

fix: .venv/dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

unit: .venv/dev
	$(BIN)/python -m pytest -m "not browser and not ray"

checkpoints: .venv/app
	$(BIN)/python benchmarks/make_checkpoints.py

screenshots: .venv/dev
	$(BIN)/python docs/take_screenshots.py

readme: .venv/app
	$(BIN)/python docs/write_readme.py

# The reference of every public function, in build/reference.
docs: .venv/dev
	$(BIN)/python docs/write_reference.py

clean:
	rm -rf .venv .venv-lowest build *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
