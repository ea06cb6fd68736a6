# make app    set up and open the app          make test   set up and pass every test
# make check  lint, types and quick tests      make bench  time of every layer against the plain one
PYTHON ?= python3
BIN := .venv/bin
SOURCES := pyproject.toml constraints.txt

.PHONY: app test check bench
app: .venv/app
	$(BIN)/streamlit run app.py

test: .venv/test
	$(BIN)/python -m pytest -q -n 3 --dist loadgroup

check: .venv/test
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/python -m pytest -q -n 3 --dist loadgroup -m "not slow"

bench: .venv/test
	$(BIN)/lipviz bench layers

.venv/app: $(SOURCES)
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	touch $@

.venv/test: $(SOURCES)
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[test]"
	touch .venv/app $@
