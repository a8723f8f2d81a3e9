"""Judging Redis: versions with known ways in, what loses jobs, rights, clocks."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from queueing.config.redis import RedisConfig, TlsConfig
from queueing.coordination.redis_check import RedisReport
from workers.doctor.findings import Finding, State
from workers.doctor.redis import MOST_SKEW_S, judge_redis
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
    config: RedisConfig = LOCAL, *, exam: dict[str, Any] | None = None, **info: Any
) -> dict[str, Finding]:
    fields: dict[str, Any] = {
        "skew_s": 0.0,
        "skew_error_s": 0.001,
        "missing": (),
        "excess": (),
        **(exam or {}),
    }
    return {
        finding.check: finding
        for finding in judge_redis(RedisReport(info={**GOOD, **info}, **fields), config)
    }


def state(
    check: str, config: RedisConfig = LOCAL, *, exam: dict[str, Any] | None = None, **info: Any
) -> State:
    return judged(config, exam=exam, **info)[check].state


def test_a_good_one_has_nothing_to_mend() -> None:
    """One finding for each check, all good."""
    findings = judged()
    assert {finding.state for finding in findings.values()} == {State.GOOD}
    assert len(findings) == 6


@pytest.mark.parametrize(
    "version, expected",
    [
        ("6.0.16", State.MEND),
        ("6.2.22", State.MEND),
        ("6.2.23", State.MEND),
        ("7.0.15", State.NOTE),
        ("7.2.14", State.MEND),
        ("7.2.15", State.GOOD),
        ("7.4.9", State.MEND),
        ("8.0.2", State.NOTE),
        ("8.0.5", State.MEND),
        ("8.6.5", State.GOOD),
        ("8.8.0", State.MEND),
        ("8.10.0", State.GOOD),
        ("255.255.255", State.GOOD),
        ("unstable", State.NOTE),
    ],
)
def test_versions_below_the_floor_of_their_branch_are_named(version: str, expected: State) -> None:
    """7.0.15 and 8.0.2 are Debian's, which mends them without telling; branches that never got the fixes are below every floor."""
    assert state("redis.version", redis_version=version) is expected


def test_another_server_is_said_to_be_untried() -> None:
    """It may well be good."""
    finding = judged(server_name="valkey", redis_version="7.2.4", valkey_version="8.1.1")["redis.version"]
    assert finding.state is State.NOTE
    assert finding.says.startswith("valkey 8.1.1:")
    assert state("redis.version", server_name="dragonfly") is State.NOTE


@pytest.mark.parametrize(
    "version, package, fixed, expected",
    [
        ("8.0.2", "5:8.0.2-3+deb13u3", "5:8.0.2-3+deb13u3", State.GOOD),
        ("8.0.2", "5:8.0.2-3+deb13u2", "5:8.0.2-3+deb13u3", State.MEND),
        ("7.0.15", "5:7.0.15-1ubuntu0.24.04.2", None, State.NOTE),
        ("6.0.16", "6.0.16-1+deb11u9", None, State.NOTE),
        ("6.0.16", "5:8.0.2-3+deb13u3", "5:8.0.2-3+deb13u3", State.MEND),
    ],
)
def test_a_distributions_package_is_judged_by_its_revision(
    version: str, package: str, fixed: str | None, expected: State
) -> None:
    """Mended or not where we know; where not, it is the distribution's to say. A server older than it is not it."""
    found = ServerPackage(name="redis-server", version=package, fixed=fixed, is_fixed=package == fixed)
    exam = RedisReport(
        info={**GOOD, "redis_version": version}, skew_s=0.0, skew_error_s=0.001, missing=(), excess=()
    )
    (finding,) = (f for f in judge_redis(exam, LOCAL, found) if f.check == "redis.version")
    assert finding.state is expected
    assert bool(finding.mend) is (expected is not State.GOOD)
    if expected is State.GOOD:
        (finding,) = (
            f
            for f in judge_redis(exam, LOCAL, replace(found, began_before=True))
            if f.check == "redis.version"
        )
        assert "restart" in finding.mend


def test_what_forgets_jobs_is_to_be_mended() -> None:
    """Eviction, no append-only file, one that cannot be written."""
    assert state("redis.eviction", maxmemory_policy="volatile-lru") is State.MEND
    assert state("redis.eviction", maxmemory=0) is State.NOTE
    assert state("redis.persistence", aof_enabled=0) is State.MEND
    assert state("redis.persistence", aof_last_write_status="err") is State.MEND
    assert state("redis.persistence", aof_last_bgrewrite_status="err") is State.MEND


def test_rights_are_neither_too_few_nor_too_many() -> None:
    """Both ways, with the command that sets them."""
    for exam in ({"missing": ("WAIT",)}, {"excess": ("CONFIG GET",)}):
        finding = judged(exam=exam)["redis.rights"]
        assert finding.state is State.MEND
        assert "sigmill tenants acl --worker" in finding.mend


def test_the_network_asks_for_tls() -> None:
    """This host does not."""
    far = RedisConfig(host="queue.example")
    assert state("redis.transport", far) is State.MEND
    assert (
        state("redis.transport", RedisConfig(host="queue.example", tls=TlsConfig(ca_file="ca.pem")))
        is State.GOOD
    )
    assert state("redis.transport", RedisConfig(host="127.0.0.1")) is State.GOOD


@pytest.mark.parametrize("sign", [1, -1])
def test_clocks_that_differ_are_named_and_slow_answers_are_not_blamed(sign: int) -> None:
    """What the round trip leaves open counts for the clock."""
    skew_s = sign * (MOST_SKEW_S + 0.2)
    assert state("clock", exam={"skew_s": skew_s}) is State.MEND
    assert state("clock", exam={"skew_s": skew_s, "skew_error_s": 0.5}) is State.GOOD
