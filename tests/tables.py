"""Tables of a page as the tests see them."""

from xml.etree import ElementTree

import pandas as pd


def tables(at):
    """The HTML tables of a page in AppTest: a data frame each, numbers as numbers."""
    found = []
    for block in at.get("html"):
        if "lipviz-table" in block.proto.body:
            [head, *rows] = ElementTree.fromstring(block.proto.body).iter("tr")
            cells = [[cell.text or "" for cell in row] for row in rows]
            frame = pd.DataFrame(cells, columns=[cell.text for cell in head])
            found.append(frame.apply(_numbers))
    return found


def _numbers(column):
    try:
        return pd.to_numeric(column)
    except ValueError:
        return column
