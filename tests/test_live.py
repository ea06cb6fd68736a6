"""Plotly's JavaScript as a file of the app, and the chart that uses it."""

import gzip
import json
from pathlib import Path

import plotly
import pytest
from starlette.requests import Request
from streamlit.testing.v1 import AppTest

from lipviz import served

LIBRARY = Path(plotly.__file__).parent / "package_data" / "plotly.min.js"


def asked(encoding):
    return served.serve(Request({"type": "http", "headers": [(b"accept-encoding", encoding)]}))


def test_the_browser_gets_the_installed_plotly():
    assert plotly.__version__ in served.address() and served.address().startswith("/")
    packed = asked(b"gzip, br")
    assert packed.headers["content-encoding"] == "gzip" and packed.headers["content-type"].startswith("text/javascript")
    assert gzip.decompress(packed.body) == LIBRARY.read_bytes() and len(packed.body) < 1.6e6
    assert "immutable" in packed.headers["cache-control"] and packed.headers["vary"] == "Accept-Encoding"
    plain = asked(b"identity")
    assert "content-encoding" not in plain.headers and plain.body == LIBRARY.read_bytes()


def test_a_plotly_without_its_file_is_a_404(monkeypatch, tmp_path):
    monkeypatch.setattr(served, "_file", lambda: tmp_path / "none.js")
    answer = asked(b"")
    assert answer.status_code == 404 and str(tmp_path).encode() not in answer.body


def _page(now):
    from lipviz.figures import training
    from lipviz.ui_live import chart

    numbers = {"epoch": [0, 1], "accuracy": [0.5, 0.9], "train_loss": [1.0, 0.5]}
    figure = training([{"name": "a", "row": "aol", **numbers}]).update_layout(uirevision="a")
    chart(figure, "curve", "Accuracy of a", now)


@pytest.mark.parametrize("now", ["", "epoch 1"])
def test_the_chart_is_data_of_the_component(now):
    at = AppTest.from_function(_page, args=(now,), default_timeout=60).run()
    assert not at.exception
    [part] = at.get("bidi_component")
    data = json.loads(part.proto.json)
    assert data["now"] == now and data["alt"] == "Accuracy of a" and data["script"] == served.address()
    assert data["figure"]["layout"]["uirevision"] == "a" and len(data["figure"]["data"]) == 2
    assert data["config"]["toImageButtonOptions"] == {"format": "svg", "filename": "curve"}
    assert data["config"]["showSendToCloud"] is False
    assert not part.proto.isolate_styles, "plotly's style sheet is in the document, not in a shadow root"
