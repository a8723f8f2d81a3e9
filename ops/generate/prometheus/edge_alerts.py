"""Alerts on issuers and relays, which build hosts reach by HTTPS."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ops.generate.prometheus.alert import Alert
from ops.generate.prometheus.objectives import HOUR_S, MINUTE_S

if TYPE_CHECKING:
    from ops.generate.prometheus.clock import Clock


def edge_alerts(clock: Clock) -> list[Alert]:
    """Alerts, with the durations of this clock."""
    return [*_of_issuers(clock), *_of_relays(clock), *_of_https(clock)]


def _of_issuers(clock: Clock) -> list[Alert]:
    w = clock.window
    judged = 'sigmill_grants_total{outcome!~"checked|malformed|unavailable",provider!="unknown"}'
    refused = 'sigmill_grants_total{outcome!~"issued|checked|malformed|unavailable",provider!="unknown"}'
    return [
        Alert(
            name="SigmillIssuerDown",
            severity="page",
            expr='max by (instance) (sigmill_issuer_lane_up) == 0\nor\nmax by (instance) (up{job="sigmill-issuer"}) == 0',
            wait_s=2 * MINUTE_S,
            summary="The issuer gives no grants: builds without one cannot sign.",
            description="Issuer {{ $labels.instance }}.",
            dashboard="edge",
        ),
        Alert(
            name="SigmillProviderKeysOld",
            severity="ticket",
            expr=f"time() - max by (provider) (sigmill_provider_keys_timestamp_seconds) > {clock.threshold(HOUR_S)}",
            wait_s=5 * MINUTE_S,
            summary="The public keys of a provider of tokens were not fetched for an hour.",
            description="Provider {{ $labels.provider }}: for {{ $value | humanizeDuration }}.",
            dashboard="edge",
        ),
        Alert(
            name="SigmillGrantsRefused",
            severity="ticket",
            expr=f"sum by (provider) (rate({refused}[{w(15 * MINUTE_S)}]))\n"
            f"/\nsum by (provider) (rate({judged}[{w(15 * MINUTE_S)}])) > 0.5\n"
            f"and\nsum by (provider) (increase({refused}[{w(15 * MINUTE_S)}])) >= 10",
            wait_s=10 * MINUTE_S,
            summary="The issuer refuses more than half of the requests for grants of a provider's builds.",
            description="Provider {{ $labels.provider }}: {{ $value | humanizePercentage }}; the issuer's log names rule and claim.",
            dashboard="edge",
        ),
        Alert(
            name="SigmillTokenReplayed",
            severity="ticket",
            expr=f'sum by (provider) (increase(sigmill_grants_total{{outcome="replayed"}}[{w(10 * MINUTE_S)}])) > 0',
            wait_s=0,
            summary="A build's token was shown with a second key: it was stolen, or a build uses one twice.",
            description="Provider {{ $labels.provider }}: {{ $value | humanize }} times in ten minutes.",
            dashboard="edge",
        ),
    ]


def _of_relays(clock: Clock) -> list[Alert]:
    w = clock.window
    return [
        Alert(
            name="SigmillRelayDown",
            severity="ticket",
            expr='up{job="sigmill-relay"} == 0',
            wait_s=2 * MINUTE_S,
            summary="Prometheus cannot scrape a relay.",
            description="Relay {{ $labels.instance }}; its clients go to other relays, or wait.",
            dashboard="edge",
        ),
        Alert(
            name="SigmillRelayNearlyFull",
            severity="ticket",
            expr="sigmill_relay_waiting_clients / sigmill_relay_waiting_clients_limit > 0.8",
            wait_s=10 * MINUTE_S,
            summary="A relay has nearly as many waiting clients as it may.",
            description="Relay {{ $labels.instance }}: {{ $value | humanizePercentage }}; at the limit it sheds.",
            dashboard="edge",
        ),
        Alert(
            name="SigmillRelayShedding",
            severity="ticket",
            expr=f'sum by (instance, cause) (rate(sigmill_relay_shed_total{{cause!="draining"}}[{w(5 * MINUTE_S)}])) > 0',
            wait_s=5 * MINUTE_S,
            summary="A relay has too much in hand and tells clients to come later.",
            description="Relay {{ $labels.instance }}, cause {{ $labels.cause }}: {{ $value | humanize }} per second.",
            dashboard="edge",
        ),
        Alert(
            name="SigmillRelayFailing",
            severity="ticket",
            expr=f'sum by (instance) (rate(sigmill_relay_requests_total{{outcome=~"unavailable|failed"}}[{w(5 * MINUTE_S)}])) > 0',
            wait_s=10 * MINUTE_S,
            summary="A relay cannot use the Redis of a tenant, or has a fault: it answers requests with 503 or 500.",
            description="Relay {{ $labels.instance }}: {{ $value | humanize }} per second.",
            dashboard="edge",
        ),
    ]


def _of_https(clock: Clock) -> list[Alert]:
    w = clock.window
    reloads = "sigmill_https_certificate_reloads_total"
    return [
        Alert(
            name="SigmillConnectionsRefused",
            severity="ticket",
            expr=f"rate(sigmill_https_connections_refused_total[{w(5 * MINUTE_S)}]) > 0",
            wait_s=5 * MINUTE_S,
            summary="A relay or an issuer closes connections, because it has too many.",
            description="{{ $labels.job }} {{ $labels.instance }}: {{ $value | humanize }} per second.",
            dashboard="edge",
        ),
        Alert(
            name="SigmillServerCertificateRefused",
            severity="ticket",
            expr=f'increase({reloads}{{result="refused"}}[{w(HOUR_S)}]) > 0\n'
            f'unless on (instance)\nincrease({reloads}{{result="adopted"}}[{w(HOUR_S)}]) > 0',
            wait_s=5 * MINUTE_S,
            summary="A relay or an issuer refuses its changed certificate files and uses the old ones, which will expire.",
            description="{{ $labels.job }} {{ $labels.instance }}.",
            dashboard="edge",
        ),
    ]
