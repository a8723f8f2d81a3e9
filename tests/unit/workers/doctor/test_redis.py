"""Checks of Redis: vulnerable versions, settings that lose jobs, rights, clocks."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from queueing.config.redis import RedisConfig, TlsConfig
from queueing.coordination.redis_check import RedisReport
from workers.doctor.findings import Finding, State
from workers.doctor.redis import MOST_SKEW_S, check_redis
from workers.doctor.server_package import ServerPackage

GOOD = {
    "redis_version": "7.4.10",
    "maxmemory_policy": "noeviction",
    "maxmemory": 2**31,
    "aof_enabled": 1,
    "aof_last_write_status": "ok",
    "aof_last_bgrewrite_status": "ok",
}
LOCAL = RedisConfig(unix_socket="/run/redis.sock")


def judged(
    config: RedisConfig = LOCAL, *, report: dict[str, Any] | None = None, **info: Any
) -> dict[str, Finding]:
    fields: dict[str, Any] = {
        "skew_s": 0.0,
        "skew_error_s": 0.001,
        "missing": (),
        "excess": (),
        **(report or {}),
    }
    return {
        finding.check: finding
        for finding in check_redis(RedisReport(info={**GOOD, **info}, **fields), config)
    }


def state(
    check: str, config: RedisConfig = LOCAL, *, report: dict[str, Any] | None = None, **info: Any
) -> State:
    return judged(config, report=report, **info)[check].state


def test_a_good_server_passes_every_check() -> None:
    """Each of the six checks has one finding, and all pass."""
    findings = judged()
    assert {finding.state for finding in findings.values()} == {State.OK}
    assert len(findings) == 6


@pytest.mark.parametrize(
    "version, expected",
    [
        ("6.0.16", State.FAIL),
        ("6.2.22", State.FAIL),
        ("6.2.23", State.FAIL),
        ("7.0.15", State.WARNING),
        ("7.2.14", State.FAIL),
        ("7.2.15", State.OK),
        ("7.4.9", State.FAIL),
        ("8.0.2", State.WARNING),
        ("8.0.5", State.FAIL),
        ("8.6.5", State.OK),
        ("8.8.0", State.FAIL),
        ("8.10.0", State.OK),
        ("255.255.255", State.OK),
        ("unstable", State.WARNING),
    ],
)
def test_versions_below_the_floor_of_their_branch_are_named(version: str, expected: State) -> None:
    """7.0.15 and 8.0.2 may be patched by Debian, so they warn; branches without a fixed release fail."""
    assert state("redis.version", redis_version=version) is expected


def test_another_server_is_a_warning() -> None:
    """Dragonfly is not tested with Sigmill, and of Valkey no fixed versions are listed; the warning names server and version."""
    finding = judged(server_name="valkey", redis_version="7.2.4", valkey_version="8.1.1")["redis.version"]
    assert finding.state is State.WARNING
    assert finding.text == "valkey 8.1.1: Sigmill does not know which versions have known vulnerabilities"
    other = judged(server_name="dragonfly")["redis.version"]
    assert other.state is State.WARNING
    assert other.text.endswith(": not tested with Sigmill")


@pytest.mark.parametrize(
    "version, package, fixed, expected",
    [
        ("8.0.2", "5:8.0.2-3+deb13u3", "5:8.0.2-3+deb13u3", State.OK),
        ("8.0.2", "5:8.0.2-3+deb13u2", "5:8.0.2-3+deb13u3", State.FAIL),
        ("7.0.15", "5:7.0.15-1ubuntu0.24.04.2", None, State.WARNING),
        ("6.0.16", "6.0.16-1+deb11u9", None, State.WARNING),
        ("6.0.16", "5:8.0.2-3+deb13u3", "5:8.0.2-3+deb13u3", State.FAIL),
    ],
)
def test_a_distributions_package_is_judged_by_its_revision(
    version: str, package: str, fixed: str | None, expected: State
) -> None:
    """A known fixed revision passes, an older one fails, an unknown one warns; so does a server older than its package."""
    found = ServerPackage(name="redis-server", version=package, fixed=fixed, is_fixed=package == fixed)
    report = RedisReport(
        info={**GOOD, "redis_version": version}, skew_s=0.0, skew_error_s=0.001, missing=(), excess=()
    )
    (finding,) = (f for f in check_redis(report, LOCAL, found) if f.check == "redis.version")
    assert finding.state is expected
    assert bool(finding.fix) is (expected is not State.OK)
    if expected is State.OK:
        (finding,) = (
            f
            for f in check_redis(report, LOCAL, replace(found, began_before=True))
            if f.check == "redis.version"
        )
        assert "restart" in finding.fix


def test_settings_that_lose_jobs_fail() -> None:
    """Eviction, no append-only file and a failing one fail; no maxmemory is a warning."""
    assert state("redis.eviction", maxmemory_policy="volatile-lru") is State.FAIL
    assert state("redis.eviction", maxmemory=0) is State.WARNING
    assert state("redis.persistence", aof_enabled=0) is State.FAIL
    assert state("redis.persistence", aof_last_write_status="err") is State.FAIL
    assert state("redis.persistence", aof_last_bgrewrite_status="err") is State.FAIL


def test_a_disk_that_delays_acknowledged_writes_is_a_warning() -> None:
    """With ``appendfsync everysec`` a Redis that is killed meanwhile loses them."""
    assert state("redis.persistence", aof_delayed_fsync=0) is State.OK
    assert state("redis.persistence", aof_delayed_fsync=3) is State.WARNING


def test_rights_are_neither_too_few_nor_too_many() -> None:
    """Missing and excess rights fail, with the command that sets them."""
    for report in ({"missing": ("WAIT",)}, {"excess": ("CONFIG GET",)}):
        finding = judged(report=report)["redis.rights"]
        assert finding.state is State.FAIL
        assert "sigmill tenants acl --worker" in finding.fix


def test_a_connection_over_the_network_needs_tls() -> None:
    """A remote host without TLS fails; with TLS, or on this host, it passes."""
    far = RedisConfig(host="queue.example")
    assert state("redis.transport", far) is State.FAIL
    assert (
        state("redis.transport", RedisConfig(host="queue.example", tls=TlsConfig(ca_file="ca.pem")))
        is State.OK
    )
    assert state("redis.transport", RedisConfig(host="127.0.0.1")) is State.OK


@pytest.mark.parametrize("sign", [1, -1])
def test_a_clock_skew_fails_unless_the_round_trip_explains_it(sign: int) -> None:
    """A skew above the limit fails; within the error of the measurement it passes."""
    skew_s = sign * (MOST_SKEW_S + 0.2)
    assert state("clock", report={"skew_s": skew_s}) is State.FAIL
    assert state("clock", report={"skew_s": skew_s, "skew_error_s": 0.5}) is State.OK


@pytest.mark.parametrize(
    "check, info",
    [
        ("redis.eviction", {"maxmemory_policy": "allkeys-lru"}),
        ("redis.eviction", {"maxmemory": 0}),
        ("redis.persistence", {"aof_enabled": 0}),
    ],
)
def test_a_redis_without_config_is_not_asked_for_it(check: str, info: dict[str, Any]) -> None:
    """The remedy of a managed service lies with its provider."""
    fix = judged(**info)[check].fix
    assert "CONFIG SET" in fix
    managed = judged(report={"absent": ("CONFIG GET",)}, **info)[check].fix
    assert "CONFIG SET" not in managed
    assert "where this Redis is managed" in managed


def test_rights_that_cannot_be_checked_are_named() -> None:
    """No right is missing, and not every one could be tried; the rules are given to the user by its provider."""
    finding = judged(report={"absent": ("CONFIG GET", "ACL WHOAMI")})["redis.rights"]
    assert finding.state is State.WARNING
    assert "has no CONFIG GET, ACL WHOAMI" in finding.text
    lacking = check_redis(
        RedisReport(
            info=GOOD, skew_s=0.0, skew_error_s=0.0, missing=("WAIT",), excess=(), absent=("ACL WHOAMI",)
        ),
        LOCAL,
    )
    (rights, _) = [finding for finding in lacking if finding.check == "redis.rights"]
    assert "--apply" not in rights.fix


def test_settings_that_info_does_not_tell_are_not_judged() -> None:
    """Some services leave them out."""
    info = {k: v for k, v in GOOD.items() if k not in {"maxmemory_policy", "aof_enabled"}}
    report = RedisReport(info=info, skew_s=0.0, skew_error_s=0.0, missing=(), excess=())
    findings = {finding.check: finding for finding in check_redis(report, LOCAL)}
    for check in ("redis.eviction", "redis.persistence"):
        assert findings[check].state is State.WARNING
        assert "not checked" in findings[check].text or "not checked" in findings[check].fix
