# Each target does all its own set-up: Debian packages where they are missing, then a virtual environment of pinned versions.
.PHONY: setup check test demo bench lock clean

VENV := .venv
BIN := $(VENV)/bin
PYTHON := /usr/bin/python3
PACKAGES := python3-venv openvswitch-switch ovn-central ovn-host nftables iproute2 ethtool iputils-ping procps curl
SUDO := $(shell [ "$$(id -u)" = 0 ] || echo sudo)
PROJECT := ovnk cni ovsdb_schemas tests

setup: $(VENV)/.ready

$(VENV)/.ready: requirements.lock pyproject.toml
	@missing=$$(for package in $(PACKAGES); do \
	    dpkg-query -W -f '$${Status}' $$package 2>/dev/null | grep -q 'ok installed' || echo $$package; done); \
	if [ -n "$$missing" ]; then \
	    echo "installing Debian packages:" $$missing; \
	    $(SUDO) apt-get update -qq && \
	    $(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing >/dev/null; \
	fi
	@[ -x $(BIN)/python ] || $(PYTHON) -m venv $(VENV)
	@echo "installing pinned Python packages into $(VENV)"
	@$(BIN)/pip install -q --require-hashes -r requirements.lock
	@$(BIN)/pip install -q --no-deps -e .
	@touch $@

# Format, lint, types, import contracts and the tests that need no root and no OVN: under a minute.
check: setup
	$(BIN)/ruff format --check $(PROJECT)
	$(BIN)/ruff check $(PROJECT)
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/pytest -q -n 3 --dist worksteal -m "not system"

# Everything, with real ovsdb-server, northd, ovs-vswitchd, ovn-controller, kubectl and real packets. Needs root.
test: setup
	$(BIN)/pytest -q -n 3 --dist worksteal -m "not system"
	$(BIN)/pytest -q -n 2 --dist loadfile -m "system and not alone"
	$(BIN)/pytest -q -m "system and alone"

# A three-node cluster on this machine: topology, who reaches whom, a Service, a policy; taken down after.
demo: setup
	$(BIN)/ovnk demo

bench: setup
	$(BIN)/python -m tests.bench

# Pins versions and hashes, without any address.
lock:
	$(PYTHON) -m venv build/lock && build/lock/bin/pip install -q pip-tools
	build/lock/bin/pip-compile -q --extra dev --generate-hashes --allow-unsafe --strip-extras --no-annotate --no-header \
	    --no-emit-index-url --no-emit-find-links --no-emit-trusted-host --unsafe-package ovnk -o requirements.lock pyproject.toml

clean:
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
