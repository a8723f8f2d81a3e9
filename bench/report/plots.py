"""Two kinds of plot as inline SVG, by hand: bars against a ceiling, and lines. No scripts, no fonts, no colours
of their own: the page's stylesheet has those (``--s0`` to ``--s5``, ``--ink``, ``--soft``, ``--grid``).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

WIDTH: Final = 860
BAR_HEIGHT: Final = 20
BAR_PITCH: Final = 34
BAR_LEFT: Final = 300  # room for the labels
BAR_RIGHT: Final = 170  # room for the numbers
BAR_SHARE_MAX: Final = 1.1  # a little beyond the ceiling, for noise
INSIDE_SHARE_MIN: Final = 0.12  # a shorter bar has its number beside it
LINE_HEIGHT: Final = 320
MARGIN_LEFT: Final = 64
MARGIN_RIGHT: Final = 150
MARGIN_TOP: Final = 16
MARGIN_BOTTOM: Final = 48
LABEL_PITCH: Final = 15  # the least distance between two end labels
COLOURS: Final = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One bar: ``share`` of the ceiling, or None where there is no ceiling to compare with."""

    label: str
    detail: str
    share: float | None
    bound: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line; points by ascending x."""

    name: str
    points: Sequence[tuple[float, float]]


def bar_plot(bars: Sequence[Bar], title: str) -> str:
    """Horizontal bars on one scale, 0 to the ceiling; a bound is a tick across its bar."""
    height = BAR_PITCH * len(bars) + 34
    scale = (WIDTH - BAR_LEFT - BAR_RIGHT) / BAR_SHARE_MAX
    parts = [_open(height, title)]
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        x = BAR_LEFT + share * scale
        style = "ceiling" if share == 1.0 else "grid"
        parts.append(f'<line class="{style}" x1="{x:.1f}" x2="{x:.1f}" y1="6" y2="{height - 26}"/>')
        text = "ceiling" if share == 1.0 else f"{share:.0%}"
        parts.append(_text(x, height - 10, text, "tick", "middle"))
    for index, bar in enumerate(bars):
        parts += _one_bar(bar, 12 + index * BAR_PITCH, scale)
    return "".join([*parts, "</svg>"])


def line_plot(
    lines: Sequence[Line],
    title: str,
    *,
    x_label: str,
    y_label: str,
    log_x: bool = False,
    log_y: bool = False,
) -> str:
    """Lines with marked points, named at their right ends. Values on a logarithmic axis must be positive."""
    xs = [x for line in lines for x, _ in line.points]
    ys = [y for line in lines for _, y in line.points]
    if not xs:
        return ""
    across = _Axis.over(xs, MARGIN_LEFT, WIDTH - MARGIN_RIGHT, log=log_x, from_zero=False)
    up = _Axis.over(ys, LINE_HEIGHT - MARGIN_BOTTOM, MARGIN_TOP, log=log_y, from_zero=not log_y)
    parts = [_open(LINE_HEIGHT, title), *_grid(across, up, x_label, y_label)]
    for index, line in enumerate(lines):
        parts += _one_line(line, index % COLOURS, across, up)
    parts += _end_labels(lines, across, up)
    return "".join([*parts, "</svg>"])


@dataclass(frozen=True, slots=True, kw_only=True)
class _Axis:
    """A scale from values to pixels, with its ticks."""

    low: float
    high: float
    first_px: float
    last_px: float
    log: bool
    ticks: Sequence[float]

    @classmethod
    def over(
        cls, values: Sequence[float], first_px: float, last_px: float, *, log: bool, from_zero: bool
    ) -> _Axis:
        low, high = (0.0 if from_zero else min(values)), max(values)
        ticks = _decades(low, high) if log else _round_ticks(low, high)
        low, high = min(low, ticks[0]), max(high, ticks[-1])
        return cls(low=low, high=high, first_px=first_px, last_px=last_px, log=log, ticks=ticks)

    def px(self, value: float) -> float:
        low, high, at = self.low, self.high, value
        if self.log:
            low, high, at = math.log10(low), math.log10(high), math.log10(value)
        part = (at - low) / (high - low) if high > low else 0.5
        return self.first_px + part * (self.last_px - self.first_px)


def _decades(low: float, high: float) -> list[float]:
    """Powers of ten around the values; with 1-2-5 steps where there would be fewer than three."""
    first, last = math.floor(math.log10(low) + 1e-9), math.ceil(math.log10(high) - 1e-9)
    if last - first >= 2:
        return [10.0**power for power in range(first, last + 1)]
    fine = [step * 10.0**power for power in range(first, last + 1) for step in (1, 2, 5)]
    inside = [tick for tick in fine if low <= tick <= high]
    before = [tick for tick in fine if tick < low][-1:]
    after = [tick for tick in fine if tick > high][:1]
    return [*before, *inside, *after] or [low]


def _round_ticks(low: float, high: float) -> list[float]:
    """About five ticks at 1, 2 or 5 times a power of ten."""
    span = (high - low) or abs(high) or 1.0
    step = 10.0 ** math.floor(math.log10(span / 4))
    step *= next(factor for factor in (1, 2, 5, 10) if span / (step * factor) <= 5)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [index * step for index in range(first, last + 1)]


def _one_bar(bar: Bar, y: float, scale: float) -> list[str]:
    middle = y + BAR_HEIGHT / 2 + 4
    parts = [_text(BAR_LEFT - 10, middle, bar.label, "label", "end")]
    shown = min(bar.share or 0.0, BAR_SHARE_MAX)
    if bar.share is not None:
        missed = " missed" if bar.bound is not None and bar.share < bar.bound else ""
        parts.append(
            f'<rect class="bar{missed}" x="{BAR_LEFT}" y="{y:.1f}" width="{shown * scale:.1f}"'
            f' height="{BAR_HEIGHT}" rx="2"><title>{escape(bar.label)}: {bar.share:.1%} of the ceiling'
            f"</title></rect>"
        )
        style, x = ("inside", 8.0) if shown > INSIDE_SHARE_MIN else ("label", shown * scale + 6)
        parts.append(_text(BAR_LEFT + x, middle, f"{bar.share:.0%}", style, "start"))
    if bar.bound is not None:
        x = BAR_LEFT + bar.bound * scale
        parts.append(
            f'<line class="bound" x1="{x:.1f}" x2="{x:.1f}" y1="{y - 3:.1f}" y2="{y + BAR_HEIGHT + 3:.1f}">'
            f"<title>at least {bar.bound:.0%}</title></line>"
        )
    parts.append(_text(WIDTH - BAR_RIGHT + 12, middle, bar.detail, "tick", "start"))
    return parts


def _grid(across: _Axis, up: _Axis, x_label: str, y_label: str) -> list[str]:
    left, right = across.first_px, across.last_px
    bottom = up.first_px
    parts = []
    for tick in up.ticks:
        y = up.px(tick)
        parts.append(f'<line class="grid" x1="{left}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(_text(left - 8, y + 4, short(tick), "tick", "end"))
    parts += [_text(across.px(tick), bottom + 18, short(tick), "tick", "middle") for tick in across.ticks]
    parts.append(f'<line class="axis" x1="{left}" x2="{right}" y1="{bottom}" y2="{bottom}"/>')
    parts.append(_text((left + right) / 2, LINE_HEIGHT - 8, x_label, "name", "middle"))
    turn = f' transform="rotate(-90 14 {(bottom + MARGIN_TOP) / 2:.0f})"'
    parts.append(_text(14, (bottom + MARGIN_TOP) / 2, y_label, "name", "middle", turn))
    return parts


def _one_line(line: Line, colour: int, across: _Axis, up: _Axis) -> list[str]:
    path = " ".join(f"{across.px(x):.1f},{up.px(y):.1f}" for x, y in line.points)
    parts = [f'<polyline class="line s{colour}" points="{path}"/>']
    for x, y in line.points:
        parts.append(
            f'<circle class="dot s{colour}" cx="{across.px(x):.1f}" cy="{up.px(y):.1f}" r="3.5">'
            f"<title>{escape(line.name)}: {short(y)} at {short(x)}</title></circle>"
        )
    return parts


def _end_labels(lines: Sequence[Line], across: _Axis, up: _Axis) -> list[str]:
    """Names at the right, pushed apart where lines end close together."""
    ends = sorted((up.px(line.points[-1][1]), index) for index, line in enumerate(lines) if line.points)
    parts, lowest = [], -math.inf
    for y, index in ends:
        lowest = max(y, lowest + LABEL_PITCH)
        name = lines[index].name
        parts.append(_text(across.last_px + 10, lowest + 4, name, f"end s{index % COLOURS}", "start"))
    return parts


def short(value: float) -> str:
    """An axis number: 1k, 250k, 1M, 0.5."""
    for limit, suffix in ((1e6, "M"), (1e3, "k")):
        if abs(value) >= limit:
            return f"{value / limit:g}{suffix}" if value % limit == 0 else f"{value / limit:.3g}{suffix}"
    return f"{value:.3g}"


def _open(height: float, title: str) -> str:
    return (
        f'<svg viewBox="0 0 {WIDTH} {height:.0f}" role="img" aria-label="{escape(title)}"'
        ' xmlns="http://www.w3.org/2000/svg">'
    )


def _text(x: float, y: float, content: str, style: str, anchor: str, more: str = "") -> str:
    return (
        f'<text class="{style}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{more}>{escape(content)}</text>'
    )
