.PHONY: setup demo test test-long test-deploy test-gpu check docs bench bench-gpu wheels faults
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed

setup: $(STAMP)

# uv takes half a minute where pip takes four and a half. pip is told where packages come from by its own variables and
# files: uv is told the same. Where uv can't be had, or fails, pip does it.
$(STAMP): pyproject.toml constraints.txt .ci/install
	test -x $(BIN)/pip || $(PYTHON) -m venv .venv
	.ci/install $(BIN)
	touch $(STAMP)

demo: setup
	$(BIN)/capetune demo

# Some files at a time: most of what tests/integration takes is waiting for Ray.
PYTEST := tests/alone.sh $(BIN)/python -m pytest --dist loadfile --no-loadscope-reorder

test: setup
	$(PYTEST) -n 2 -m "not long and not deploy"

# Faults at any moment, browsers, servers, trackers: minutes each.
test-long: setup
	$(PYTEST) -n 3 -m "long and not deploy"

# Clusters made here: machines that come, go and are lost, jobs sent to them, runs on an object store, trainings killed in an
# epoch, a pretended GPU, what is long beyond measure, and deploy/'s scripts on three machines made of namespaces. Three quarters of an hour, by estimate; alone, for each is a cluster's load.
test-deploy: setup
	$(PYTEST) -n 1 -m deploy

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest tests/test_architecture.py

# The site of docs/, the commands and the Python API, in build/site: to open, or python -m http.server -d build/site for its search.
docs: .venv/.docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --config-file .ci/mkdocs.yml
	@echo "written: build/site/index.html"

.venv/.docs: $(STAMP)
	.ci/install $(BIN) docs
	touch $@

# make bench ARGS=--save keeps the lines in benchmarks/results/
bench: setup
	for name in parts step generate evaluate loader distant uploads autocast memory cached allocator pack serve; do $(BIN)/python benchmarks/$$name.py $(ARGS) || exit 1; done

# What is lost when something breaks: 27 faults, half an hour. make faults ARGS=--save keeps the lines.
faults: setup
	$(BIN)/python benchmarks/faults.py $(ARGS)

# Where there is a GPU: that what is compiled and captured gives what is written.
test-gpu: setup
	$(BIN)/python -m pytest tests/gpu

# Figures on a GPU, each kept as it is measured: make bench-gpu ARGS="--save", or ARGS=--tiny to try the script on a CPU.
bench-gpu: setup
	$(BIN)/python benchmarks/gpu.py $(ARGS)

# What bench-gpu and test-gpu need where there are PyTorch and timm, but neither Ray nor a registry: a folder to carry along.
wheels: setup
	benchmarks/wheels.sh $(BIN) wheels
