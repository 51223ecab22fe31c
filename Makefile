# The two commands: `make study` and `make test`. Both first make the environment in .venv.
# Needs Python 3.11 or later (PYTHON=... to choose one), make and git.

PYTHON ?= python3

CONFIG ?= config.yaml
REPORT ?= results/report.html
BIN := .venv/bin

# Paths reach the recipes through the environment, whole and unread by make and shell, whatever characters they have.
override CONFIG := $(value CONFIG)
override REPORT := $(value REPORT)
export CONFIG REPORT

.PHONY: study test faults fuzz bench check environment lock

# Makes the study's results and report, and prints its headline limits.
study: environment
	@$(BIN)/lossybench plan "$$CONFIG" > /dev/null  # refuses a wrong config in one line, before Snakemake reads it
	$(BIN)/snakemake --cores all --configfile "$$CONFIG" --scheduler greedy --rerun-incomplete --show-failed-logs --logger lossybench
	$(BIN)/snakemake --configfile "$$CONFIG" --report "$$REPORT" --quiet all
	@$(BIN)/lossybench headline "$$CONFIG"
	@echo "Report: $$REPORT (open it in a browser). index.html in the results folder is its first page alone."

test: environment check
	$(BIN)/python -m pytest -q -n 2 --dist loadfile --no-loadscope-reorder tests

# Kills a small study at twenty random moments, and harms its jobs on a Slurm; each must end with the same results.
faults: environment
	$(BIN)/python -m pytest -q -m '' -k killed_at_some_point tests/test_faults.py
	$(BIN)/python -m pytest -q -m faults tests/test_slurm.py

# Gives ten thousand mutated inputs to all that reads what strangers made (CONTRIBUTING.md).
fuzz: environment
	$(BIN)/python tests/fuzz.py

# Times codecs and stages beside the bare work in them, how they grow, and their memory (docs/performance.md).
bench: environment
	$(BIN)/python tests/benchmarks/codecs.py
	-$(BIN)/python tests/benchmarks/fidelity.py
	$(BIN)/python tests/benchmarks/stages.py
	-$(BIN)/python tests/benchmarks/memory.py

check: environment
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/snakefmt --check Snakefile workflow
	$(BIN)/snakemake --lint --configfile config/smoke.yaml

environment: .venv/ready

.venv/ready: envs/requirements.lock pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "make: no $(PYTHON) found; LossyBench needs Python 3.11 or later (PYTHON=/path/to/python make ...)" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "make: $$($(PYTHON) --version) is too old; LossyBench needs Python 3.11 or later (PYTHON=/path/to/python make ...)" >&2; exit 1; }
	@echo "Making the environment in .venv (about 5 GB, minutes) ..."
	$(PYTHON) -m venv --clear .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r envs/requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

# Renews the lock from pyproject.toml; needs uv.
lock:
	uv pip compile --quiet --universal --generate-hashes --no-header --no-annotate --python-version 3.11 --extra dev \
		pyproject.toml -o envs/requirements.lock
