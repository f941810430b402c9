# Type `make` for the list of targets.  Everything is installed into .venv, nothing anywhere else.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

# Another interpreter: make PYTHON=/path/to/python3 ...
PYTHON ?=
BIN := .venv/bin
RUNTIME := .venv/runtime.stamp
TESTING := .venv/testing.stamp
BENCHING := .venv/benching.stamp
REPORTING := .venv/reporting.stamp
DOCUMENTING := .venv/documenting.stamp

# Of experiments: make sweep EXP=two_sites GRID="distance=10km,1000km local=0,16" JOBS=2
EXP ?=
GRID ?=
JOBS ?=
SCHEDULER ?=
EXPERIMENTS := $(patsubst experiments/%.py,%,$(shell grep -l '^EXPERIMENT = ' experiments/*.py))

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-15s %s\n", $$1, $$2}' Makefile

.PHONY: compare
compare: $(RUNTIME) ## Compare five fabrics on four collectives; tables and figures go to results/compare
	@$(BIN)/topo compare --ccl ideal

.PHONY: fidelity
fidelity: $(RUNTIME) ## Write docs/fluid-and-packets.md: where the fluid and the packet engine agree
	@$(BIN)/python docs/fidelity.py

.PHONY: bench
bench: $(BENCHING) ## Measure the engine's speed; writes benchmarks/results.json and docs/benchmarks.md
	@$(BIN)/pytest benchmarks -q --benchmark-quiet --benchmark-json=benchmarks/results.json
	@PYTHONPATH=. $(BIN)/python benchmarks/report.py

.PHONY: test
test: lint ## Run every check: lint, formatting, types, tests
	@$(BIN)/pytest -q -n 2

.PHONY: lint
lint: $(TESTING) ## Check style, formatting and types only
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --check --quiet . || { echo "make lint: mend the formatting with $(BIN)/ruff format ." >&2; exit 1; }
	@$(BIN)/mypy

.PHONY: figures
figures: $(RUNTIME) ## Draw the maps of the catalogue, and the figures of every experiment's stored records
	@$(BIN)/topo catalogue --figures results/figures
	@for records in results/*/journal.jsonl; do \
	    [ -e "$$records" ] || continue; \
	    $(BIN)/topo report "$${records%/*}" --figures "$${records%/*}/figures"; \
	done

.PHONY: sweep
sweep: $(REPORTING) ## Sweep an experiment: EXP=two_sites GRID="distance=10km,1000km" [JOBS=2] [SCHEDULER=tcp://..]
	@[ -n "$(EXP)" ] || { echo "make sweep: name an experiment: EXP=one of $(EXPERIMENTS)" >&2; exit 2; }
	@$(BIN)/topo experiment "$(EXP)" --grid "$(GRID)" --results "results/$(EXP)" \
	    $(if $(JOBS),--jobs $(JOBS)) $(if $(SCHEDULER),--scheduler $(SCHEDULER))
	@$(BIN)/topo report "results/$(EXP)"

.PHONY: experiments
experiments: $(EXPERIMENTS:%=results/%/report.html) ## Run every experiment that changed; its report and its page in docs/

results/%/report.html: experiments/%.py $(REPORTING)
	@$(BIN)/topo experiment $* --results results/$* $(if $(JOBS),--jobs $(JOBS))
	@$(BIN)/topo report results/$*
	@$(BIN)/topo report results/$* --docs docs/experiments

.PHONY: report
report: $(REPORTING) ## Write the reports of all stored results, or of one: EXP=two_sites; nothing is simulated
	@for records in results/$(if $(EXP),$(EXP),*)/journal.jsonl; do \
	    [ -e "$$records" ] || { echo "make report: no records; run make experiments first" >&2; exit 2; }; \
	    $(BIN)/topo report "$${records%/*}"; \
	done

.PHONY: docs
docs: $(DOCUMENTING) ## Build the documentation into docs/_build/html; a warning is an error
	@$(BIN)/sphinx-build -q -W --keep-going -d docs/_build/doctrees docs docs/_build/html
	@echo "docs/_build/html/index.html"

.PHONY: catalogue-page
catalogue-page: $(RUNTIME) ## Write docs/systems.md with a picture of every system
	@$(BIN)/topo catalogue --page docs

.PHONY: optimality
optimality: $(RUNTIME) ## Write docs/optimality.md: every collective beside the time that nothing can beat
	@$(BIN)/python experiments/optimality.py docs/optimality.md

.PHONY: validate
validate: $(RUNTIME) ## Hold the model against every measurement; fails when an error grew past the recorded one
	@$(BIN)/topo validate

.PHONY: validation
validation: $(RUNTIME) ## Write docs/validation.md: how far off the simulation is, and where it is weak
	@$(BIN)/topo validate --page docs > /dev/null

.PHONY: training-table
training-table: $(RUNTIME) ## Write docs/training-comparison.md: models on machines, each under its best plan
	@$(BIN)/python docs/training_comparison.py

.PHONY: clean
clean: ## Remove .venv, caches and build leftovers; results/ stays
	@rm -rf .venv build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis .benchmarks .coverage htmlcov
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The environment, brought up to date whenever its description changes.
# pip's output becomes one line of package names; its errors pass through.
INSTALL = $(BIN)/python -m pip install --disable-pip-version-check --constraint constraints.txt
PROGRESS = awk '/^(Collecting|Processing) / { sub(/.*\//, "", $$2); sub(/[^A-Za-z0-9_.-].*|-[0-9].*/, "", $$2); \
    printf "%s ", $$2; fflush() } /^Installing collected/ { printf "... unpacking "; fflush() } END { print "" }'

$(RUNTIME): setup.cfg pyproject.toml constraints.txt
	@for python in $(or $(PYTHON),python3.13 python3.12 python3.11 python3); do \
	    if "$$python" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	        echo "Setting up .venv with $$("$$python" --version): a minute or two, once"; \
	        "$$python" -m venv .venv; \
	        $(INSTALL) --editable . | $(PROGRESS); \
	        touch $@; \
	        exit 0; \
	    fi; \
	done; \
	echo "make: no Python 3.11 or newer with venv was found; install one (Debian: apt install python3-venv)," \
	    "or name it: make PYTHON=/path/to/python3" >&2; \
	exit 1

$(TESTING): $(RUNTIME)
	@echo "Adding the test tools to .venv"
	@$(INSTALL) --editable '.[test,report,cluster,docs]' | $(PROGRESS)
	@touch $@

$(BENCHING): $(TESTING)
	@echo "Adding the tools of the benchmarks to .venv"
	@$(INSTALL) --editable '.[bench]' | $(PROGRESS)
	@touch $@

$(REPORTING): $(RUNTIME)
	@echo "Adding what reports need to .venv"
	@$(INSTALL) --editable '.[report]' | $(PROGRESS)
	@touch $@

$(DOCUMENTING): $(RUNTIME)
	@echo "Adding the tools of the documentation to .venv"
	@$(INSTALL) --editable '.[docs]' | $(PROGRESS)
	@touch $@
