"""Metrics from a Prometheus server that scrapes the cluster: one query each, by its HTTP API (stable since 2.0)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

import msgspec

from workers.monitoring.http import PageUnavailable, get
from workers.monitoring.samples import ByLabels

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class _Series(msgspec.Struct):
    metric: dict[str, str]
    value: tuple[float, str]


class _Data(msgspec.Struct, tag_field="resultType", tag="vector"):
    result: list[_Series]


class _Answer(msgspec.Struct):
    status: str
    data: _Data | None = None
    error: str = ""


_decoder: Final = msgspec.json.Decoder(_Answer)


class PrometheusMetrics:
    """Metrics of a Prometheus server at one moment of its clock, that of the first call, so that totals are those of the rows beside them.

    ``match``: labels that every series must have, such as a job's name. Each call is one round trip, the first one two. Raises
    ``PageUnavailable`` (retryable).
    """

    def __init__(self, url: str, *, window_s: float, match: Mapping[str, str]) -> None:
        self._url = url
        self._window_s = window_s
        self._match = ",".join(f"{label}={_quoted(value)}" for label, value in match.items())
        self._moment: str | None = None

    @property
    def window_s(self) -> float:
        """The requested window, which must contain at least two scrapes."""
        return self._window_s

    def rates(self, counter: str, *by: str) -> ByLabels:
        """PromQL ``rate``, summed."""
        return self._ask(f"sum by ({','.join(by)}) ({self._rate(counter)})", by)

    def values(self, gauge: str, *by: str) -> ByLabels:
        """PromQL ``sum``."""
        return self._ask(f"sum by ({','.join(by)}) ({gauge}{{{self._match}}})", by)

    def maxima(self, gauge: str, *by: str) -> ByLabels:
        """PromQL ``max``."""
        return self._ask(f"max by ({','.join(by)}) ({gauge}{{{self._match}}})", by)

    def quantiles(self, histogram: str, q: float, *by: str) -> ByLabels:
        """PromQL ``histogram_quantile``."""
        labels = ",".join(("le", *by))
        rate = self._rate(f"{histogram}_bucket")
        return self._ask(f"histogram_quantile({q}, sum by ({labels}) ({rate}))", by)

    def _rate(self, counter: str) -> str:
        return f"rate({counter}{{{self._match}}}[{max(round(self._window_s), 1)}s])"

    def _ask(self, query: str, by: Sequence[str]) -> ByLabels:
        if self._moment is None:
            self._moment = _moment_of(
                get(f"{self._url}/api/v1/query?{urlencode({'query': 'vector(time())'})}")
            )
        words = urlencode({"query": query, "time": self._moment})
        return read_answer(get(f"{self._url}/api/v1/query?{words}"), by)


def _moment_of(raw: bytes) -> str:
    """The server's time, in seconds since 1970, as it takes it in a query. Raises ``PageUnavailable``."""
    seconds = read_answer(raw, ()).get((), math.inf)
    if not math.isfinite(seconds):
        raise PageUnavailable("the server is not a Prometheus server: it has no time")
    return f"{seconds:.3f}"


def read_answer(raw: bytes, by: Sequence[str]) -> ByLabels:
    """Values by these labels, without those that are NaN. Raises ``PageUnavailable`` for anything but a vector."""
    try:
        answer = _decoder.decode(raw)
        series = [] if answer.data is None else answer.data.result
        found = {_key(each.metric, by): float(each.value[1]) for each in series}
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:  # ValueError: not UTF-8, or no number
        raise PageUnavailable("the server is not a Prometheus server") from error
    if answer.data is None:
        raise PageUnavailable(f"Prometheus refused a query: {answer.error or answer.status}")
    return {key: value for key, value in found.items() if not math.isnan(value)}


def _key(labels: Mapping[str, Any], by: Sequence[str]) -> tuple[str, ...]:
    return tuple(labels.get(label, "") for label in by)


def _quoted(value: str) -> str:
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'
