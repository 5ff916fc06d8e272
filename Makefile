# `make demo` and `make test` do all their set-up themselves. PYTHON names the interpreter (3.10 to 3.13).
PYTHON ?= python3
STACK ?= all
PYTEST_ARGS ?=

VENV := .venv
VENV_CLASSIC := .venv-classic
PIP_OPTIONS := --quiet --disable-pip-version-check
PACKAGING := setup.py pyproject.toml mmseg_isda/version.py

.PHONY: help demo test lint format test-maintained test-classic benchmark clean
.DEFAULT_GOAL := help

help:
	@echo 'make demo                      set up, then train and compare a small PSPNet with and without ISDA (about 10 minutes)'
	@echo 'make test                      set up, then run the linter and the tests on both stacks'
	@echo 'make test STACK=maintained     the linter and the tests on the maintained stack alone (or STACK=classic)'
	@echo 'make benchmark                 time and memory of the loss'
	@echo 'make lint | format | clean'

# The maintained stack: onedl-mmsegmentation. Nothing is compiled.
$(VENV)/ready: requirements/maintained.txt $(PACKAGING)
	@echo 'Setting up the maintained stack in $(VENV) (one to three minutes) ...'
	@$(PYTHON) -c 'import sys; assert (3, 10) <= sys.version_info[:2] <= (3, 13), \
	    f"Python 3.10 to 3.13 is needed, this is {sys.version.split()[0]}: make PYTHON=python3.x ..."'
	@test -x $(VENV)/bin/python || $(PYTHON) -m venv $(VENV)
	@$(VENV)/bin/pip install $(PIP_OPTIONS) -c requirements/maintained.txt 'setuptools>=64' wheel torch
	@$(VENV)/bin/pip install $(PIP_OPTIONS) -c requirements/maintained.txt -e '.[onedl,test]'
	@touch $@

# The classic stack: mmsegmentation needs the compiled operators of mmcv, which are built here where no wheel is found.
$(VENV_CLASSIC)/ready: requirements/classic.txt $(PACKAGING)
	@echo 'Setting up the classic stack in $(VENV_CLASSIC) (a minute; 15 more if mmcv has to be compiled) ...'
	@test -x $(VENV_CLASSIC)/bin/python || $(PYTHON) -m venv $(VENV_CLASSIC)
	@$(VENV_CLASSIC)/bin/pip install $(PIP_OPTIONS) -c requirements/classic.txt setuptools wheel ninja psutil torch numpy
	@MMCV_WITH_OPS=1 $(VENV_CLASSIC)/bin/pip install $(PIP_OPTIONS) -c requirements/classic.txt --no-build-isolation mmcv
	@$(VENV_CLASSIC)/bin/pip install $(PIP_OPTIONS) -c requirements/classic.txt --no-build-isolation \
	    -e '.[openmmlab,test]'
	@touch $@

demo: $(VENV)/ready
	@$(VENV)/bin/python tools/demo.py

test: $(if $(filter all,$(STACK)),test-maintained test-classic,test-$(STACK))

lint: $(VENV)/ready
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .

format: $(VENV)/ready
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

# One thread a worker: threads that spin while they wait for one another would slow two workers down.
test-maintained test-classic: export OMP_NUM_THREADS = 1

test-maintained: lint
	$(VENV)/bin/python -m pytest -n 2 --dist loadfile $(PYTEST_ARGS)

test-classic: $(VENV_CLASSIC)/ready
	$(VENV_CLASSIC)/bin/python -m pytest -n 2 --dist loadfile tests/core tests/engine tests/segmentation $(PYTEST_ARGS)

benchmark: $(VENV)/ready
	$(VENV)/bin/python benchmarks/loss_cost.py
	$(VENV)/bin/python benchmarks/fused_loss.py

clean:
	rm -rf $(VENV) $(VENV_CLASSIC) build *.egg-info .pytest_cache .ruff_cache
