"""Pictures that move while they are dragged: Components v2 with inline JavaScript, one file each in lipviz/web.

The browser draws and drags; nothing is sent until the visitor lets go. What then arrives may have been made up by
hand: every page checks it (`number`, `place`) and quietly refuses what it does not understand.
"""

import math
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import streamlit as st

from lipviz import ahead, ui

WEB = Path(__file__).resolve().parent / "web"
BORROWED = {"maps": ("playground_network", "playground_map", "playground_maps")}  # parts of another picture
DASHES = {"solid": "", "dash": "6 4", "dot": "1.5 3", "dashdot": "6 3 1.5 3", "longdash": "10 4"}
DASHES["longdashdot"] = "10 3 1.5 3"
FONT = "'Source Sans', 'Source Sans Pro', system-ui, sans-serif"


def mount(name: str, data: Mapping[str, Any], key: str, **callbacks: Callable[[], None]) -> Any:  # noqa: ANN401
    """Show the picture `name` (its file is web/<name>.js) with this data, and return its state.

    Args:
        name: of the picture.
        data: what it draws, as plain lists, numbers and strings; "look" (the colours of the theme) is added.
        key: of the widget; its state lies in st.session_state[key].
        callbacks: `on_<state>_change`, one for each state or trigger that the picture sends.
    """
    with ahead.now():
        return _component(name)(data={**data, "look": look()}, key=key, **callbacks)


def look() -> dict[str, Any]:
    """The colours of the theme: those of the figures."""
    from lipviz.drawing import DARK, INK, LIGHT

    dark = ui.dark()
    return {**INK[dark]._asdict(), "palette": list(DARK if dark else LIGHT), "dark": dark, "font": FONT}


def dash(name: str) -> str:
    """The dash of a row (drawing.STYLE) as SVG takes it.

    >>> dash("dash"), dash("9px,3px")
    ('6 4', '9 3')
    """
    return DASHES.get(name, name.replace("px", "").replace(",", " "))


def sent(key: str, name: str) -> object:
    """What the picture `key` last sent as `name`; None where it sent nothing."""
    state = st.session_state.get(key)
    return state.get(name) if isinstance(state, Mapping) else None


def number(message: object, low: float, high: float) -> float | None:
    """The number in a message, within [low, high]; None where it is none.

    >>> number(3, 0.0, 2.0), number("3", 0.0, 2.0), number(float("nan"), 0.0, 2.0)
    (2.0, None, None)
    """
    if isinstance(message, bool) or not isinstance(message, int | float) or message != message:
        return None
    return float(min(max(message, low), high)) if abs(message) < math.inf else None  # an int may be too large for float


def numbers(message: object, length: int, low: float, high: float) -> list[float] | None:
    """`length` numbers within [low, high]; None where the message is anything else.

    >>> numbers([1, 5], 2, 0.0, 2.0), numbers([1], 2, 0.0, 2.0), numbers("12", 2, 0.0, 2.0)
    ([1.0, 2.0], None, None)
    """
    if not isinstance(message, list) or len(message) != length:
        return None
    found = [number(item, low, high) for item in message]
    return None if None in found else [float(item) for item in found if item is not None]


@cache
def _component(name: str) -> Any:  # noqa: ANN401
    own = sorted(path.stem for path in WEB.glob(f"{name}_*.js"))  # a large picture has parts
    parts = ("common", *BORROWED.get(name, ()), *own, name)
    js, css = ("\n".join(read(f"{part}.{kind}") for part in parts) for kind in ("js", "css"))
    return st.components.v2.component(f"lipviz_{name}", html='<div class="lv"></div>', css=css, js=js)


def read(file: str) -> str:
    """What the file of that name in web holds; "" where there is none."""
    path = WEB / file
    return path.read_text(encoding="utf-8") if path.exists() else ""  # a picture may do without styles of its own
