"""The app: `streamlit run app.py`."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import streamlit as st
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.routing import Route

from lipviz import served
from lipviz.shell import warm_up


@asynccontextmanager
async def lifespan(_: st.App) -> AsyncIterator[None]:
    """Start the warm-up with the server, so that the first visitor finds it done."""
    warm_up()
    yield


def on_script_error(_: Exception) -> bool:
    """Show one sentence; Streamlit has already written the traceback to the server log."""
    st.error("Something went wrong on the server: change the last setting back or reload the page.")
    return True


app = st.App(
    Path(__file__).resolve().parent / "lipviz" / "shell.py",
    lifespan=lifespan,
    routes=[Route(served.address(), served.serve)],  # plotly's JavaScript for the chart of a training
    # Streamlit sends its own JavaScript uncompressed: 7.5 MB before the first chart, 2.7 MB with this
    middleware=[Middleware(GZipMiddleware, minimum_size=2000, compresslevel=6)],
    on_script_error=on_script_error,
)
