"""Dashboard of relays and issuers: what build hosts reach by HTTPS."""

from __future__ import annotations

from typing import Final

from ops.generate.dashboards.panels import Board, lines, quantile, rate, stat

EDGE: Final = Board(
    name="edge",
    title="Sigmill / Relays and issuers",
    rows={
        "Relays": (
            lines(
                "Requests",
                "Requests per second by outcome.",
                "ops",
                (rate("sigmill_relay_requests_total", "outcome"), "{{outcome}}"),
            ),
            lines(
                "Envelopes",
                "Envelopes per second by the queue's answer.",
                "ops",
                (rate("sigmill_relay_envelopes_total", "status"), "{{status}}"),
            ),
            lines(
                "Request time",
                "Time from the headers of a request to its answer, without polls.",
                "s",
                (quantile(0.5, "sigmill_relay_request_seconds", "endpoint"), "{{endpoint}} p50"),
                (quantile(0.99, "sigmill_relay_request_seconds", "endpoint"), "{{endpoint}} p99"),
            ),
            lines(
                "Clients",
                "Clients that wait for results, and the limit.",
                "short",
                ("sum by (instance) (sigmill_relay_waiting_clients)", "{{instance}} waiting"),
                ("sum by (instance) (sigmill_relay_waiting_clients_limit)", "{{instance}} limit"),
            ),
            lines(
                "Shed",
                "Requests per second that were told to come later.",
                "ops",
                (rate("sigmill_relay_shed_total", "cause"), "{{cause}}"),
            ),
        ),
        "Grants": (
            lines(
                "Issued and refused",
                "Requests for grants per second, by provider and outcome.",
                "ops",
                (rate("sigmill_grants_total", "provider, outcome"), "{{provider}} {{outcome}}"),
            ),
            lines(
                "Jobs under grants",
                "Finished jobs per second, by issuer and outcome.",
                "ops",
                (rate("sigmill_grant_jobs_total", "issuer, outcome"), "{{issuer}} {{outcome}}"),
            ),
            lines(
                "New grants",
                "Grants that workers verified for the first time, per second; each worker counts its own.",
                "ops",
                (rate("sigmill_grants_verified_total", "issuer"), "{{issuer}}"),
            ),
            lines(
                "Age of providers' keys",
                "Time since the keys of a provider were fetched.",
                "s",
                ("time() - max by (provider) (sigmill_provider_keys_timestamp_seconds)", "{{provider}}"),
            ),
            stat("Issuer", "1: the issuer's lane is logged in.", "bool", "max(sigmill_issuer_lane_up)"),
        ),
        "HTTPS": (
            lines(
                "Connections",
                "Open connections of build hosts.",
                "short",
                ("sum by (job, instance) (sigmill_https_connections)", "{{job}} {{instance}}"),
            ),
            lines(
                "Connections refused",
                "Connections per second that were closed because there were too many.",
                "ops",
                (rate("sigmill_https_connections_refused_total", "job, instance"), "{{job}} {{instance}}"),
            ),
            lines(
                "Certificate files",
                "Loads of changed certificate files in the last hour, by result.",
                "short",
                (
                    "sum by (instance, result) (increase(sigmill_https_certificate_reloads_total[1h]))",
                    "{{instance}} {{result}}",
                ),
            ),
        ),
    },
)
