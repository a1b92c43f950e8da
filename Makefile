# Every target is one line that calls the package; `make` alone prints this help.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
# Flags of a command, for example: make train RECIPE=strong ARGS="--epochs 60 --fold 0"
ARGS ?=
# Which recipe to prepare and train, by name or by the path of a recipe.json; which run to tune, predict, draw
# and submit: by default the recipe's name, for which the package reads the file.
RECIPE ?=
NAME_OF_FILE = $(shell $(BIN)/python -m pneumothorax.recipes "$(RECIPE)")
RUN ?= $(if $(findstring .,$(RECIPE))$(findstring /,$(RECIPE)),$(or $(NAME_OF_FILE),$(error RECIPE=$(RECIPE) is no recipe)),$(RECIPE))
BY_RECIPE = $(if $(RECIPE),--recipe "$(RECIPE)")
OF_RUN = $(if $(RUN),--run $(RUN))

.DEFAULT_GOAL := help
# Of the targets on Kaggle's notebooks, for example: make push KERNEL=train FOLDS=0,1,2,3,4
KERNEL ?=
FOLDS ?=
# Which machine the pushed notebook gets, gpu (T4 x2) by default: make push KERNEL=train ACCELERATOR=tpu
ACCELERATOR ?=
NOTEBOOK = $(KERNEL) $(if $(FOLDS),--fold $(FOLDS))

.PHONY: help install demo phantom download prepare explore augmentations train tune predict ensemble figures report submit validate
.PHONY: segment app export publish score leaderboard kernels push kernel-status kernel-output kernels-deps quota
.PHONY: test test-fast campaign matrix lint docs benchmarks clean

help: ## print this help
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

install: $(VENV)/.installed ## make .venv and install the tested set of packages into it

$(VENV)/.installed: setup.py constraints.txt
	@command -v "$(PYTHON)" >/dev/null || { echo "no $(PYTHON) here; expected Python 3.11 or newer; name it: make install PYTHON=python3.12" >&2; exit 2; }
	@"$(PYTHON)" -c 'import sys; v = sys.version_info; v >= (3, 11) or sys.exit("$(PYTHON) is Python %d.%d; expected 3.11 or newer; name it: make install PYTHON=python3.12" % v[:2])'
	"$(PYTHON)" -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $@

demo: install ## run the whole road on an artificial competition, in build/demo
	$(BIN)/pneumothorax demo $(ARGS)

phantom: install ## make the artificial competition
	$(BIN)/pneumothorax $@ $(ARGS)

download: install ## fetch the competition and a source of training images from Kaggle
	$(BIN)/pneumothorax $@ $(ARGS)

prepare: install ## decode and resize all radiographs once
	$(BIN)/pneumothorax $@ $(BY_RECIPE) $(ARGS)

explore: install ## write one HTML page on the data: counts, lesions, patients, duplicates, odd images
	$(BIN)/pneumothorax $@ $(BY_RECIPE) $(ARGS)

augmentations: install ## draw images as a recipe's augmentation shows them
	$(BIN)/pneumothorax $@ $(BY_RECIPE) $(ARGS)

train: install ## train all folds of a recipe: RECIPE=strong; the same command resumes
	$(BIN)/pneumothorax $@ $(BY_RECIPE) $(OF_RUN) $(ARGS)

tune: install ## choose the rule from probability to mask on held-out images
	$(BIN)/pneumothorax $@ $(RUN) $(ARGS)

predict: install ## predict the test set, or a folder of radiographs
	$(BIN)/pneumothorax $@ $(RUN) $(ARGS)

segment: install ## outline what a run finds in radiographs of your own: IMAGES=folder RUN=strong OUT=folder
	$(BIN)/pneumothorax $@ $(if $(IMAGES),"$(IMAGES)") $(OF_RUN) $(if $(OUT),--out "$(OUT)") $(ARGS)

app: install ## serve a page on this machine, to drop radiographs into: RUN=strong
	$(BIN)/pneumothorax $@ $(OF_RUN) $(ARGS)

export: install ## write a run's networks and its rule as one file: RUN=strong OUT=strong.onnx
	$(BIN)/pneumothorax $@ $(or $(RUN),seed) $(if $(OUT),--out "$(OUT)") $(ARGS)

publish: install ## publish a run on a hub, kaggle or huggingface: RUN=strong TO=kaggle ARGS=--dry-run
	$(BIN)/pneumothorax $@ $(or $(RUN),seed) --to $(or $(TO),kaggle) $(ARGS)

submit: install ## write and validate a submission CSV, and submit it to Kaggle
	$(BIN)/pneumothorax $@ $(RUN) $(ARGS)

validate: install ## check a submission CSV
	$(BIN)/pneumothorax $@ $(ARGS)

score: install ## score a submission CSV against a truth
	$(BIN)/pneumothorax $@ $(ARGS)

ensemble: install ## average several runs into one: ARGS="strong seed=0.5 --run both"
	$(BIN)/pneumothorax $@ $(ARGS)

figures: install ## draw curves, histogram and overlays of a run
	$(BIN)/pneumothorax $@ $(RUN) $(ARGS)

report: install ## write one HTML page on a run: RUN=strong, or on several: RUN="strong seed"
	$(BIN)/pneumothorax $@ $(or $(RUN),seed) $(ARGS)

leaderboard: install ## fetch the scores of all submissions: submissions/README.md
	$(BIN)/pneumothorax $@ $(ARGS)

kernels: install ## build the notebooks of kernels/ from their sources and the package
	$(BIN)/pneumothorax $@ $(ARGS)

push: install ## push a notebook, which Kaggle runs: KERNEL=train RECIPE=strong FOLDS=0,1,2,3,4 ACCELERATOR=tpu
	$(BIN)/pneumothorax $@ $(NOTEBOOK) $(if $(RECIPE),--parameter "RECIPE=$(RECIPE)") $(if $(ACCELERATOR),--parameter ACCELERATOR=$(ACCELERATOR)) $(ARGS)

kernel-status: install ## show how a pushed notebook does: KERNEL=train
	$(BIN)/pneumothorax $@ $(NOTEBOOK) $(ARGS)

kernel-output: install ## wait for a notebook and fetch its runs and CSV: KERNEL=train
	$(BIN)/pneumothorax $@ $(NOTEBOOK) $(ARGS)

kernels-deps: install ## upload what notebooks need without internet
	$(BIN)/pneumothorax $@ $(ARGS)

quota: install ## show how many GPU and TPU hours are left this week
	$(BIN)/pneumothorax $@ $(ARGS)

# The tests start the package a hundred times: Python keeps it compiled.
unexport PYTHONDONTWRITEBYTECODE
PYTEST = $(BIN)/python -m pytest --numprocesses auto --dist worksteal

test: install ## run all tests
	$(PYTEST) $(ARGS)

test-fast: install ## run the tests that train nothing and take a moment
	$(PYTEST) -m "not slow" $(ARGS)

campaign: install ## kill commands, fill disks and mutate files for hours; goes on where it stopped: ARGS=--help
	PYTHONPATH=. $(BIN)/python -m tests.campaign $(ARGS)

# The constraints are the tested set of Python 3.11; here each Python gets the newest that setup.py allows.
PYTHONS ?= python3.12 python3.13
MATRIX := build/matrix
matrix: ## run the fast tests on other Pythons, with the newest packages: PYTHONS="python3.12 python3.13"
	for python in $(PYTHONS); do \
		folder="$(MATRIX)/$$(basename $$python)"; \
		$$python -m venv "$$folder" && \
		"$$folder/bin/python" -m pip install --quiet --disable-pip-version-check --upgrade --editable '.[dev]' && \
		"$$folder/bin/python" -m pip list --disable-pip-version-check | grep -iE '^(numpy|pandas|opencv|keras|tensorflow|jax|kaggle)' && \
		"$$folder/bin/python" -m pytest --numprocesses auto --dist worksteal -m "not slow" $(ARGS) || exit 1; \
	done

lint: install ## check format, style, types and architecture
	$(BIN)/ruff format --check . && $(BIN)/ruff check . && $(BIN)/mypy && $(BIN)/lint-imports

docs: install ## build the documentation site, build/docs/index.html, and check its links
	$(BIN)/python docs/make_pages.py

benchmarks: install ## measure the claims of speed; peers to install stand in each script
	for script in rle prepare predict tune training feed download memory report segment onnx_speed; do PYTHONPATH=. $(BIN)/python benchmarks/$$script.py || exit 1; done

clean: ## remove what demo and tests left; data, runs and submissions stay
	rm -rf build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
