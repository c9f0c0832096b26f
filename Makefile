# A new machine needs python3, git and make; the targets install everything else.
BOOT := .venv-boot/bin
BIN := .venv/bin
export UV_LINK_MODE ?= hardlink
# Without bytecode, each of the hundreds of processes that tests start would compile the service.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test torture lint lint-types lint-rules lint-page bench lock openapi clean
.DELETE_ON_ERROR:

demo: .venv/.runtime
	$(BIN)/camreel demo $(ARGS)

# One torch thread per process, because the test workers and their child processes share the cores.
# Five test workers for two cores, because they often wait for processes to start or end; more of
# them leave no memory to keep the files of torch, which every process reads.
test: lint
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 5 --dist loadfile --no-loadscope-reorder $(ARGS)

# Hundreds of kills at random times; the log shows each of them as it happens.
torture: .venv/.dev
	OMP_NUM_THREADS=1 $(BIN)/pytest -m torture -o log_cli=true -o log_cli_level=INFO $(ARGS)
	CAMREEL_TORTURE=1 OMP_NUM_THREADS=1 $(BIN)/pytest tests/faults/test_faults_histories.py

lint: .venv/.dev
	@$(MAKE) --no-print-directory --jobs 2 --output-sync=target lint-types lint-rules lint-page

lint-types: .venv/.dev
	$(BIN)/mypy

lint-rules: .venv/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/python scripts/check_names.py service client benchmarks scripts migrations tests

lint-page: .venv/.dev
	$(BIN)/python -m scripts.npm run --silent lint
	$(BIN)/python -m scripts.npm run --silent test

bench: .venv/.dev
	$(BIN)/python -m benchmarks $(ARGS)

openapi: .venv/.runtime
	$(BIN)/camreel openapi openapi/openapi.json

$(BOOT)/uv:
	python3 -m venv .venv-boot
	$(BOOT)/pip install --quiet --disable-pip-version-check uv

$(BIN)/python: | $(BOOT)/uv
	$(BOOT)/uv venv --quiet --seed .venv

# Stamp files make repeated calls cheap. --require-hashes installs only the files that the lock lists.
# Installing the package builds the page, so the page's sources are prerequisites.
# `client` is installed with it: no index has it.
PAGE := $(shell find web -path web/node_modules -prune -o -path web/tests -prune -o -type f -print) hatch_build.py

.venv/.runtime: requirements.lock pyproject.toml client/pyproject.toml $(PAGE) | $(BIN)/python
	$(BOOT)/uv pip install --quiet --compile-bytecode --python $(BIN)/python --require-hashes -r requirements.lock
	$(BOOT)/uv pip install --quiet --compile-bytecode --python $(BIN)/python --no-deps -e client -e .
	@touch $@

.venv/.dev: requirements-dev.lock .venv/.runtime
	$(BOOT)/uv pip install --quiet --compile-bytecode --python $(BIN)/python --require-hashes -r requirements-dev.lock
	@touch $@

COMPILE := $(BOOT)/uv pip compile --quiet --universal --generate-hashes --no-header --no-emit-package camreel-client

lock: | $(BOOT)/uv
	$(COMPILE) -o requirements.lock pyproject.toml
	$(COMPILE) --extra dev -c requirements.lock -o requirements-dev.lock pyproject.toml

clean:
	rm -rf .venv .venv-boot web/node_modules service/web/page
