# `make demo` and `make test` do all their set-up themselves. PYTHON names the interpreter (3.10 to 3.13).
PYTHON ?= python3
PYTEST_ARGS ?=
GPU_ARGS ?=

VENV := .venv
VENV_CLASSIC := .venv-classic
PIP_OPTIONS := --quiet --disable-pip-version-check
INSTALL := $(VENV)/bin/pip install $(PIP_OPTIONS) -c requirements/maintained.txt
INSTALL_CLASSIC := $(VENV_CLASSIC)/bin/pip install $(PIP_OPTIONS) -c requirements/classic.txt
PACKAGING := setup.py pyproject.toml mmseg_isda/version.py
RUN_TESTS := -m pytest -n 2 --dist loadfile

.PHONY: help demo demo-classification demo-detection demo-semi demo-analysis test test-all test-maintained test-classic \
    lint format benchmark gpu docs clean
.DEFAULT_GOAL := help

help:
	@echo 'make demo                  set up, then compare a small PSPNet with and without ISDA over seeds (about 10 minutes)'
	@echo 'make demo-classification   the same for a small classifier of few handwritten digits, with MMPretrain'
	@echo 'make demo-detection        pretrain with ISDA, convert, train a Mask R-CNN, with MMDetection (about 10 minutes)'
	@echo 'make demo-analysis         every analysis of the paper on a network of digits, as one page (about 10 minutes)'
	@echo 'make demo-semi             five labels a digit: four semi-supervised methods with and without ISDA (about 10 minutes)'
	@echo 'make test                  set up, then run the linters and the quick tests; nothing is compiled'
	@echo 'make test-all              also detection, the classic stack, the slow tests and the wheel'
	@echo 'make benchmark             time and memory of the loss, with plots (20 to 45 minutes)'
	@echo 'make gpu                   try on a GPU what the documents say, and measure it there (up to 8 minutes)'
	@echo 'make docs                  write docs/api.md from the docstrings'
	@echo 'make lint | format | clean'
	@echo
	@echo 'MMDetection and the classic stack need the compiled operators of MMCV. Where pip finds no wheel of them'
	@echo '(PIP_FIND_LINKS) they are built, once: 13 to 17 minutes on two cores.'

# The maintained stack: onedl-mmsegmentation. Nothing is compiled.
$(VENV)/ready: requirements/maintained.txt $(PACKAGING)
	@echo 'Setting up the maintained stack in $(VENV) (one to three minutes) ...'
	@$(PYTHON) -c 'import sys; assert (3, 10) <= sys.version_info[:2] <= (3, 13), \
	    f"Python 3.10 to 3.13 is needed, this is {sys.version.split()[0]}: make PYTHON=python3.x ..."'
	@test -x $(VENV)/bin/python || $(PYTHON) -m venv $(VENV)
	@$(INSTALL) setuptools wheel torch
	@$(INSTALL) -e '.[onedl,demo]'
	@touch $@

# MMPretrain beside it: nothing is compiled either.
$(VENV)/ready-classification: $(VENV)/ready
	@echo 'Adding MMPretrain to $(VENV) (a minute) ...'
	@$(INSTALL) -e '.[onedl,onedl-classification,demo]'
	@touch $@

# What the analyses need besides.
$(VENV)/ready-analysis: $(VENV)/ready-classification
	@echo 'Adding openTSNE to $(VENV) (a minute) ...'
	@$(INSTALL) -e '.[onedl,onedl-classification,demo,analysis]'
	@touch $@

# What the tests need besides.
$(VENV)/ready-test: $(VENV)/ready-classification
	@echo 'Adding the test tools to $(VENV) (a minute) ...'
	@$(INSTALL) -e '.[onedl,onedl-classification,demo,analysis,pretrained,test]'
	@touch $@

# MMDetection beside both, with the compiled operators.
$(VENV)/ready-detection: $(VENV)/ready-classification
	@echo 'Adding MMDetection to $(VENV) (a minute) ...'
	@$(INSTALL) -e '.[onedl,onedl-detection,demo]'
	@$(VENV)/bin/python tools/build_mmcv_ops.py onedl-mmcv --constraint requirements/maintained.txt
	@touch $@

# The classic stack: even MMSegmentation needs the compiled operators there.
$(VENV_CLASSIC)/ready: requirements/classic.txt $(PACKAGING)
	@echo 'Setting up the classic stack in $(VENV_CLASSIC) (two to three minutes; 15 more if mmcv has to be compiled) ...'
	@test -x $(VENV_CLASSIC)/bin/python || $(PYTHON) -m venv $(VENV_CLASSIC)
	@$(INSTALL_CLASSIC) setuptools wheel torch torchvision numpy
	@$(VENV_CLASSIC)/bin/python tools/build_mmcv_ops.py mmcv --constraint requirements/classic.txt
	@$(INSTALL_CLASSIC) --no-build-isolation \
	    -e '.[openmmlab,openmmlab-classification,openmmlab-detection,demo,analysis,test]'
	@touch $@

demo: $(VENV)/ready
	@$(VENV)/bin/python -m demo.segmentation

demo-classification: $(VENV)/ready-classification
	@$(VENV)/bin/python -m demo.classification

demo-semi: $(VENV)/ready-classification
	@$(VENV)/bin/python -m demo.semi

demo-detection: $(VENV)/ready-detection
	@$(VENV)/bin/python -m demo.detection

demo-analysis: $(VENV)/ready-analysis
	@$(VENV)/bin/python -m demo.analysis

# Nothing here is compiled and nothing takes long.
test: lint
	$(VENV)/bin/python $(RUN_TESTS) -m 'not slow' --ignore tests/detection $(PYTEST_ARGS)

test-all: test-maintained test-classic

# One thread a worker: threads that spin while they wait for one another would slow two workers down.
test test-maintained test-classic: export OMP_NUM_THREADS = 1

test-maintained: lint $(VENV)/ready-detection
	$(VENV)/bin/python $(RUN_TESTS) $(PYTEST_ARGS)

test-classic: $(VENV_CLASSIC)/ready
	$(VENV_CLASSIC)/bin/python $(RUN_TESTS) \
	    tests/core tests/engine tests/segmentation tests/classification tests/detection $(PYTEST_ARGS)
	$(VENV_CLASSIC)/bin/python $(RUN_TESTS) -m 'not slow' tests/checkpoints tests/commands tests/analysis $(PYTEST_ARGS)

lint: $(VENV)/ready-test
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

format: $(VENV)/ready-test
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

benchmark: $(VENV)/ready-classification
	@$(VENV)/bin/python benchmarks/quick.py

gpu: $(VENV)/ready-test
	@$(VENV)/bin/python benchmarks/gpu.py $(GPU_ARGS)

docs: $(VENV)/ready
	@$(INSTALL) griffe
	$(VENV)/bin/python docs/make_api.py

clean:
	rm -rf $(VENV) $(VENV_CLASSIC) build *.egg-info .pytest_cache .ruff_cache .mypy_cache
