"""Small pictures of the data sets, for the buttons that choose one."""

import base64
from functools import cache

from lipviz.points import NAMES, sample

COLOURS = ("#2f74c8", "#c9900d")  # seen on light and on dark


@cache
def style(key: str) -> str:
    """Style sheet that puts a picture of its points before each of the first buttons of the widget `key`."""
    rules = [
        f".st-key-{key} button:nth-of-type({i})::before "
        f'{{ content: ""; width: 1.5rem; height: 1.5rem; margin-right: 0.35rem; '
        f'background: url("{picture(name)}") center / contain no-repeat }}'
        for i, name in enumerate(NAMES, 1)
    ]
    return f"<style>{' '.join(rules)}</style>"


def picture(name: str) -> str:
    """The points of that name as the address of an SVG."""
    points = sample(name, 2, 70, 0.04)
    dots = "".join(
        f'<circle cx="{20 + 12 * a:.1f}" cy="{20 - 12 * b:.1f}" r="2.1" fill="{COLOURS[label]}"/>'
        for (a, b), label in zip(points.x, points.y, strict=True)
    )
    svg = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 40 40">{dots}</svg>'
    return f"data:image/svg+xml;base64,{base64.b64encode(svg.encode()).decode()}"
