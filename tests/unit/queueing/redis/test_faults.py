"""Reasons of connection errors, as clients and operators read them."""

from __future__ import annotations

import ssl

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import OutOfMemoryError

from queueing.redis.faults import reason_of


@pytest.mark.parametrize(
    "alert, said",
    [
        ("TLSV1_ALERT_UNKNOWN_CA", "unknown ca"),
        ("TLSV13_ALERT_CERTIFICATE_REQUIRED", "certificate required"),
        ("SSLV3_ALERT_CERTIFICATE_EXPIRED", "certificate expired"),
    ],
)
def test_a_refused_client_certificate_is_named_by_the_alert(alert: str, said: str) -> None:
    """redis-py's own text does not say whose certificate was refused."""
    cause = ssl.SSLError(1, "alert")
    cause.reason = alert
    error = RedisConnectionError("Error while reading")
    error.__cause__ = cause
    assert reason_of(error) == f"Redis refuses the client certificate (cert_file of [redis.tls]): {said}"


@pytest.mark.parametrize("reason", ["WRONG_VERSION_NUMBER", "TLSV1_ALERT_PROTOCOL_VERSION", None])
def test_another_error_of_tls_is_given_as_it_is(reason: str | None) -> None:
    """It does not concern the client certificate."""
    cause = ssl.SSLError(1, "other")
    cause.reason = reason  # type: ignore[assignment]
    error = RedisConnectionError("Error while reading")
    error.__cause__ = cause
    assert reason_of(error) == "ConnectionError: Error while reading"


def test_the_place_in_a_script_at_which_redis_refused_a_command_is_left_out() -> None:
    """The hash of the script and its line tell a reader nothing; what Redis said of the command stays."""
    said = "command not allowed when used memory > 'maxmemory'"
    place = f". script: {'d3f5b901' * 5}, on @user_script:288."
    assert reason_of(OutOfMemoryError(said + place)) == f"OutOfMemoryError: {said}"
    assert reason_of(OutOfMemoryError(said)) == f"OutOfMemoryError: {said}"
