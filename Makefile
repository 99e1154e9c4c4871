# The two commands of a newcomer are "make demo" and "make test".
# They need Python 3.10 or newer and make, and leave everything they make in .venv and demo/site.

PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
PIP = $(BIN)/python -m pip --disable-pip-version-check install --quiet --quiet
# other pythons: make test PYTHON=python3.13 VENV=.venv-3.13
PYTEST = $(BIN)/python -m pytest
JOBS ?= 2
TESTS = src/collective/recipe/backup/tests
# where make bench works, and what else it is told: make bench SCRATCH=/big/disk BENCH='--rounds 1'
SCRATCH ?= .bench
BENCH ?=
# what make fuzz is told: make fuzz FUZZ='--minutes 10'
FUZZ ?=
# what make faults is told: make faults FAULTS='prune merge'
FAULTS ?=
# what make installations tries: make installations PYTHONS="python3.10 python3.14"
PYTHONS ?= $(PYTHON)

# the tests start thousands of processes, each of which would compile half of the modules again
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help demo test lint format docs linkcheck house pictures quick fuzz faults bench dist installations clean

help:
	@echo "make demo       back up a sample site, lose it, restore it, compare; and again from a repository"
	@echo "make test       lint, types, layers and the whole test suite"
	@echo "make quick      the tests of each room but for slow ones"
	@echo "make fuzz       property tests at length, at random, for an hour; see FUZZ"
	@echo "make faults     let each system call of the scripts fail once, for an hour; see FAULTS"
	@echo "make lint       lint, types and layers"
	@echo "make docs       the pages of docs/ as HTML, in docs/_build/html"
	@echo "make house      draw the picture of docs/design/architecture.rst anew, from the code"
	@echo "make pictures   make those of docs/_static anew, from a real run; needs chromium"
	@echo "make linkcheck  try the links of the documentation that lead elsewhere"
	@echo "make bench      measure against others, for an hour and with 60 GB of disk; see SCRATCH"
	@echo "make format     let ruff format the code"
	@echo "make dist       build the sdist and the wheel, check both, install both and use them"
	@echo "make installations  install the wheel for other Pythons and use it; see PYTHONS"
	@echo "make clean      remove everything that make made"

demo: $(VENV)/.runtime
	$(BIN)/python demo/demo.py

test: lint docs
	$(PYTEST) -n $(JOBS) --dist worksteal

lint: $(VENV)/.tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/codespell
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.tests
	$(BIN)/ruff format .

# any warning is an error
docs: $(VENV)/.tests
	$(BIN)/sphinx-build --quiet --fail-on-warning --keep-going --nitpicky docs docs/_build/html

# those that lead to other pages of ours are checked by "make docs"
linkcheck: $(VENV)/.tests
	$(BIN)/sphinx-build --quiet --builder linkcheck docs docs/_build/linkcheck

# a test compares the committed picture with the code
house: $(VENV)/.tests
	$(BIN)/python -m collective.recipe.backup.tests.house

# tests compare the committed ones with a run; only that of the report needs a browser
pictures: $(VENV)/.tests
	$(BIN)/python -m collective.recipe.backup.tests.pictures

quick: $(VENV)/.tests
	$(PYTEST) -x -q -n $(JOBS) --dist worksteal -m "not slow" $(addprefix $(TESTS)/,unit properties)

fuzz: $(VENV)/.tests
	$(BIN)/python -m collective.recipe.backup.tests.fuzzing --jobs $(JOBS) $(FUZZ)

faults: $(VENV)/.tests
	$(BIN)/python -m collective.recipe.backup.tests.faults.outside --jobs $(JOBS) $(FAULTS)

bench: $(VENV)/.tests
	$(BIN)/python -m benchmarks --scratch $(SCRATCH) $(BENCH)

# The demo runs with the wheel, in an environment that has nothing else.
# The quick tests run with the sdist, in a directory that has nothing else.
dist: $(VENV)/.tests
	$(PIP) --editable '.[dist]'
	rm -rf dist
	$(BIN)/check-manifest --quiet
	$(BIN)/python -m build --outdir dist . >dist.log 2>&1 || { cat dist.log; exit 1; }
	rm -f dist.log
	$(BIN)/python -m twine check --strict dist/*.whl dist/*.tar.gz
	$(PYTHON) -m venv --clear dist/wheel
	dist/wheel/bin/python -m pip --disable-pip-version-check install --quiet \
	    "$$(ls dist/*.whl)[repository]"
	dist/wheel/bin/python demo/demo.py
	$(BIN)/python -m collective.recipe.backup.tests.installations try dist/*.whl $(PYTHON)
	mkdir dist/sdist
	tar --extract --gzip --strip-components=1 --directory=dist/sdist --file="$$(ls dist/*.tar.gz)"
	$(MAKE) --directory=dist/sdist quick PYTHON=$(PYTHON)
	rm -rf dist/wheel dist/sdist

# An interpreter that is tried needs no more than its standard library; nothing is compiled.
installations: $(VENV)/.tests
	$(BIN)/python -m pip --disable-pip-version-check wheel --quiet --no-deps --wheel-dir dist/tried .
	$(BIN)/python -m collective.recipe.backup.tests.installations try dist/tried/*.whl $(PYTHONS)
	$(BIN)/python -m collective.recipe.backup.tests.installations wheels
	rm -rf dist/tried

clean:
	rm -rf $(VENV) .bench demo/site docs/_build build dist src/*.egg-info .hypothesis .coverage htmlcov
	rm -rf .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
	find src demo -name __pycache__ -type d -prune -exec rm -rf {} +

# Each stamp is touched last: an installation that was interrupted is made again.

$(VENV)/.runtime: setup.cfg setup.py
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
	    { echo "Python 3.10 or newer is needed: make PYTHON=/path/to/python3 ..." >&2; exit 1; }
	@echo "Making a virtual environment in $(VENV) (once; it may take a minute) ..."
	@$(PYTHON) -m venv --clear $(VENV)
	@$(PIP) --editable '.[repository]'
	@touch $@

$(VENV)/.tests: $(VENV)/.runtime
	@echo "Installing what the tests need (once) ..."
	@$(PIP) --editable '.[test]'
	@touch $@
