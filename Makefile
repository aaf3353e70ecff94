# One target a verb; each sets up what it needs on a fresh machine. `make help` lists them.

PYTHON ?= python3
# Set it to the index of CPU wheels to keep torch from bringing its GPU libraries along, e.g.
#   make demo TORCH_INDEX=https://download.pytorch.org/whl/cpu
TORCH_INDEX ?=
# More for `make demo`: a folder for what it makes, say, `make demo ARGS="--out somewhere"`.
ARGS ?=

DEMO_EXTRAS := distill,fast,onnx,openvino,quantize
TEST_EXTRAS := coreml,curate,dev,distill,executorch,fast,onnx,openvino,optimum,quantize,tensorrt,video
PINS := setup.cfg pyproject.toml constraints.txt minuet/constraints.txt scripts/install

export PYTHON TORCH_INDEX
.DEFAULT_GOAL := help

.PHONY: help
help: ## this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 10

.venv-demo/.ready: $(PINS)
	scripts/install .venv-demo $(DEMO_EXTRAS)

.venv-test/.ready: $(PINS)
	scripts/install .venv-test $(TEST_EXTRAS)

.PHONY: demo
demo: .venv-demo/.ready ## the whole flow on the embedded sticker world
	scripts/demo $(ARGS)

.PHONY: test
test: .venv-test/.ready ## the tests
	scripts/test $(ARGS)

.PHONY: check
check: .venv-test/.ready ## lint, format, types
	scripts/check

.PHONY: build
build: .venv-test/.ready ## the wheel, tried in an empty environment
	scripts/build

.PHONY: bench
bench: .venv-demo/.ready ## latency, memory and bytes of the demo's bundle
	scripts/bench $(ARGS)

.PHONY: matrix
matrix: .venv-test/.ready ## every tiny pipeline x every target -> docs/matrix.md; takes hours
	.venv-test/bin/python scripts/matrix.py $(ARGS)

.PHONY: docs
docs: .venv-test/.ready ## check that the links in the docs lead somewhere
	scripts/docs

.PHONY: clean
clean: ## the environments and what was built; out/ and runs/ stay
	rm -rf .venv-demo .venv-test build dist *.egg-info .coverage .mypy_cache .pytest_cache .ruff_cache
