"""Metrics of the processes that build hosts reach by HTTPS: ``sigmill relay`` and the front of ``sigmill issuer``."""

from __future__ import annotations

from typing import Final

from workers.telemetry.metric_declarations import counter, gauge, histogram
from workers.telemetry.metrics_catalogue import LATENCY_BOUNDS_S, ProcessMetrics

SHED_CAUSES: Final = ("requests", "tenant_requests", "bodies", "answers", "waiting", "tenant", "draining")
"""``tenant_requests`` and ``tenant``: requests and waiting clients beyond a tenant's share, or beyond that of all tenants of its Redis."""


class HttpsMetrics(ProcessMetrics):
    """Metrics of both: of their HTTPS server."""

    https_connections = gauge("https_connections", "Open connections of build hosts.")
    https_connections_refused = counter(
        "https_connections_refused", "Connections that were closed because there were too many."
    )
    https_certificate_reloads = counter(
        "https_certificate_reloads", "Loads of changed certificate files: adopted, refused.", "result"
    )


class RelayMetrics(HttpsMetrics):
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
        "Requests that were told to come later, because the relay had too much in hand: of all tenants (requests, waiting, bodies), of"
        " one tenant or the tenants of one Redis (tenant_requests, tenant), of either (answers), or because it ends (draining).",
        "cause",
    )
    waiting_clients = gauge("relay_waiting_clients", "Clients that wait for results.")
    waiting_clients_limit = gauge("relay_waiting_clients_limit", "`waiting_clients` of [limits].")


class IssuerMetrics(HttpsMetrics):
    """Metrics of the front of ``sigmill issuer``."""

    grants = counter(
        "grants",
        "Requests for grants, by provider of tokens or authority of certificates (`unknown`: none of the issuer's file) and"
        " outcome.",
        "provider",
        "outcome",
    )
    issuer_lane_up = gauge("issuer_lane_up", "1 while the issuer's lane is logged in.")
    provider_keys_timestamp_seconds = gauge(
        "provider_keys_timestamp_seconds",
        "Unix time at which a provider's keys were last fetched; 0 where there are none.",
        "provider",
    )
