"""Alerts on a token: circuit breaker, PIN, lanes, load and canary."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ops.generate.prometheus.alert import TOKEN_BOARD, Alert
from ops.generate.prometheus.objectives import MINUTE_S

if TYPE_CHECKING:
    from ops.generate.prometheus.clock import Clock


def token_alerts(clock: Clock) -> list[Alert]:
    """Alerts, with the durations of this clock."""
    w = clock.window
    return [
        Alert(
            name="SigmillCircuitOpen",
            severity="page",
            expr=f"max by (instance, token) (max_over_time(sigmill_token_circuit_open[{w(MINUTE_S)}])) == 1",
            wait_s=2 * MINUTE_S,
            summary="The circuit breaker of a token is open on a host: its lanes fail.",
            description="Token {{ $labels.token }} on {{ $labels.instance }}.",
            dashboard=TOKEN_BOARD,
        ),
        Alert(
            name="SigmillPinRefused",
            severity="page",
            # The worker reconnects to a host-started lane every few seconds and is refused again; the gauge is 0 between.
            expr=f"max by (instance, token) (max_over_time(sigmill_token_circuit_open[{w(2 * MINUTE_S)}])) == 2",
            wait_s=0,
            summary="A token refused its PIN; the PIN is not tried again until an operator resumes the token.",
            description="Token {{ $labels.token }} on {{ $labels.instance }}.",
            dashboard=TOKEN_BOARD,
        ),
        Alert(
            name="SigmillLanesRestarting",
            severity="ticket",
            expr=f"sum by (token) (increase(sigmill_lane_restarts_total[{w(10 * MINUTE_S)}])) > 3",
            wait_s=0,
            summary="Lane processes of a token exit and restart repeatedly.",
            description="Token {{ $labels.token }}: {{ $value | humanize }} restarts in ten minutes.",
            dashboard=TOKEN_BOARD,
        ),
        Alert(
            name="SigmillHsmSaturated",
            severity="ticket",
            expr=f"avg_over_time(sigmill:token_busy:ratio[{w(15 * MINUTE_S)}]) > 0.9",
            wait_s=5 * MINUTE_S,
            summary="The sessions of a token have been busy for 15 minutes: it signs at its maximum rate.",
            description="Token {{ $labels.token }}: {{ $value | humanizePercentage }} of its sessions are busy.",
            dashboard=TOKEN_BOARD,
        ),
        Alert(
            name="SigmillCanaryFailing",
            severity="page",
            expr="time() - max by (token) (sigmill_canary_last_success_timestamp_seconds)"
            f" > {clock.threshold(5 * MINUTE_S)}",
            wait_s=MINUTE_S,
            summary="A token has not signed its canary for five minutes.",
            description="Token {{ $labels.token }}: the last success was {{ $value | humanizeDuration }} ago.",
            dashboard=TOKEN_BOARD,
        ),
    ]
