# perflib: `make` lists the targets. Everything is installed into .venv on first use.
PYTHON ?= python3
BIN := .venv/bin
RUN := env -u PERFLIB_RUN $(BIN)
FULL ?=
ALL ?=

.DEFAULT_GOAL := help
.PHONY: help report check test test-slow test-oldest fuzz fuzz-runs lab bench fleet-bench readme faults mutants clean
.DELETE_ON_ERROR:

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 10

report: .venv/base ## measure this machine and write reports/index.html (FULL=1: the long grid)
	$(BIN)/perflib record $(if $(FULL),,--quick)
	$(BIN)/perflib report latest

check: .venv/test ## lint and the tests of what changed since origin/main
	$(BIN)/ruff check . && $(BIN)/ruff format --check .
	tests=$$($(RUN)/python tests/support/changed.py) && { [ -z "$$tests" ] || $(RUN)/python -m pytest -q -n auto --dist worksteal -m "not slow" $$tests; }

test: .venv/test ## lint, unit tests (compiled and JIT-off), then the notebooks against their committed outputs
	$(BIN)/ruff check . && $(BIN)/ruff format --check .
	$(RUN)/python -m pytest -n auto --dist worksteal -m "not slow"
	NUMBA_DISABLE_JIT=1 $(RUN)/python -m pytest -q tests/kernels/gemm/test_textbook.py tests/kernels/rmsnorm/test_textbook.py
	$(RUN)/python -m pytest -n auto --dist loadfile --nbval notebooks

test-slow: .venv/test ## the tests that take longer, then perflib against its own targets: half an hour
	$(RUN)/python -m pytest -n auto --dist loadfile -m slow
	$(RUN)/perflib selfcheck

test-oldest: .venv/test ## the fast tests with the lowest versions that are declared, in .venv-oldest
	$(PYTHON) -m venv .venv-oldest
	$(RUN)/python tests/support/oldest.py > .venv-oldest/lowest.txt
	.venv-oldest/bin/pip install --quiet --constraint .venv-oldest/lowest.txt --editable '.[test]'
	env -u PERFLIB_RUN .venv-oldest/bin/python -m pytest -n auto --dist worksteal -W default::DeprecationWarning -m "not slow"

fuzz: .venv/test ## multiply 100,000 matrices of random shapes and layouts and check every product: ten minutes
	PYTHONPATH=tests/support $(RUN)/python tests/support/fuzz.py

fuzz-runs: .venv/test ## a thousand mutated runs, by SEED: each must be refused in one line or read as what it says: an hour
	$(RUN)/python tests/support/mutations.py --count 1000 --seed $(or $(SEED),1)

lab: .venv/lab ## open JupyterLab on the first notebook, for this machine only
	PATH="$(CURDIR)/$(BIN):$$PATH" jupyter lab --ip=127.0.0.1 --LabApp.news_url=None $(if $(filter 0,$(shell id -u)),--allow-root) --ServerApp.root_dir=. notebooks/00-start-here.ipynb

bench: .venv/peers ## multiplications, norms and a decoder against NumPy, MKL and PyTorch, into reports/bench: some minutes
	$(BIN)/perflib bench

fleet-bench: .venv/test ## read and judge the summaries of 1,000 machines: seconds and memory
	$(RUN)/python tests/support/fleet_bench.py

readme: .venv/base ## renew the README: pictures of the reference run, results of the last `make bench` in reports/
	$(RUN)/perflib readme

faults: .venv/test ## insert the bugs of tests/faults in what changed since origin/main, and show that tests turn red (ALL=1: all)
	$(RUN)/python tests/faults/run.py $(if $(ALL),--all)

mutants: .venv/test ## mutate the package in COUNT places drawn by SEED, and list what no test notices: some hours for 200
	$(RUN)/python tests/support/mutants.py --count $(or $(COUNT),200) --seed $(or $(SEED),24)

clean: ## remove what was built: .venv, reports, caches; recorded runs stay
	rm -rf .venv .venv-oldest reports build perflib.egg-info .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
	  { echo "perflib needs Python 3.11 or newer, got $$($(PYTHON) --version 2>&1); name one: make PYTHON=python3.12"; exit 1; }
	@echo "creating .venv"
	@$(PYTHON) -m venv .venv

.venv/base .venv/lab .venv/peers .venv/test: pyproject.toml constraints.txt | .venv/bin/python
	@echo "installing perflib and what it needs into .venv"
	@$(BIN)/pip install --quiet --no-compile --constraint constraints.txt --editable '.$(if $(filter-out base,$(@F)),[$(@F)])'
	@$(BIN)/python -m compileall -qq -j 0 -x '/tests?/' .venv/lib || true  # what pip would do on one core, and for the tests of all libraries
	@touch .venv/base $@
