# `make` alone lists what there is.
SHELL := /bin/bash
PY := .venv/bin/python
# `make up LLM_API_KEY=… PORT=…` reaches the command by its environment, never by argv: make exports what it is given, and only that.
QUICK := -m "not services and not browser and not long" -n 2
# with worker processes: they wait more than they work, so three at once
SERVICES := services and not browser and not faults
LOCK := .venv/bin/uv pip compile --quiet --universal --generate-hashes --python-version 3.11 --no-header

.PHONY: bench bench-quick evaluate help setup demo up env browser test test-sqlite test-postgres test-long test-services check screenshots schema-test openapi faults crash-points chaos chaos-long lock clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: ## system packages (asks first), .venv, a trial of the sandbox
	@scripts/setup --trial

demo: ## the main job, end to end, on a small example (LLM_BASE_URL=… LLM_MODEL=… LLM_API_KEY=… for your own model)
	@scripts/setup
	@$(PY) manage.py demo

up: ## the whole system on this machine, until Ctrl-C (LLM_BASE_URL=… LLM_MODEL=… LLM_API_KEY=… HOST=… PORT=…)
	@scripts/setup
	@exec $(PY) manage.py up

env: ## .env with random keys, if there is none (for docker compose; `make up` does it by itself)
	@scripts/setup
	@$(PY) manage.py up --only-env

test: ## all tests on SQLite, and on PostgreSQL those that use a database and need no worker processes
	@scripts/setup --dev
	@$(MAKE) --no-print-directory test-sqlite test-postgres

test-sqlite: ## all tests on SQLite
	@$(PY) -m pytest -q $(QUICK)
	@$(PY) -m pytest -q -n 3 -m "$(SERVICES) and not long"

test-postgres: ## the tests that use a database, on a PostgreSQL of their own
	@$(PY) -m tests.support.postgres -- $(PY) -m pytest -q $(QUICK) --database-only

test-long: ## the longer tests, with worker processes and without, on SQLite
	@scripts/setup --dev
	@$(PY) -m pytest -q -n 3 -m "long and not browser and not faults"

test-services: ## the tests with worker processes and the longer ones once more, on a PostgreSQL of their own
	@scripts/setup --dev
	@$(PY) -m tests.support.postgres -- $(PY) -m pytest -q -n 3 -m "(services or long) and not browser and not faults" --database-only

browser: ## a person's way in a real browser (PICTURES=folder keeps a picture of each page)
	@scripts/setup --dev --browser
	@$(PY) -m pytest -q -m browser tests/browser
	@$(PY) -m pytest -q -m browser tests/schedules

faults: ## what the promises say of killed processes: crash points, chaos, and that these suites can fail (≤ 12 min)
	@scripts/setup --dev
	@$(PY) -m tests.faults.crash_points
	@$(PY) -m tests.faults.crash_points --postgres
	@$(PY) -m tests.faults.chaos
	@$(PY) -m tests.support.postgres -- $(PY) -m pytest -q -m faults --database-only

crash-points: ## a kill at every single occurrence of every seam, on both databases (about five minutes)
	@scripts/setup --dev
	@$(PY) -m tests.faults.crash_points
	@$(PY) -m tests.faults.crash_points --postgres

chaos: ## 20 goals on three machines while workers, supervisors, Redis and PostgreSQL are killed (≤ 150 s; SEED=n)
	@scripts/setup --dev
	@$(PY) -m tests.faults.chaos --seed $(or $(SEED),1)

chaos-long: ## the same for half an hour: 200 goals, best-of-3, cancels, frozen workers, drains, ≥ 500 kills
	@scripts/setup --dev
	@$(PY) -m tests.faults.chaos --long --seed $(or $(SEED),1)

bench: ## how fast it is, beside DBOS, LangGraph and Celery in the same run (BENCH_ALL=1: and Prefect); writes bench/results.json (10 min)
	@scripts/setup --dev
	@bench/setup
	@$(PY) -m bench

bench-quick: ## a minute of it: warns where a ratio to DBOS is 10 % worse than in bench/results.json
	@scripts/setup --dev
	@bench/setup
	@$(PY) -m bench --quick

check: ## lint, format, types, import rules, migrations; no services
	@scripts/setup --dev
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check --quiet .
	@.venv/bin/mypy
	@.venv/bin/lint-imports --no-cache
	@DATA_DIR="$$(mktemp -d)" $(PY) manage.py makemigrations --check --dry-run

screenshots: ## pictures of the panel with the demo goal, into docs/images
	@scripts/setup --dev --browser
	@$(PY) scripts/screenshots.py

evaluate: ## examples/eval with a crew that is wrong in 30 % of its attempts and approves everything: is anything said to be done that is not?
	@scripts/setup
	@$(PY) manage.py evaluate examples/eval --scripted

schema-test: ## schemathesis over the whole API, on a live server with a seeded database (about a minute)
	@scripts/setup --dev
	@$(PY) -m tests.api.fuzz

openapi: ## docs/openapi.yaml from the code
	@DATA_DIR="$$(mktemp -d)" $(PY) manage.py spectacular --validate --fail-on-warn --file docs/openapi.yaml

lock: ## requirements*.txt from requirements*.in
	@$(PY) -m pip install --quiet uv
	@$(LOCK) requirements.in -o requirements.txt
	@$(LOCK) -c requirements.txt requirements-dev.in -o requirements-dev.txt
	@$(LOCK) -c requirements.txt requirements-flower.in -o requirements-flower.txt

clean: ## what was made here: .venv, the demo's folder, caches (not .data)
	@rm -rf .venv .demo .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
