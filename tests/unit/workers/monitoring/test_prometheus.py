"""Metrics of a Prometheus server: the queries that are sent, and the answers that are accepted."""

from __future__ import annotations

import json
from urllib.parse import parse_qs, urlsplit

import pytest

from workers.monitoring import prometheus
from workers.monitoring.http import PageUnavailable
from workers.monitoring.prometheus import PrometheusMetrics, read_answer

_NOW_S = 1_795_000_000.123


class Server:
    """Prometheus API that answers every query with ``answer``, but that for its time, which goes on with each."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.queries: list[str] = []
        self.moments: list[str] = []
        self.times = 0
        self.answer: object = {"status": "success", "data": {"resultType": "vector", "result": []}}
        monkeypatch.setattr(prometheus, "get", self.get)

    def get(self, url: str) -> bytes:
        asked = parse_qs(urlsplit(url).query)
        if asked["query"] == ["vector(time())"]:
            self.times += 1
            value = [_NOW_S + self.times, f"{_NOW_S + self.times}"]
            return json.dumps(
                {
                    "status": "success",
                    "data": {"resultType": "vector", "result": [{"metric": {}, "value": value}]},
                }
            ).encode()
        self.queries += asked["query"]
        self.moments += asked["time"]
        return json.dumps(self.answer).encode()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Server:
    return Server(monkeypatch)


@pytest.fixture
def metrics(server: Server) -> PrometheusMetrics:
    return PrometheusMetrics("http://prometheus:9090", window_s=30.0, match={"job": 'a"b'})


def test_queries_are_grouped_and_matched(server: Server, metrics: PrometheusMetrics) -> None:
    """Each metric is one query, by the requested labels; values of ``match`` are quoted."""
    metrics.rates("c_total", "tenant")
    metrics.values("g")
    metrics.maxima("g", "token")
    metrics.quantiles("h", 0.99, "tenant")
    match = '{job="a\\"b"}'
    assert server.queries == [
        f"sum by (tenant) (rate(c_total{match}[30s]))",
        f"sum by () (g{match})",
        f"max by (token) (g{match})",
        f"histogram_quantile(0.99, sum by (le,tenant) (rate(h_bucket{match}[30s])))",
    ]


def test_all_queries_are_of_one_moment_of_the_server(server: Server, metrics: PrometheusMetrics) -> None:
    """A total that was asked for a scrape later than the rows beside it would not be their sum."""
    metrics.rates("c_total")
    metrics.rates("c_total", "tenant")
    metrics.values("g")

    assert server.moments == [f"{_NOW_S + 1:.3f}"] * 3
    assert server.times == 1


@pytest.mark.parametrize("value", ["NaN", "+Inf", "soon"])
def test_a_server_without_a_time_is_refused(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    """Its answers could not be compared with each other."""
    result = [{"metric": {}, "value": [1.0, value]}]
    answer = {"status": "success", "data": {"resultType": "vector", "result": result}}
    monkeypatch.setattr(prometheus, "get", lambda _: json.dumps(answer).encode())

    with pytest.raises(PageUnavailable, match="not a Prometheus server"):
        PrometheusMetrics("http://prometheus:9090", window_s=30.0, match={}).values("g")


def test_numbers_are_read_by_label_and_nan_is_left_out(server: Server, metrics: PrometheusMetrics) -> None:
    """A quantile of no observations is NaN: it is absent, not 0."""
    result = [
        {"metric": {"tenant": "acme"}, "value": [1.0, "2.5"]},
        {"metric": {"tenant": "globex"}, "value": [1.0, "NaN"]},
    ]
    server.answer = {"status": "success", "data": {"resultType": "vector", "result": result}}
    assert metrics.quantiles("h", 0.5, "tenant") == {("acme",): 2.5}


@pytest.mark.parametrize("answer", [[], {"status": "error", "error": "parse error"}, {"data": None}])
def test_an_answer_without_data_is_an_error(
    server: Server, metrics: PrometheusMetrics, answer: object
) -> None:
    """A refused query, and the answer of another program, raise ``PageUnavailable`` (retryable)."""
    server.answer = answer
    with pytest.raises(PageUnavailable) as caught:
        metrics.values("g")
    assert caught.value.retryable


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"<html>",
        b'{"status": "success", "error": "\xff"}',
        b'{"status": ' + b"[" * 100_000,
        b'{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"value":[1,"many"]}]}}',
    ],
    ids=["empty", "page", "not UTF-8", "nested", "no number"],
)
def test_what_is_no_answer_of_prometheus_is_an_error(raw: bytes) -> None:
    """Each is ``PageUnavailable``."""
    with pytest.raises(PageUnavailable, match="not a Prometheus server"):
        read_answer(raw, ["tenant"])
