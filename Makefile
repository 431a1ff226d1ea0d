# The commands of the project. `make` without a target lists them.
.PHONY: help install lint format test test-all docs all faults

help:            ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

install:         ## install the package and its tools into the current environment
	python3 -m pip install -e ".[dev]"

lint:            ## lint, format, types and layers, without changing anything
	ruff check .
	ruff format --check .
	mypy
	lint-imports

format:          ## repair what lint can repair
	ruff check --fix .
	ruff format .

test:            ## the test suite without its slow tests
	python3 -m pytest

test-all:        ## the whole test suite, with a sample of the failure matrix
	python3 -m pytest --all

faults:          ## the whole failure matrix; it rewrites the tables of docs/reliability.md
	python3 -m pytest tests/faults

docs:            ## build the documentation into site/
	mkdocs build --strict

all:             ## what every change must pass
	bash .ci/run
