"""Line charts as SVG: two columns, one legend, readable on light and dark pages."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from math import ceil, floor, log10

WIDTH, TALL, LOW = 430, 220, 120
"""Pixels of a chart that has a title, and the height of one below it."""

LEFT, RIGHT, TOP, BOTTOM = 48, 12, 30, 36


@dataclass(frozen=True)
class Line:
    name: str
    points: Sequence[tuple[float, float]]
    color: str
    width: float = 2.0
    fills: bool = False
    """Fill the area below in place of a line."""


@dataclass(frozen=True)
class Chart:
    title: str
    """Empty: it belongs to the chart above."""
    unit: str
    lines: Sequence[Line]


def write_svg(charts: Sequence[Chart]) -> str:
    """Charts in pairs, an upper and a lower one, side by side; times on the horizontal axis."""
    columns = (len(charts) + 1) // 2
    width, height = WIDTH * columns + 10, TALL + LOW + 34
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
        'font-family="system-ui, sans-serif" font-size="12">',
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
    ]
    for column in range(columns):
        pair = charts[2 * column : 2 * column + 2]
        parts += _chart(pair[0], WIDTH * column, 0, TALL, "")
        if len(pair) > 1:
            parts += _chart(pair[1], WIDTH * column, TALL - 6, LOW, "seconds")
    parts += _legend(charts, height - 14)
    return "\n".join([*parts, "</svg>", ""])


def _chart(chart: Chart, x: float, y: float, height: float, below: str) -> Iterator[str]:
    points = [point for line in chart.lines for point in line.points]
    last = max(at for at, _ in points)
    top = _ticks(max(value for _, value in points))[-1]
    left, right = x + LEFT, x + WIDTH - RIGHT
    upper, lower = y + (TOP if chart.title else 12), y + height - (BOTTOM if below else 12)

    def place(point: tuple[float, float]) -> str:
        return f"{left + (right - left) * min(1.0, point[0] / last):.1f},{lower - (lower - upper) * point[1] / top:.1f}"

    if chart.title:
        look = 'font-size="14" font-weight="600" fill="#202124"'
        yield f'<text x="{left}" y="{y + 18}" {look}>{escape(chart.title)}</text>'
    for value in _ticks(top):
        at = lower - (lower - upper) * value / top
        yield f'<line x1="{left}" x2="{right}" y1="{at:.1f}" y2="{at:.1f}" stroke="#e0e0e0"/>'
        yield f'<text x="{left - 6}" y="{at + 4:.1f}" text-anchor="end" fill="#5f6368">{value:g}</text>'
    middle = (upper + lower) / 2
    turned = f'transform="rotate(-90 {x + 14} {middle:.1f})" text-anchor="middle" fill="#5f6368"'
    yield f'<text x="{x + 14}" y="{middle:.1f}" {turned}>{escape(chart.unit)}</text>'
    for value in _ticks(last, 6):
        at = left + (right - left) * value / last
        if value <= last:
            yield f'<line x1="{at:.1f}" x2="{at:.1f}" y1="{lower}" y2="{lower + 4}" stroke="#5f6368"/>'
            if below:
                yield f'<text x="{at:.1f}" y="{lower + 17}" text-anchor="middle" fill="#5f6368">{value:g}</text>'
    if below:
        yield f'<text x="{right}" y="{lower + 31}" text-anchor="end" fill="#5f6368">{below}</text>'
    for line in chart.lines:
        path = " ".join(map(place, line.points))
        if line.fills:
            ends = place((line.points[-1][0], 0)), place((line.points[0][0], 0))
            yield f'<polygon points="{path} {ends[0]} {ends[1]}" fill="{line.color}" fill-opacity="0.35"/>'
        else:
            look = f'fill="none" stroke="{line.color}" stroke-width="{line.width}" stroke-linejoin="round"'
            yield f'<polyline points="{path}" {look}/>'


def _legend(charts: Sequence[Chart], y: float) -> Iterator[str]:
    x = float(LEFT)
    for line in {line.name: line for chart in charts for line in chart.lines}.values():
        if line.fills:
            yield f'<rect x="{x}" y="{y - 10}" width="22" height="12" fill="{line.color}" fill-opacity="0.35"/>'
        else:
            yield f'<line x1="{x}" x2="{x + 22}" y1="{y - 4}" y2="{y - 4}" stroke="{line.color}" stroke-width="3"/>'
        yield f'<text x="{x + 28}" y="{y}" fill="#202124">{escape(line.name)}</text>'
        x += 48 + 7 * len(line.name)


def _ticks(most: float, count: int = 4) -> list[float]:
    """Round numbers from 0 to at least `most`."""
    raw = max(most, 1e-9) / count
    power = 10 ** floor(log10(raw))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= raw)
    return [step * number for number in range(ceil(most / step - 1e-9) + 1)]
