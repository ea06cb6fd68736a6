"""Plotly's JavaScript, from the installed python package, as a file of this app: a page asks no other host.

The server imports this file when it starts, so it imports nothing heavy.
"""

import gzip
from functools import cache
from importlib import metadata, util
from pathlib import Path

import streamlit as st
from starlette.requests import Request
from starlette.responses import Response


@cache
def address() -> str:
    """Where the app serves plotly's JavaScript; the version is part of it, so that a browser may keep it for ever."""
    base = st.get_option("server.baseUrlPath").strip("/")
    return f"{f'/{base}' if base else ''}/lipviz/plotly-{metadata.version('plotly')}.min.js"


def serve(request: Request) -> Response:
    """Plotly's JavaScript, compressed once for all visitors."""
    packed = "gzip" in request.headers.get("accept-encoding", "")
    try:
        body = _packed() if packed else _file().read_bytes()
    except OSError:
        return Response("The installed plotly has no plotly.min.js: install it anew.", 404, media_type="text/plain")
    headers = {"Cache-Control": "public, max-age=31536000, immutable", "Vary": "Accept-Encoding"}
    if packed:
        headers["Content-Encoding"] = "gzip"
    return Response(body, media_type="text/javascript", headers=headers)


@cache
def _packed() -> bytes:
    return gzip.compress(_file().read_bytes(), 9)


def _file() -> Path:
    found = util.find_spec("plotly")  # does not import it: the server starts sooner
    folders = list(found.submodule_search_locations or []) if found else []
    return Path(folders[0] if folders else ".") / "package_data" / "plotly.min.js"
