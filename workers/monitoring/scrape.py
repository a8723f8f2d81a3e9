"""Metrics from ``/metrics`` of workers and exporter: fetched in parallel, and compared with an earlier fetch."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from prometheus_client.parser import text_string_to_metric_families

from queueing.errors import SigningError
from workers.monitoring.http import PageUnavailable, get
from workers.monitoring.samples import ByLabels, quantile_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

INSTANCE: Final = "instance"
_OURS: Final = "sigmill_"
_MOST_AT_ONCE: Final = 32

Labels = frozenset[tuple[str, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Samples of one process at one time."""

    instance: str
    at_s: float
    samples: dict[str, dict[Labels, float]]


def read_page(instance: str, text: str, at_s: float) -> Page:
    """Parse a metrics page. Raises ``PageUnavailable`` where it is not one of Sigmill."""
    samples: dict[str, dict[Labels, float]] = {}
    try:
        for family in text_string_to_metric_families(text):
            if not family.name.startswith(_OURS):
                continue
            for sample in family.samples:
                samples.setdefault(sample.name, {})[frozenset(sample.labels.items())] = sample.value
    except (ValueError, KeyError, IndexError) as error:
        raise PageUnavailable(f"{instance} does not serve a metrics page") from error
    if not samples:
        raise PageUnavailable(f"{instance} does not serve metrics of Sigmill")
    return Page(instance=instance, at_s=at_s, samples=samples)


def fetch_pages(addresses: Sequence[str]) -> tuple[dict[str, Page], dict[str, SigningError]]:
    """Fetch the pages by address (``http://HOST:PORT``); returns pages, and the errors of the others."""
    pages: dict[str, Page] = {}
    errors: dict[str, SigningError] = {}
    if not addresses:
        return pages, errors
    with ThreadPoolExecutor(min(len(addresses), _MOST_AT_ONCE)) as pool:
        for address, answer in zip(addresses, pool.map(_fetch, addresses), strict=True):
            if isinstance(answer, Page):
                pages[address] = answer
            else:
                errors[address] = answer
    return pages, errors


def _fetch(address: str) -> Page | SigningError:
    try:
        body = get(f"{address.removesuffix('/metrics')}/metrics")
        return read_page(
            address.partition("://")[2].removesuffix("/metrics"), body.decode(), time.monotonic()
        )
    except UnicodeDecodeError:
        return PageUnavailable(f"{address} does not serve text")
    except SigningError as error:
        return error


class ScrapedMetrics:
    """Metrics of pages that were fetched twice. A process that was not in the first fetch has no rates yet."""

    def __init__(self, before: dict[str, Page], now: dict[str, Page]) -> None:
        self._before = before
        self._now = now

    @property
    def window_s(self) -> float:
        """Longest time between the two pages of any process."""
        return max((seconds for _, _, seconds in self._pairs()), default=0.0)

    def _pairs(self) -> Iterator[tuple[Page, Page, float]]:
        for address, page in self._now.items():
            before = self._before.get(address)
            if before is not None and page.at_s > before.at_s:
                yield before, page, page.at_s - before.at_s

    def _grown(self, name: str) -> Iterator[tuple[dict[str, str], float, float]]:
        """Labels, increase and seconds of each series; a decreased counter was reset by a restart."""
        for before, page, seconds in self._pairs():
            old = before.samples.get(name, {})
            for labels, value in page.samples.get(name, {}).items():
                grown = value - old.get(labels, 0.0)
                yield {**dict(labels), INSTANCE: page.instance}, grown if grown >= 0 else value, seconds

    def rates(self, counter: str, *by: str) -> ByLabels:
        """Rates by the increase between the two pages."""
        found: ByLabels = {}
        for labels, grown, seconds in self._grown(counter):
            key = _key(labels, by)
            found[key] = found.get(key, 0.0) + grown / seconds
        return found

    def values(self, gauge: str, *by: str) -> ByLabels:
        """Values of the second pages."""
        found: ByLabels = {}
        for labels, value in self._present(gauge):
            key = _key(labels, by)
            found[key] = found.get(key, 0.0) + value
        return found

    def maxima(self, gauge: str, *by: str) -> ByLabels:
        """Values of the second pages."""
        found: ByLabels = {}
        for labels, value in self._present(gauge):
            key = _key(labels, by)
            found[key] = max(found.get(key, value), value)
        return found

    def _present(self, name: str) -> Iterator[tuple[dict[str, str], float]]:
        for page in self._now.values():
            for labels, value in page.samples.get(name, {}).items():
                yield {**dict(labels), INSTANCE: page.instance}, value

    def quantiles(self, histogram: str, q: float, *by: str) -> ByLabels:
        """Quantiles by the increase of the buckets between the two pages."""
        buckets: dict[tuple[str, ...], dict[float, float]] = {}
        for labels, grown, seconds in self._grown(f"{histogram}_bucket"):
            counts = buckets.setdefault(_key(labels, by), {})
            bound = float(labels["le"])
            counts[bound] = counts.get(bound, 0.0) + grown / seconds
        found = {key: quantile_of(counts, q) for key, counts in buckets.items()}
        return {key: value for key, value in found.items() if value is not None}


def _key(labels: dict[str, str], by: Sequence[str]) -> tuple[str, ...]:
    return tuple(labels.get(label, "") for label in by)
