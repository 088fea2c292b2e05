# Two commands: `make run` gives a store to try, `make test` runs everything that must pass.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin

# What the tests ran with, to the version: for them and for images.  Users get the ranges of setup.py.
LOCK   := etc/constraints.txt

.PHONY: run test check lint types unit servers wheel bench chaos soak fuzz lock audit-dependencies clean

# A running store with its data in ./dragonbelly-data; arguments: make run ARGS="--data DIR"
run: $(VENV)/.run
	$(BIN)/twistd --pidfile= -n dragonbelly $(ARGS)

test: $(VENV)/.test servers lint types unit

lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/bandit --quiet --configfile pyproject.toml --recursive dragonbelly twisted setup.py examples \
		--exclude dragonbelly/testing
# B311: the simulation has a seeded random source on purpose; no secret is made there.
	$(BIN)/bandit --quiet --configfile pyproject.toml --recursive dragonbelly/testing --skip B311

types: $(VENV)/.test
	$(BIN)/mypy

unit: $(VENV)/.test servers
	$(BIN)/pytest -n 2 --dist loadfile

# The servers that the tests start: installed from Debian where that is possible, else named.
servers:
	@etc/install-servers redis-server nginx curl wrk zsh chromium chromedriver=chromium-driver \
		systemd-analyze=systemd cc=gcc /usr/include/stdio.h=libc6-dev

# What it can do on this machine, beside what others do: a few minutes; some of it: make bench ARGS="--only get,put"
bench: $(VENV)/.test servers
	@etc/install-servers rclone /usr/lib/nginx/modules/ngx_http_lua_module.so=libnginx-mod-http-lua \
		/usr/share/lua/5.1/nginx/redis.lua=lua-nginx-redis
	$(BIN)/python -m benchmarks $(ARGS)

# The simulation, for long: make soak ARGS="--seeds 0:100000"
soak: $(VENV)/.test
	$(BIN)/python -m dragonbelly.testing.simulation $(or $(ARGS),--seeds 0:20000)

# A whole site that is broken at random for a minute, under load: make chaos ARGS="--seconds 60 --seed 7"
chaos: $(VENV)/.test servers
	$(BIN)/python -m tests.chaos $(ARGS)

# Hostile input at random, for long: make fuzz ARGS="-k requests"
fuzz: $(VENV)/.test servers
	$(BIN)/pytest -n 2 --timeout=0 --hypothesis-profile=fuzz tests/hostile/test_fuzz.py tests/hostile/test_lanes.py \
		tests/hostile/test_redirects.py tests/web/test_paths.py tests/web/test_channel_fuzz.py tests/state/test_accounts.py $(ARGS)

# The newest that setup.py allows, written down.  No hashes: pip wants none beside an editable install, and a mirror that
# builds wheels itself has others.
lock:
	rm -rf $(VENV)/lock
	$(PYTHON) -m venv $(VENV)/lock
	$(VENV)/lock/bin/pip install --quiet --editable '.[test]' --config-settings editable_mode=compat
	{ sed -n '/^#/p' $(LOCK); $(VENV)/lock/bin/pip list --format freeze --exclude-editable --exclude pip; } > $(LOCK).new
	mv $(LOCK).new $(LOCK)
	rm -rf $(VENV)/lock

# Whether anything that is pinned has a known weakness.  Not a part of `make test`: it asks pypi.org, which a machine for
# tests may not reach.  What cannot be looked up is a failure (--strict), or a mirror would make everything look well.
audit-dependencies: | $(VENV)/bin/python
	$(PYTHON) -m venv $(VENV)/audit
	$(VENV)/audit/bin/pip install --quiet --upgrade pip-audit
	$(VENV)/audit/bin/pip-audit --strict --disable-pip --no-deps --requirement $(LOCK)

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Dragonbelly needs Python 3.11 or newer, this is " + sys.version.split()[0] + "; set PYTHON=")'
	$(PYTHON) -m venv $(VENV)

# Installed as it lies here (compat: twisted.plugins must be found beside the package).
$(VENV)/.run: setup.py pyproject.toml | $(VENV)/bin/python
	$(BIN)/pip install --quiet --editable '.[embedded,cli]' --config-settings editable_mode=compat
	touch $@

# In the environment, as --constraint says nothing of what builds the package; newer pips have a variable for that.
$(VENV)/.test: setup.py pyproject.toml $(LOCK) | $(VENV)/bin/python
	PIP_CONSTRAINT=$(LOCK) PIP_BUILD_CONSTRAINT=$(LOCK) \
		$(BIN)/pip install --quiet --editable '.[test]' --config-settings editable_mode=compat
	touch $@ $(VENV)/.run

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
