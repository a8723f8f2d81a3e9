# Everything starts here: each target first makes the machine ready (ops/bootstrap; a moment when it is).
SHELL := /bin/bash
.DEFAULT_GOAL := help

BIN := .venv/bin
SUITES := $(wildcard tests/unit tests/integration tests/security tests/faults tests/compat)
# More words for pytest: make test ARGS='-k envelope -x'
ARGS ?=
# Test files run side by side: a test of a stack mostly waits. JOBS=0 runs them one after another.
JOBS ?= 5
# In the order of tests/conftest.py: else the longest files begin last, and all but one process wait for their end.
SIDE_BY_SIDE := -n $(JOBS) --dist loadfile --no-loadscope-reorder

.PHONY: help bootstrap demo dev test test-all test-unit test-hsm native-check test-compat test-tools faults record-kills record-sweep granted-build soak coverage compose-check systemd-check install-check lint format generate bench bench-day bench-files bench-quick dist lock clean mutants fuzz

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | while IFS=$$'\t' read -r name text; do printf '  make %-13s %s\n' "$$name" "$$text"; done

bootstrap: ## install what is missing: Debian packages, .venv
	@ops/bootstrap

demo: bootstrap ## three tenants sign /usr/bin and /usr/lib, everything is verified
	$(BIN)/python -m workers.dev.demo

dev: bootstrap ## the whole stack in the foreground, with throwaway keys
	$(BIN)/sigmill dev

test: bootstrap ## all tests but the slow ones and those of test-hsm
	$(BIN)/python -m pytest $(SUITES) $(SIDE_BY_SIDE) -m 'not slow and not other_modules' $(ARGS)

test-all: ## all tests; they open console pages in Chromium
	@BROWSER=1 ops/bootstrap
	$(BIN)/python -m pytest $(SUITES) $(SIDE_BY_SIDE) $(ARGS)

test-unit: bootstrap ## no sockets, no sleeps
	$(BIN)/python -m pytest tests/unit $(ARGS)

test-hsm: ## keys in the other PKCS#11 modules of Debian, which it installs
	@HSM=1 ops/bootstrap
	SIGMILL_TEST_HSM=1 $(BIN)/python -m pytest tests/integration/hsm $(SIDE_BY_SIDE) -rs -m 'other_modules and not slow' $(ARGS)

native-check: ## the native loop of lanes under AddressSanitizer, UndefinedBehaviorSanitizer and valgrind
	@NATIVE=1 ops/bootstrap
	$(BIN)/python -m tests.native.check $(ARGS)

test-compat: bootstrap ## arq's own test suite against our worker
	$(BIN)/python -m tests.compat.run_arq_suite $(ARGS)

test-tools: bootstrap ## real tools (jarsigner, osslsigncode, OpenSSL …) sign through `sigmill run`; installs them as root
	lacking=$$(ops/tools) && SIGMILL_TEST_TOOLS_LACKING="$$lacking" $(BIN)/python -m pytest tests/tools $(ARGS)

# make faults SEEDS=17 runs one seed again, SEEDS=1-200 many; without, some seeds and what shows that the checker finds faults.
SEEDS ?=
RUNS ?= 2

faults: bootstrap ## seeded runs of the whole stack under faults, and the checker's own tests
	$(BIN)/python -m tests.faults $(or $(SEEDS),1-10) --jobs $(RUNS)
	$(if $(SEEDS),,$(BIN)/python -m pytest tests/faults $(ARGS))

KILLS ?= 200

record-kills: bootstrap ## random kills of worker and sealer: every checkpoint is a prefix of the last (KILLS=200; ten minutes)
	$(BIN)/python -m tests.faults.record_kills --kills $(KILLS)

record-sweep: bootstrap ## each call of the sealer on files fails once, with each fault, not only the first and last of each place (half an hour)
	SIGMILL_TEST_SWEEP=all $(BIN)/python -m pytest tests/unit/workers/record -k every_call --timeout=0 -q $(ARGS)

FILES ?= 20000

granted-build: bootstrap ## `sigmill sign` with a token alone on many files (FILES=20000; minutes), by relay and issuer, then with kills of these and Redis
	SIGMILL_TEST_FILES=$(FILES) $(BIN)/python -m pytest tests/integration/relay/test_grants_by_relay.py -m slow -n 0 -q $(ARGS)

mutants: bootstrap ## wrong changes of the critical code, each noticed by its tests (ARGS='budget-*' for some of them)
	$(BIN)/python -m tests.mutants --jobs $(JOBS) $(ARGS)

# COVERAGE_FLOOR: per cent, lines and branches together: what a whole run gave (91.5), less what runs differ by. Raise it when the figure rises.
COVERAGE_FLOOR := 91

coverage: bootstrap ## branch coverage of the unit and integration suites: build/coverage/html, and a floor
	@rm -rf build/coverage && mkdir -p build/coverage
	$(BIN)/coverage run -m pytest tests/unit tests/integration $(SIDE_BY_SIDE) -m 'not slow' $(ARGS)
	$(BIN)/coverage combine -q
	$(BIN)/coverage html -q -d build/coverage/html
	$(BIN)/coverage report --fail-under=$(COVERAGE_FLOOR) | tail -n 40

compose-check: ## docker-compose.yml, up and signing, with podman (root; a few minutes)
	ops/compose-check

systemd-check: ## the units of ops/systemd, booted in a container (root; a few minutes)
	ops/systemd-check

install-check: dist ## docs/install.md, word for word in a bare Debian (root; SUITE=trixie; two minutes)
	ops/install-check $(SUITE)

SUITE ?= bookworm
MINUTES ?= 60

soak: bootstrap ## an hour of load with faults (MINUTES=60): memory, descriptors, sessions and processes stay flat
	$(BIN)/python -m tests.faults.soak --minutes $(MINUTES)

fuzz: bootstrap ## an hour of fuzzing at each boundary (MINUTES=60; ARGS='segment' for one of them)
	@$(BIN)/python -c 'import atheris' 2>/dev/null || $(BIN)/python -m pip install -qq --require-hashes -r tests/fuzz/requirements.lock
	$(BIN)/python -m tests.fuzz --minutes $(MINUTES) --jobs $(RUNS) $(ARGS)

lint: bootstrap ## ruff, mypy, import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff check --preview --select PLR0904 .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: bootstrap ## let ruff write what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench-quick: bootstrap ## fewer rounds, the same thresholds: build/bench/report.json and report.html
	$(BIN)/sigmill bench quick

bench: bootstrap ## the full measurement
	$(BIN)/sigmill bench full

bench-day: bootstrap ## a day of a thousand tenants in an hour (ARGS='--minutes 5'): build/bench/day/report.html
	$(BIN)/sigmill bench day $(ARGS)

bench-files: bootstrap ## 2,000 PE files by osslsigncode, by the agent and by sign-file, beside the module (ARGS='--count 200', ARGS='--hsm azure-managed-hsm'); half an hour
	@ops/tools >/dev/null
	$(BIN)/sigmill bench files $(ARGS)

generate: bootstrap ## rewrite what is made from code: metrics page, rules, dashboards
	$(BIN)/python -m ops.generate

dist: bootstrap ## the wheel and the source distribution, in dist/
	SIGMILL_NATIVE_LOOP=required $(BIN)/python -m hatchling build -d dist

lock: ## rewrite requirements.lock from pyproject.toml
	ops/lock $(ARGS)

clean: ## remove what the targets made
	rm -rf build dist .venv .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis workers/hsm/native/*.so
	find queueing workers bench tests -name __pycache__ -type d -prune -exec rm -rf {} +
