# Every target sets up what it needs: .venv with the locked dependencies, and the servers under .servers/.
.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON := .venv/bin/python
WORKERS ?= 5
export PYTHONUNBUFFERED := 1

.PHONY: help venv demo test audit sbom lint unit integration servers servers-env servers-stop bench bench-quick bench-reader bench-touched bench-larger bench-applier bench-outage bench-latency bench-growth bench-sweeps bench-keys soak test-deploy chaos fuzz mutants test-versions docs reference dashboards alerts lock clean

help: ## what can be made
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{gsub(/[$$]+/, "$$", $$2); printf "  make %-14s %s\n", $$1, $$2}'

venv:
	@.ci/venv

demo: ## a simulated company, the whole pipeline, and a check that nothing was lost (DEMO_SERVER=mariadb, DEMO_SECONDS=60)
	@.ci/venv tests/demo/requirements.lock
	@$(PYTHON) -m tests.demo

test: venv ## lint, types and every test, against real servers
# Servers are fetched and started while what needs none of them runs.
	@echo "lint, unit tests and servers, side by side: each is shown when it is done, in some minutes"
	@$(MAKE) --no-print-directory --jobs 3 --output-sync=target lint unit servers
	@$(MAKE) --no-print-directory integration

audit: venv ## are weaknesses of the locked packages known? fails where one is
	@$(PYTHON) -m tests.supply.audit

sbom: venv ## a bill of materials of what the image runs, dist/sbom.json
	@$(PYTHON) -m tests.supply.sbom

lint: venv ## ruff, mypy --strict, import-linter
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .
	@.venv/bin/mypy
	@.venv/bin/lint-imports

unit: venv ## the pure parts
	@$(PYTHON) -m pytest tests/unit -n 2

tried = $(PYTHON) -m pytest $(1) $(2) || { [ $$? -eq 1 ] && $(PYTHON) -m pytest $(1) --last-failed --last-failed-no-failures none; }

integration: servers ## everything that needs servers
# What fails beside others is tried once more alone: these tests have deadlines, and two cores may miss them together.
# Not so the storms: what one of them finds is a race as a rule, and the next try would hide it.
# Only failed tests are tried again (pytest's code 1): where a run broke off, nobody knows what did not run.
# What leaves XA transactions prepared comes last: whoever reads the same server reads all leads live where they commit.
	@$(call tried, tests/servers tests/integration -m "not prepared", -n $(WORKERS) --dist loadscope --no-loadscope-reorder)
# The storms beside it have servers of their own.
	@$(MAKE) --no-print-directory --jobs 2 --output-sync=target prepared storms

.PHONY: prepared storms
prepared:
	@$(call tried, tests/integration -m prepared, -n 2 --dist loadscope)

storms:
	@$(PYTHON) -m pytest tests/chaos -n 2 --dist worksteal -o cache_dir=.pytest_cache/storms

servers: venv ## start MySQL, MariaDB, Kafka and PostgreSQL (idempotent)
	@$(PYTHON) -m tests.servers start

servers-env: venv ## print export lines for the servers: eval "$$(make -s servers-env)"
	@$(PYTHON) -m tests.servers env

servers-stop: ## end exactly the servers that `make servers`, `make demo` or `make test` started
	@test ! -x $(PYTHON) || $(PYTHON) -m tests.servers stop

bench: servers ## every benchmark with its peers, in an hour; results under tests/bench/results, docs/benchmarks.md
	@$(PYTHON) -m tests.bench all

bench-quick: servers ## the same with small sizes, to see that everything runs; keeps nothing
	@$(PYTHON) -m tests.bench all --quick

bench-reader: servers ## binlog → committed Kafka: us, Go, Debezium, mysqlbinlog, mysql-replication
	@$(PYTHON) -m tests.bench reader

bench-touched: servers ## the same where most updates change no captured column but updated_at
	@$(PYTHON) -m tests.bench touched

bench-larger: servers ## binlog → committed Kafka, us alone: larger transactions
	@$(PYTHON) -m tests.bench larger

bench-applier: servers ## binlog → PostgreSQL: us, Debezium with its JDBC sink
	@$(PYTHON) -m tests.bench applier

bench-outage: servers ## one applier after an outage (CHANGES=10000000)
	@$(PYTHON) -m tests.bench outage $(if $(CHANGES),--outage $(CHANGES))

bench-latency: servers ## commit → visible, beside a bare Kafka transaction and a bare PostgreSQL commit
	@$(PYTHON) -m tests.bench latency

bench-growth: servers ## time, memory and disk as changes grow (CHANGES=10000,100000,1000000,10000000)
	@$(PYTHON) -m tests.bench growth $(if $(CHANGES),--changes $(CHANGES))

bench-sweeps: servers ## each sweep, verify and backfill over a million users, and as users grow
	@$(PYTHON) -m tests.bench sweeps

bench-keys: servers ## UUIDs and integers for keys of requirements
	@$(PYTHON) -m tests.bench keys

soak: servers ## hours at 500 transactions/s with faults; fails where something grows that should not (HOURS=2)
	@$(PYTHON) -m tests.chaos.soak --hours $(or $(HOURS),2)

test-deploy: venv ## build the image and bring the compose file up for real
	@$(PYTHON) -m pytest tests/deploy

chaos: servers ## kill, stop and restart everything at random (MINUTES=60)
	@$(PYTHON) -m tests.chaos --minutes $(or $(MINUTES),10)

test-versions: venv ## the tests that touch a server or a Python against its other versions (VERSIONS=mariadb-11.8): docs/reference/versions.md
	@nice -n 5 $(PYTHON) -m tests.versions $(VERSIONS)

docs: venv ## the documentation as pages, dist/docs/index.html; fails for a link that leads nowhere
	@.venv/bin/sphinx-build --quiet --fail-on-warning --keep-going --nitpicky docs dist/docs

reference: venv ## write docs/reference from the code
	@$(PYTHON) -m deploy.reference

dashboards: venv ## write Grafana's dashboards from deploy/dashboards.py
	@$(PYTHON) -m deploy.dashboards
	@$(PYTHON) -m deploy.alerts

alerts: venv ## write the manifests for Prometheus's operator from deploy/prometheus and deploy/dashboards.py
	@$(PYTHON) -m deploy.alerts

LOCK := .venv/bin/uv pip compile --universal --generate-hashes --no-emit-index-url --no-header --python-version 3.11 --quiet
lock: venv ## resolve the dependencies anew: everything, what the image runs and is built with, and what the demo needs
	@$(LOCK) pyproject.toml --group dev --output-file requirements.lock
	@$(LOCK) pyproject.toml --constraint requirements.lock --output-file deploy/requirements.lock
	@$(LOCK) pyproject.toml --group demo --constraint requirements.lock --output-file tests/demo/requirements.lock
	@echo hatchling | $(LOCK) - --no-annotate --constraint requirements.lock --output-file deploy/build.lock
	@echo 'mutmut>=3.8' | $(LOCK) - --no-annotate --constraint requirements.lock --output-file tests/mutants/requirements.lock

fuzz: venv ## damaged binlogs through the decoder (INPUTS=1000000 SEED=18)
	@$(PYTHON) -m tests.fuzz --inputs $(or $(INPUTS),1000000) --seed $(or $(SEED),18)

mutants: venv ## faults put into the code on purpose: do its unit tests find them? (PART=leads MOST=200 EXAMPLES=1)
	@.venv/bin/uv pip install --quiet --target .mutants --require-hashes -r tests/mutants/requirements.lock
	@PYTHONPATH=.mutants nice -n 19 $(PYTHON) -m tests.mutants $(PART) --most $(or $(MOST),200) $(if $(EXAMPLES),--examples)

clean: ## remove what was built, the servers' data included
	@test ! -x $(PYTHON) || $(PYTHON) -m tests.servers stop
	rm -rf .venv .venv.lock .mutants .servers .demo .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache dist tests/mutants/results
