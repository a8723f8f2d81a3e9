"""Metrics of ``sigmill relay``."""

from __future__ import annotations

from typing import Final

from workers.telemetry.metric_declarations import counter, gauge, histogram
from workers.telemetry.metrics_catalogue import LATENCY_BOUNDS_S, ProcessMetrics

SHED_CAUSES: Final = ("requests", "bodies", "waiting", "tenant", "draining")


class RelayMetrics(ProcessMetrics):
    """Metrics of one relay process."""

    requests = counter(
        "relay_requests",
        "Requests by outcome: ok, limited (429: the tenant's limits), refused (4xx), shed and unavailable (503: too much in hand, or"
        " Redis), slow (the body did not come), malformed (no HTTP), left (the client has gone), failed.",
        "endpoint",
        "outcome",
    )
    request_seconds = histogram(
        "relay_request_seconds",
        "Time from the headers of a request to its answer, without polls.",
        LATENCY_BOUNDS_S,
        "endpoint",
    )
    envelopes = counter(
        "relay_envelopes",
        "Envelopes by the queue's answer: accepted, queued, done, conflict, refused.",
        "status",
    )
    shed = counter(
        "relay_shed",
        "Requests that were told to come later, because the relay had too much in hand.",
        "cause",
    )
    waiting_clients = gauge("relay_waiting_clients", "Clients that wait for results.")
    connections = gauge("relay_connections", "Open connections of clients.")
    connections_refused = counter(
        "relay_connections_refused", "Connections that were closed because there were too many."
    )
    certificate_reloads = counter(
        "relay_certificate_reloads", "Loads of changed certificate files: adopted, refused.", "result"
    )
