"""Dashboard of a token: circuit breaker, lanes, sessions and signing times."""

from __future__ import annotations

from typing import Final

from ops.generate.dashboards.panels import Board, Variable, lines, mean, quantile, rate

_K: Final = 'token=~"$token"'

HSM: Final = Board(
    name="hsm",
    title="Sigmill / HSM",
    variables=(Variable(label="token", series="sigmill_sessions"),),
    rows={
        "State": (
            lines(
                "Circuit breaker",
                "0: closed; 1: open; 2: open because the PIN was refused.",
                "short",
                (f"max by (instance, token) (sigmill_token_circuit_open{{{_K}}})", "{{token}} {{instance}}"),
            ),
            lines(
                "Lanes",
                "Lanes that are logged in.",
                "short",
                (f"sum by (token) (sigmill_lanes{{{_K}}})", "{{token}}"),
            ),
            lines(
                "Canary",
                "Time since the last successful canary, for tokens in use.",
                "s",
                (
                    f"time() - max by (token) (sigmill_canary_last_success_timestamp_seconds{{{_K}}})",
                    "{{token}}",
                ),
            ),
            lines(
                "Canaries",
                "Canaries per second, by outcome.",
                "ops",
                (rate("sigmill_canary_runs_total", "outcome", _K), "{{outcome}}"),
            ),
            lines(
                "Lane restarts",
                "Unexpected exits per second, by reason.",
                "ops",
                (rate("sigmill_lane_restarts_total", "token, reason", _K), "{{token}} {{reason}}"),
            ),
        ),
        "Sessions": (
            lines(
                "Sessions",
                "Sessions that are logged in, and those that are busy.",
                "short",
                (f"sum by (token) (sigmill_sessions{{{_K}}})", "{{token}}"),
                (f"sum by (token) (sigmill_sessions_busy{{{_K}}})", "{{token}} busy"),
            ),
            lines(
                "In use",
                "Share of the sessions that are busy.",
                "percentunit",
                (f"sigmill:token_busy:ratio{{{_K}}}", "{{token}}"),
            ),
            lines(
                "Sessions inside the module",
                "Mean number of sessions that are inside a call of the PKCS#11 module.",
                "short",
                (rate("sigmill_module_seconds_total", "token", _K), "{{token}}"),
            ),
        ),
        "Signing": (
            lines(
                "Digests",
                "Digests answered per second.",
                "ops",
                (rate("sigmill_chunk_digests_sum", "token", _K), "{{token}}"),
            ),
            lines(
                "Digests per chunk",
                "Mean.",
                "digests",
                (mean("sigmill_chunk_digests", "token", _K), "{{token}}"),
            ),
            lines(
                "Chunk time in the lane",
                "From the start of a chunk to its answer.",
                "s",
                (quantile(0.5, "sigmill_lane_chunk_seconds", "token", _K), "{{token}} p50"),
                (quantile(0.99, "sigmill_lane_chunk_seconds", "token", _K), "{{token}} p99"),
            ),
            lines(
                "Signing time",
                "Time per signature in the module, by algorithm: mean of a chunk.",
                "s",
                (quantile(0.5, "sigmill_sign_seconds", "algorithm"), "{{algorithm}} p50"),
                (quantile(0.99, "sigmill_sign_seconds", "algorithm"), "{{algorithm}} p99"),
            ),
            lines(
                "Verification time",
                "Time per verification in the lane before release: mean of a chunk.",
                "s",
                (quantile(0.5, "sigmill_verify_seconds", "algorithm"), "{{algorithm}} p50"),
                (quantile(0.99, "sigmill_verify_seconds", "algorithm"), "{{algorithm}} p99"),
            ),
        ),
    },
)
