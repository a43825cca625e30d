# The README's two commands and little else.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: demo test lint suite bench clean

demo: $(VENV)/installed
	$(BIN)/samplewise demo -o demo

test:
	$(MAKE) -j 2 lint suite

suite: $(VENV)/installed-dev
	SAMPLEWISE_REQUIRE_NATIVE=1 $(BIN)/python -m pytest -q -n 2 --dist worksteal

CXX_SOURCES := src/samplewise/engine/bindings.cc \
	$(shell find native -name '*.cc' -o -name '*.h' -o -name '*.inc')

lint: $(VENV)/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/clang-format --dry-run --Werror $(CXX_SOURCES)
	$(BIN)/lint-imports
	$(BIN)/pyright --pythonpath $(BIN)/python

bench: $(VENV)/installed
	$(BIN)/samplewise bench

clean:
	rm -rf $(VENV) demo

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "samplewise needs Python 3.11 or newer, this is " + sys.version.split()[0])'
	$(PYTHON) -m venv $(VENV)

# What an installation depends on; Python files are used where they lie.
BUILD := pyproject.toml constraints.txt CMakeLists.txt $(CXX_SOURCES) \
	$(shell find native -name CMakeLists.txt)

# --no-compile: what is imported is compiled then; all of it takes a minute.
$(VENV)/installed: $(VENV)/bin/python $(BUILD)
	$(BIN)/pip install --disable-pip-version-check -q --no-compile -c constraints.txt -e .
	@touch $@

$(VENV)/installed-dev: $(VENV)/bin/python $(BUILD)
	$(BIN)/pip install --disable-pip-version-check -q --no-compile -c constraints.txt -e '.[dev]'
	@touch $(VENV)/installed $@
