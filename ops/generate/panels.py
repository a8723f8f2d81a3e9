"""Dashboards as data: what is asked, how it is named, in which unit. Grafana's JSON and the console pages are drawn from it.

In a query ``$tenant``, ``$token`` and ``$instance`` are variables, ``$__rate_interval`` a window of some scrapes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

Unit = Literal["short", "s", "percentunit", "bytes", "ops", "digests", "d", "bool"]
Shape = Literal["lines", "stat"]


@dataclass(frozen=True, slots=True)
class Query:
    """An expression, and the legend of its series (``{{label}}`` is that label's value)."""

    expr: str
    legend: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """``shape`` lines over time, or the last value as a number."""

    title: str
    description: str
    unit: Unit
    queries: tuple[Query, ...]
    shape: Shape = "lines"


@dataclass(frozen=True, slots=True, kw_only=True)
class Variable:
    """A label to choose by; its values are those of this label of this series."""

    label: str
    series: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Board:
    """``name`` is part of its address and never changes. Panels by the titles of their rows."""

    name: str
    title: str
    rows: dict[str, tuple[Panel, ...]]
    variables: tuple[Variable, ...] = ()

    @property
    def panels(self) -> tuple[Panel, ...]:
        """All of them."""
        return tuple(panel for panels in self.rows.values() for panel in panels)


WINDOW: Final = "$__rate_interval"


def rate(series: str, by: str, only: str = "") -> str:
    """The rate of a counter, summed by a label."""
    return f"sum by ({by}) (rate({series}{{{only}}}[{WINDOW}]))"


def quantile(q: float, series: str, by: str = "", only: str = "") -> str:
    """Of a histogram, over all processes, by a label or together."""
    labels = f"le, {by}" if by else "le"
    return f"histogram_quantile({q:g}, sum by ({labels}) (rate({series}_bucket{{{only}}}[{WINDOW}])))"


def mean(series: str, by: str, only: str = "") -> str:
    """Of what a histogram saw."""
    return f"{rate(f'{series}_sum', by, only)} / {rate(f'{series}_count', by, only)}"


def lines(title: str, description: str, unit: Unit, *queries: tuple[str, str]) -> Panel:
    """Lines over time."""
    return Panel(title=title, description=description, unit=unit, queries=tuple(Query(*q) for q in queries))


def stat(title: str, description: str, unit: Unit, expr: str) -> Panel:
    """One number."""
    return Panel(title=title, description=description, unit=unit, queries=(Query(expr, title),), shape="stat")
