"""Checks of Redis: version, eviction, persistence, rights, transport and clock."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from queueing.config.addresses import with_port
from workers.doctor.findings import Finding, fail, ok, warning
from workers.doctor.server_package import DEBIAN_FIXED

if TYPE_CHECKING:
    from collections.abc import Iterator

    from queueing.config.redis import RedisConfig
    from queueing.coordination.redis_check import RedisReport
    from workers.doctor.server_package import ServerPackage

FLOORS: Final[dict[tuple[int, int], int]] = {(7, 2): 15, (7, 4): 10, (8, 6): 5, (8, 8): 1}
"""By branch, the first release without the known vulnerabilities (CVE-2026-23479, CVE-2025-49844 and before; urgent release of
2026-07). Sigmill needs 7.0: its ACLs and scripts are written for that."""

DEBIANS_OWN: Final = frozenset({"7.0.15", "8.0.2"})
"""Versions that Debian 12 and 13 patch in package revisions; the revision on another host is unknown here."""

MOST_SKEW_S: Final = 1.0
"""Leases go by Redis' clock, envelopes by the hosts' clocks (60 s are tolerated): a second is harmless for both, and
more than NTP leaves."""

_CHECK: Final = "redis."


def check_redis(
    report: RedisReport, config: RedisConfig, package: ServerPackage | None = None, *, node: str = ""
) -> list[Finding]:
    """Check Redis and its clock; ``package`` is the package of the running server, where it is known.

    ``node``: its address, where it is one node of a cluster.
    """
    where = node or address_of(config)
    return [
        *_shards(report, config, where),
        _version(report, where, package),
        _eviction(report, where),
        *_persistence(report, where),
        *_rights(report, where),
        _transport(config, where),
        _clock(report, where),
    ]


def address_of(config: RedisConfig) -> str:
    """Address of Redis, without secrets."""
    if config.sentinel is not None:
        return f"sentinel {config.sentinel.primary}"
    if config.cluster is not None:
        return f"cluster {config.cluster[0]}"
    return config.unix_socket or with_port(config.host or "localhost", config.port)


def _shards(report: RedisReport, config: RedisConfig, where: str) -> Iterator[Finding]:
    if report.other_shards and config.cluster is None:
        yield fail(
            f"{_CHECK}cluster",
            where,
            "this Redis is a cluster with several shards, and one of its nodes is named only: tenants on other shards are not served",
            'In [redis] of sigmill.toml and of each client.toml: cluster = ["HOST:PORT", …] instead of `host`.',
        )


def _version(report: RedisReport, where: str, package: ServerPackage | None) -> Finding:
    check, version = f"{_CHECK}version", str(report.info.get("redis_version", ""))
    if "valkey_version" in report.info:  # its redis_version is the one that it is compatible with
        server = f"valkey {report.info['valkey_version']}"
        return _other_server(
            where, server, package, "Sigmill does not know which versions have known vulnerabilities"
        )
    if str(report.info.get("server_name", "redis")) != "redis":
        return _other_server(
            where, f"{report.info['server_name']} {version}", package, "not tested with Sigmill"
        )
    try:
        major, minor, patch = (int(part) for part in version.split(".")[:3])
    except ValueError:
        return warning(check, where, f"{version!r} is not a version of three numbers")
    branch = (major, minor)
    floor = FLOORS.get(branch)
    if (floor is not None and patch >= floor) or branch > max(FLOORS):
        return ok(check, where, version)
    if package is not None and package.upstream == version:
        return _of_package(where, version, package)
    if version in DEBIANS_OWN:
        return warning(
            check,
            where,
            f"{version} is safe only as Debian's package {' or '.join(DEBIAN_FIXED.values())} or later; the server does not report its package",
            "apt-get install --only-upgrade redis-server; dpkg-query -W redis-server   # on its host",
        )
    wanted = f"{major}.{minor}.{floor}" if floor is not None else "7.2.15, 7.4.10, 8.6.5 or 8.8.1"
    return fail(check, where, f"{version} has known vulnerabilities", f"Upgrade Redis to {wanted} or later.")


def _of_package(where: str, version: str, package: ServerPackage) -> Finding:
    check, server = f"{_CHECK}version", f"{version}, {package.name} {package.version}"
    if package.is_fixed and package.began_before:
        return warning(
            check,
            where,
            f"{server} was installed after this server started; the running one may be older",
            f"systemctl restart {package.name}",
        )
    if package.is_fixed:
        return ok(check, where, server)
    if package.fixed is not None:
        return fail(
            check,
            where,
            f"{server} has known vulnerabilities, fixed in {package.fixed}",
            f"apt-get update; apt-get install --only-upgrade {package.name}",
        )
    return warning(
        check,
        where,
        f"{server}: Sigmill does not know whether the distribution has fixed it",
        f"apt-get install --only-upgrade {package.name}; zless /usr/share/doc/{package.name}/changelog.Debian.gz",
    )


def _other_server(where: str, server: str, package: ServerPackage | None, why: str) -> Finding:
    of = "" if package is None else f" ({package.name} {package.version})"
    return warning(f"{_CHECK}version", where, f"{server}{of}: {why}")


def _eviction(report: RedisReport, where: str) -> Finding:
    check, policy = f"{_CHECK}eviction", str(report.info.get("maxmemory_policy", "unknown"))
    limit = int(report.info.get("maxmemory", 0))
    if policy == "unknown":
        return warning(
            check, where, "INFO does not tell maxmemory-policy: not checked; it must be noeviction"
        )
    if policy != "noeviction":
        return fail(
            check,
            where,
            f"maxmemory-policy is {policy}: accepted jobs are lost when memory is short",
            _setting(report, "maxmemory-policy", "noeviction"),
        )
    if not limit:
        return warning(
            check,
            where,
            "noeviction, but no maxmemory: the kernel may kill Redis before Redis refuses writes",
            _setting(report, "maxmemory", "2gb"),
        )
    return ok(check, where, f"noeviction, at most {limit // 2**20} MiB")


def _persistence(report: RedisReport, where: str) -> Iterator[Finding]:
    check, info = f"{_CHECK}persistence", report.info
    if int(info.get("loading", 0)):
        yield fail(
            check, where, "still loading its data", "Wait until it has loaded; redis-cli INFO persistence"
        )
    if "aof_enabled" not in info:
        yield warning(
            check,
            where,
            "INFO does not tell whether there is an append-only file: persistence is not checked",
        )
        return
    if not int(info["aof_enabled"]):
        yield fail(
            check,
            where,
            "no append-only file: a restart loses jobs accepted since the last snapshot",
            _setting(report, "appendonly", "yes"),
        )
        return
    failed = [
        name
        for name in ("aof_last_write_status", "aof_last_bgrewrite_status")
        if info.get(name, "ok") != "ok"
    ]
    if failed:
        yield fail(
            check,
            where,
            f"{', '.join(failed)}: the disk of Redis is full or broken",
            "Free space on the disk of Redis; redis-cli INFO persistence",
        )
    elif int(info.get("aof_delayed_fsync", 0)):
        yield warning(
            check,
            where,
            f"{info['aof_delayed_fsync']} times since its start Redis kept acknowledged writes in memory for two seconds, since its"
            " disk was slow: a killed Redis loses such jobs",
            "Give the append-only file a disk of its own, or set appendfsync always",
        )
    else:
        yield ok(check, where, "append-only file, last write succeeded")


def _rights(report: RedisReport, where: str) -> Iterator[Finding]:
    check = f"{_CHECK}rights"
    fix = "sigmill tenants acl --worker --password-file redis-password --apply"
    if "ACL WHOAMI" in report.absent:
        fix = (
            "Give the user the rules that `sigmill tenants acl --worker --password-file redis-password` prints, where this"
            " Redis is managed"
        )
    if report.missing:
        yield fail(check, where, f"the workers' user lacks {', '.join(report.missing)}", fix)
    if report.excess:
        yield fail(
            check,
            where,
            f"the workers' user has more rights than it needs ({', '.join(report.excess)}): its password gives control of Redis",
            f"{fix}; then username and password_file in [redis]",
        )
    if not report.missing and not report.excess and not report.absent:
        yield ok(check, where, "exactly the rights that workers need")
    if report.absent:
        yield warning(
            check,
            where,
            f"this Redis has no {', '.join(report.absent)} (a managed service?): not checked whether the user may send"
            " what workers do not need",
        )


def _setting(report: RedisReport, name: str, value: str) -> str:
    """Command that changes a setting of Redis, or the place of it where there is no such command."""
    if "CONFIG GET" in report.absent:
        return f"Set {name} to {value} where this Redis is managed (console or parameter group): it has no CONFIG."
    return f"redis-cli CONFIG SET {name} {value}; redis-cli CONFIG REWRITE"


def _transport(config: RedisConfig, where: str) -> Finding:
    check = f"{_CHECK}transport"
    if config.unix_socket is not None or config.host in {"localhost", "127.0.0.1", "::1"}:
        return ok(check, where, "local connection")
    if config.tls is None:
        return fail(
            check,
            where,
            "passwords and digests cross the network unencrypted",
            '[redis.tls] ca_file = "/etc/sigmill/redis-ca.pem"',
        )
    return ok(check, where, "TLS with verification of the server name")


def _clock(report: RedisReport, where: str) -> Finding:
    skew_s = abs(report.skew_s) - report.skew_error_s
    skew = f"{abs(report.skew_s):.3f} s {'ahead of' if report.skew_s > 0 else 'behind'} this host"
    if skew_s > MOST_SKEW_S:
        return fail("clock", where, f"Redis' clock is {skew}", "timedatectl set-ntp true   # on both hosts")
    return ok("clock", where, f"Redis' clock is {skew}, ± {report.skew_error_s:.3f} s")
