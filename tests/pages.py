"""Pages as the tests without a browser open and read them."""

import importlib
import json
from pathlib import Path
from xml.etree import ElementTree

import pandas as pd
from streamlit.testing.v1 import AppTest

from lipviz import shell

SHELL = Path(__file__).parents[1] / "lipviz" / "shell.py"
# what the warm-up imports beside the first page: under the type checker's import hook both threads would use
# CPython 3.11's parser at once, and that can end in "AST constructor recursion depth mismatch"
for module in shell.HEAVY:
    importlib.import_module(module)


def opened(page, **parameters):
    """The page, run in the frame of the app with these parameters in its address; nothing went wrong on it."""
    at = AppTest.from_file(SHELL, default_timeout=120)
    at.switch_page(f"../pages/{page}.py")
    for key, value in parameters.items():
        at.query_params[key] = value
    at.run()
    assert not at.exception and at.title
    return at


def tables(at):
    """The HTML tables of a page in AppTest: a data frame each, numbers as numbers."""
    found = []
    for block in at.get("html"):
        if "lipviz-table" in block.proto.body:
            [head, *rows] = ElementTree.fromstring(block.proto.body).iter("tr")
            cells = [["".join(cell.itertext()) for cell in row] for row in rows]
            frame = pd.DataFrame(cells, columns=[cell.text for cell in head])
            found.append(frame.apply(_numbers))
    return found


def charts(at):
    """The plotly figures of a page, as data."""
    found = [part.proto for part in at.get("bidi_component") if part.proto.component_name == "lipviz_live"]
    return [json.loads(part.json)["figure"] for part in found]


def _numbers(column):
    try:
        return pd.to_numeric(column)
    except ValueError:
        return column
