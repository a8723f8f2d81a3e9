"""Dashboards as data, from which the Grafana JSON and the console pages are written.

In a query ``$tenant``, ``$token`` and ``$instance`` are variables, ``$__rate_interval`` a window of several scrapes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

Unit = Literal["short", "s", "percentunit", "bytes", "ops", "digests", "d", "bool"]
Shape = Literal["lines", "stat"]


@dataclass(frozen=True, slots=True)
class Query:
    """PromQL expression and the legend of its series (``{{label}}`` is that label's value)."""

    expr: str
    legend: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """Panel of a dashboard. ``shape``: lines over time, or the last value as a number."""

    title: str
    description: str
    unit: Unit
    queries: tuple[Query, ...]
    shape: Shape = "lines"


@dataclass(frozen=True, slots=True, kw_only=True)
class Variable:
    """Selectable label; its values are those of this label in ``series``."""

    label: str
    series: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Board:
    """Dashboard: rows of panels by title. ``name`` is part of its address and never changes."""

    name: str
    title: str
    rows: dict[str, tuple[Panel, ...]]
    variables: tuple[Variable, ...] = ()

    @property
    def panels(self) -> tuple[Panel, ...]:
        """All panels of all rows."""
        return tuple(panel for panels in self.rows.values() for panel in panels)


WINDOW: Final = "$__rate_interval"


def rate(series: str, by: str, only: str = "") -> str:
    """Rate of a counter, summed by a label."""
    return f"sum by ({by}) (rate({series}{{{only}}}[{WINDOW}]))"


def quantile(q: float, series: str, by: str = "", only: str = "") -> str:
    """Quantile of a histogram over all processes, optionally by a label."""
    labels = f"le, {by}" if by else "le"
    return f"histogram_quantile({q:g}, sum by ({labels}) (rate({series}_bucket{{{only}}}[{WINDOW}])))"


def mean(series: str, by: str, only: str = "") -> str:
    """Mean of the values in a histogram."""
    return f"{rate(f'{series}_sum', by, only)} / {rate(f'{series}_count', by, only)}"


def lines(title: str, description: str, unit: Unit, *queries: tuple[str, str]) -> Panel:
    """Panel of lines over time."""
    return Panel(title=title, description=description, unit=unit, queries=tuple(Query(*q) for q in queries))


def stat(title: str, description: str, unit: Unit, expr: str) -> Panel:
    """Panel of one number."""
    return Panel(title=title, description=description, unit=unit, queries=(Query(expr, title),), shape="stat")
