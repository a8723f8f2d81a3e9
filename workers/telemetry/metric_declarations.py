"""Declarations of metrics: class attributes of a table, instantiated for a registry.

The reference page is written from the same lines (``ops.generate.pages.metrics_page``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, Generic, Literal, Self, TypeVar, overload

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics

from workers.telemetry.series_budget import Bounded, Ranked, SeriesBudget

disable_created_metrics()  # type: ignore[no-untyped-call]

PREFIX: Final = "sigmill_"

_BESIDE_BUCKETS: Final = 3
"""``+Inf``, sum and count of a histogram."""

T = TypeVar("T", covariant=True)  # noqa: PLC0105 - the usual name for one

Kind = Literal["counter", "gauge", "histogram"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """Facts of a declared metric. ``name`` is without the prefix and without the ``_total`` of a counter."""

    kind: Kind
    name: str
    help: str
    labels: tuple[str, ...] = ()
    bounds: tuple[float, ...] = ()

    @property
    def exposed_name(self) -> str:
        """Name in ``/metrics``; that of a histogram is followed by ``_bucket``, ``_sum`` or ``_count``."""
        return f"{PREFIX}{self.name}" + ("_total" if self.kind == "counter" else "")


_Make = Callable[[Facts, CollectorRegistry, SeriesBudget], T]


class Declared(Generic[T]):
    """Declaration in the class of a table; on an instance the attribute is the metric itself."""

    def __init__(self, facts: Facts, make: _Make[T]) -> None:
        self.facts = facts
        self.make = make

    @overload
    def __get__(self, table: None, owner: object) -> Self: ...
    @overload
    def __get__(self, table: MetricTable, owner: object) -> T: ...
    def __get__(self, table: MetricTable | None, owner: object) -> Self | T:
        """The declaration; an instance has an attribute of this name, so this is called for the class only."""
        return self


class MetricTable:
    """Table of all metrics that its class declares, for one registry and within one series budget."""

    def __init__(self, registry: CollectorRegistry) -> None:
        budget = SeriesBudget()
        for attribute, declared in self.declarations():
            setattr(self, attribute, declared.make(declared.facts, registry, budget))

    @classmethod
    def declarations(cls) -> Iterator[tuple[str, Declared[object]]]:
        """Attributes and their declarations in the order of the class body, those of base classes first."""
        for base in reversed(cls.__mro__):
            for attribute, declared in vars(base).items():
                if isinstance(declared, Declared):
                    yield attribute, declared


def counter(name: str, help_text: str, *labels: str) -> Declared[Counter]:
    """Counter with labels from closed sets."""
    facts = Facts(kind="counter", name=name, help=help_text, labels=labels)
    return Declared(
        facts, lambda f, registry, _: Counter(PREFIX + f.name, f.help, f.labels, registry=registry)
    )


def gauge(name: str, help_text: str, *labels: str) -> Declared[Gauge]:
    """Gauge with labels from closed sets."""
    facts = Facts(kind="gauge", name=name, help=help_text, labels=labels)
    return Declared(facts, lambda f, registry, _: Gauge(PREFIX + f.name, f.help, f.labels, registry=registry))


def histogram(name: str, help_text: str, bounds: tuple[float, ...], *labels: str) -> Declared[Histogram]:
    """Histogram with labels from closed sets."""
    facts = Facts(kind="histogram", name=name, help=help_text, labels=labels, bounds=bounds)
    return Declared(facts, _histogram)


def counter_of(
    name: str, help_text: str, owner: str, *labels: str, named: int = 1
) -> Declared[Bounded[Counter]]:
    """Counter by owner: tenant or token. ``named``: as of ``Bounded``."""
    facts = Facts(kind="counter", name=name, help=help_text, labels=(owner, *labels))
    return Declared(
        facts,
        lambda f, registry, budget: Bounded(
            Counter(PREFIX + f.name, f.help, f.labels, registry=registry),
            budget,
            kind=f.labels[0],
            named=named,
        ),
    )


def gauge_of(name: str, help_text: str, owner: str) -> Declared[Bounded[Gauge]]:
    """Gauge by owner: tenant or token."""
    facts = Facts(kind="gauge", name=name, help=help_text, labels=(owner,))
    return Declared(
        facts,
        lambda f, registry, budget: Bounded(
            Gauge(PREFIX + f.name, f.help, f.labels, registry=registry), budget, kind=f.labels[0]
        ),
    )


def histogram_of(
    name: str, help_text: str, owner: str, bounds: tuple[float, ...]
) -> Declared[Bounded[Histogram]]:
    """Histogram by owner: tenant or token."""
    facts = Facts(kind="histogram", name=name, help=help_text, labels=(owner,), bounds=bounds)
    return Declared(
        facts,
        lambda f, registry, budget: Bounded(
            _histogram(f, registry, budget),
            budget,
            kind=f.labels[0],
            series=len(f.bounds) + _BESIDE_BUCKETS,
        ),
    )


def ranked(name: str, help_text: str, *labels: str) -> Declared[Ranked]:
    """Gauge by owner, of which the caller shows a bounded number at a time."""
    facts = Facts(kind="gauge", name=name, help=help_text, labels=labels)
    return Declared(
        facts,
        lambda f, registry, _: Ranked(Gauge(PREFIX + f.name, f.help, f.labels, registry=registry)),
    )


def _histogram(facts: Facts, registry: CollectorRegistry, _budget: SeriesBudget) -> Histogram:
    return Histogram(PREFIX + facts.name, facts.help, facts.labels, buckets=facts.bounds, registry=registry)
