.PHONY: setup demo test test-long check bench bench-gpu
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed

setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt .ci/install
	PYTHON=$(PYTHON) .ci/install
	touch $(STAMP)

demo: setup
	$(BIN)/capetune demo

# Two files at a time: most of what tests/integration takes is waiting for Ray.
AT_A_TIME := -n 2 --dist loadfile --no-loadscope-reorder

test: setup
	.ci/test -m "not long" $(AT_A_TIME)

# What kills processes and goes on, and what opens a browser.
test-long: setup
	.ci/test -m long $(AT_A_TIME)

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest tests/test_architecture.py

# make bench ARGS=--save keeps the lines in benchmarks/results/
bench: setup
	for name in step generate loader autocast memory cached allocator; do $(BIN)/python benchmarks/$$name.py $(ARGS) || exit 1; done

bench-gpu: setup
	$(BIN)/python benchmarks/gpu.py $(ARGS)
