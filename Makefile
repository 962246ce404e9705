# From a fresh clone, `make demo` and `make test` do all they need: they make .venv and install into it.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/installed
PEERS ?= ../shared/peers
DATA ?= ../shared/data
GATYS ?= 2
PACKAGES := edgestyle export quantize models demo_apps
DEMO := build/demo

.DEFAULT_GOAL := help
.PHONY: help venv demo test check lint type pytest browser kotlin format validate-zoo bench-peers zoo-measure contact-sheets wheel constraints clean

help: ## list these goals
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 16

venv: $(INSTALLED) ## make .venv with edgestyle and all its tools in it (about 2 minutes, 3 GB)

$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed: make PYTHON=/path/to/python3.11"; exit 1; }
	@echo "Installing edgestyle and its tools into $(VENV); this takes about two minutes."
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

demo: $(INSTALLED) ## paint a photo, then export the filter to every target, verified, into build/demo
	mkdir -p $(DEMO)
	cp "$$($(BIN)/python -c 'import skimage; print(skimage.data_dir)')/coffee.png" $(DEMO)/photo.png
	$(BIN)/edgestyle stylize $(DEMO)/photo.png --model great_wave -o $(DEMO)/painted.png
	$(BIN)/edgestyle export --model great_wave --target all --out $(DEMO)
	@echo
	@echo "The photo:   $(DEMO)/photo.png"
	@echo "The picture: $(DEMO)/painted.png"
	@echo "The files, each with its manifest (.json) beside it: $(DEMO)/great_wave-*"

test: lint type pytest ## everything that CI checks

check: ## exactly what CI runs
	bash .ci/run

lint: $(INSTALLED) ## style and common mistakes
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

type: $(INSTALLED) ## types, strictly; the folders apart, because checkers do not know where they are installed
	$(BIN)/mypy edgestyle
	$(BIN)/mypy $(filter-out edgestyle,$(PACKAGES))

pytest: $(INSTALLED) browser kotlin ## the tests
	$(BIN)/pytest -q -n 2

browser: $(INSTALLED) ## add Chromium, where apt can, and the networks' runtimes for browsers
	@command -v chromium chromium-browser google-chrome > /dev/null || [ -d "/Applications/Google Chrome.app" ] || \
		{ [ "$$(id -u)" = 0 ] && apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq chromium > /dev/null; } || \
		echo "Chromium is not installed; tests in a browser and on the GPU will say so and be skipped"
	$(BIN)/edgestyle doctor --quick --install browser > /dev/null || \
		echo "The runtimes for browsers are not installed; tests in a browser will say so and be skipped"

kotlin: ## add Kotlin's compiler, where npm can, for the test of the Android app's pre-processing (94 MB)
	@command -v kotlinc > /dev/null || [ -e build/kotlin/node_modules/kotlin-compiler/bin/kotlinc ] || \
		npm install --silent --no-audit --no-fund --no-save --prefix build/kotlin kotlin-compiler@2.4.20 2> /dev/null || \
		echo "Kotlin's compiler is not installed; its test will say so and be skipped"

format: $(INSTALLED) ## put the code into the house's form
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

validate-zoo: $(INSTALLED) browser ## every network, format and delegate in one table: docs/validation.md (15 minutes each)
	$(BIN)/python docs/make_validation.py

bench-peers: $(INSTALLED) ## our networks against other people's, in turn: docs/latency.md (15 minutes); PEERS=FOLDER
	$(BIN)/python -m edgestyle.latency.peers $(PEERS) --out docs/latency.md

zoo-measure: $(INSTALLED) ## score and cost of every network, peers' and Gatys' beside them: models/*/measured.json; DATA=, PEERS=, GATYS=
	$(BIN)/python -m edgestyle.training.zoo --data $(DATA) --peers $(PEERS) --gatys $(GATYS)

contact-sheets: $(INSTALLED) ## photos and their pictures, for each network: models/*/contact_sheet.jpg; PAINTINGS=FOLDER for adain
	$(BIN)/python docs/make_contact_sheets.py $(addprefix --paintings ,$(PAINTINGS))

wheel: $(INSTALLED) ## build the wheel into dist
	rm -rf build/lib build/bdist.*
	$(BIN)/python -m pip wheel --quiet --no-deps --no-build-isolation -w dist .

constraints: ## pin what a fresh environment of today would hold
	$(PYTHON) -m venv --clear build/venv
	build/venv/bin/pip install --quiet 'torch==2.13.0' -e '.[dev]'
	(grep '^#' constraints.txt; build/venv/bin/pip freeze --all --exclude-editable --exclude pip | sed 's/+cpu//') \
		> build/constraints.txt
	mv build/constraints.txt constraints.txt

clean: ## remove everything that was built or installed here
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
