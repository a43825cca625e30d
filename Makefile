# The README's two commands and little else.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: demo test lint suite bench clean

demo: $(VENV)/installed
	$(BIN)/samplewise demo -o demo

test:
	$(MAKE) -j 2 lint suite

# Tests start many processes: their bytecode is kept, whatever the environment says.
suite: $(VENV)/installed-dev
	PYTHONDONTWRITEBYTECODE= SAMPLEWISE_REQUIRE_NATIVE=1 $(BIN)/python -m pytest -q -n 2 --dist worksteal

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

# pip compiles modules one after the other, which takes a minute.
INSTALL := $(BIN)/pip install --disable-pip-version-check -q --no-compile -c constraints.txt
COMPILE := $(BIN)/python -m compileall -qq -j 0 $(VENV)/lib > /dev/null 2>&1 || true

$(VENV)/installed: $(VENV)/bin/python $(BUILD)
	$(INSTALL) -e .
	@$(COMPILE)
	@touch $@

$(VENV)/installed-dev: $(VENV)/bin/python $(BUILD)
	$(INSTALL) -e '.[dev]'
	@$(COMPILE)
	@touch $(VENV)/installed $@
