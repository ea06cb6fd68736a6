"""One small picture for each lesson of the course, in SVG: sketches, not measurements."""

from collections.abc import Sequence
from math import cos, pi, sin
from urllib.parse import quote

from lipviz.drawing import DARK, INK, LIGHT

WIDTH, HEIGHT = 160, 100


def picture(number: int, dark: bool = False) -> str:
    """The sketch of lesson `number`, from 1 to 8, as HTML; for screen readers it is decoration."""
    ink, palette = INK[dark], DARK if dark else LIGHT
    parts = SKETCHES[number - 1](palette, ink.strong)
    svg = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}">{parts}</svg>'
    return f'<img alt="" src="data:image/svg+xml,{quote(svg)}" style="width: 100%; max-height: 8rem">'


def _circle(x: float | int, y: float | int, r: float | int, stroke: str, extra: str = "") -> str:
    return f'<circle cx="{x}" cy="{y}" r="{r}" fill="none" stroke="{stroke}" stroke-width="2" {extra}/>'


def _line(points: Sequence[tuple[float | int, float | int]], stroke: str, extra: str = "") -> str:
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return f'<polyline points="{path}" fill="none" stroke="{stroke}" stroke-width="2" {extra}/>'


def _cross(x: float | int, y: float | int, stroke: str) -> str:
    return _line([(x - 3, y - 3), (x + 3, y + 3)], stroke) + _line([(x - 3, y + 3), (x + 3, y - 3)], stroke)


def _certificate(p: Sequence[str], ink: str) -> str:
    picture = f'<rect x="62" y="32" width="36" height="36" fill="{p[0]}" fill-opacity="0.3" stroke="{p[0]}"/>'
    return picture + _circle(80, 50, 44, p[2]) + _line([(80, 50), (80 + 44 * cos(0.6), 50 - 44 * sin(0.6))], p[2])


def _curve(p: Sequence[str], ink: str) -> str:
    axes = _line([(20, 10), (20, 88), (150, 88)], ink)
    falling = [(20 + 13 * i, 88 - 70 * 0.72**i) for i in range(10)]
    return axes + _line(falling, p[3]) + _line([(59, 10), (59, 88)], ink, 'stroke-dasharray="4 3"')


def _probe(p: Sequence[str], ink: str) -> str:
    edge = _line([(15 + 2 * i, 40 + 25 * sin(i / 10)) for i in range(66)], ink)
    way = _line([(82, 74), (97, 60)], p[4], 'stroke-dasharray="4 3"')
    return edge + _circle(80, 78, 18, p[0]) + way + f'<circle cx="80" cy="78" r="3" fill="{p[0]}"/>'


def _region(p: Sequence[str], ink: str) -> str:
    axes = _line([(20, 6), (20, 92), (152, 92)], ink)
    flipped = _line([(48 + 500 / (t + 6), 72 - t) for t in range(2, 66, 2)], p[0])
    return axes + flipped + _cross(74, 53, p[1])


def _signs(p: Sequence[str], ink: str) -> str:
    corners = [(80 + 34 * cos(2 * pi * k / 3 - pi / 2), 54 + 34 * sin(2 * pi * k / 3 - pi / 2)) for k in range(3)]
    sides = _line([corners[0], corners[1]], p[0]) + _line([corners[1], corners[2]], p[0])
    names = f'<text x="106" y="36" fill="{p[4]}" font-size="16">−</text>'
    names += f'<text x="46" y="36" fill="{p[0]}" font-size="16">+</text>'
    dots = "".join(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5" fill="{ink}"/>' for x, y in corners)
    return sides + _line([corners[2], corners[0]], p[4], 'stroke-dasharray="5 3"') + dots + names


def _discs(p: Sequence[str], ink: str) -> str:
    axis = _line([(8, 50), (152, 50)], ink)
    circles = "".join(_circle(x, 50, r, p[0]) for x, r in ((44, 24), (70, 34), (96, 20)))
    edge = _line([(116, 8), (116, 92)], p[4], 'stroke-dasharray="4 3"')
    return axis + circles + edge + "".join(_cross(x, 50, ink) for x in (40, 66, 99))


def _spectrum(p: Sequence[str], ink: str) -> str:
    axes = _line([(20, 8), (20, 90), (152, 90)], ink)
    falling = [(20 + 13 * i, 26 + 0.55 * i * i) for i in range(11)]
    return axes + _line([(20, 24), (150, 24)], p[2]) + _line(falling, p[1], 'stroke-dasharray="6 3"')


def _liar(p: Sequence[str], ink: str) -> str:
    edge = _line([(95, 6), (88, 40), (99, 66), (92, 94)], ink)
    return edge + _circle(64, 50, 44, p[4], 'stroke-dasharray="6 4"') + _circle(64, 50, 14, p[0]) + _cross(96, 50, p[4])


SKETCHES = (_certificate, _curve, _probe, _region, _signs, _discs, _spectrum, _liar)
