"""Judging Redis: is it one to which jobs can be entrusted?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from queueing.config.addresses import with_port
from workers.doctor.findings import Finding, good, mend, note
from workers.doctor.server_package import DEBIAN_FIXED

if TYPE_CHECKING:
    from collections.abc import Iterator

    from queueing.config.redis import RedisConfig
    from queueing.coordination.redis_check import RedisReport
    from workers.doctor.server_package import ServerPackage

FLOORS: Final[dict[tuple[int, int], int]] = {(7, 2): 15, (7, 4): 10, (8, 6): 5, (8, 8): 1}
"""By branch, the first release without the known ways in (CVE-2026-23479, CVE-2025-49844 and before; urgent release of
2026-07). Sigmill needs 7.0: its ACLs and scripts are written for that."""

DEBIANS_OWN: Final = frozenset({"7.0.15", "8.0.2"})
"""Versions that Debian 12 and 13 mend in revisions of their own: of another host's nobody can tell from here."""

MOST_SKEW_S: Final = 1.0
"""Redis' clock rules leases, the hosts' clocks envelopes (60 s are allowed there): a second is far from both, and more
than NTP leaves."""

_CHECK: Final = "redis."


def judge_redis(
    exam: RedisReport, config: RedisConfig, package: ServerPackage | None = None
) -> list[Finding]:
    """Everything about Redis and its clock; ``package`` is the one that it runs from, where that is known."""
    where = place_of(config)
    return [
        _version(exam, where, package),
        _eviction(exam, where),
        *_persistence(exam, where),
        *_rights(exam, where),
        _transport(config, where),
        _clock(exam, where),
    ]


def place_of(config: RedisConfig) -> str:
    """Where it is, without a secret."""
    if config.sentinel is not None:
        return f"sentinel {config.sentinel.primary}"
    return config.unix_socket or with_port(config.host or "localhost", config.port)


def _version(exam: RedisReport, where: str, package: ServerPackage | None) -> Finding:
    check, version = f"{_CHECK}version", str(exam.info.get("redis_version", ""))
    if "valkey_version" in exam.info:  # its redis_version is the one that it is compatible with
        return _other_server(where, f"valkey {exam.info['valkey_version']}", package)
    if str(exam.info.get("server_name", "redis")) != "redis":
        return _other_server(where, f"{exam.info['server_name']} {version}", package)
    try:
        major, minor, patch = (int(part) for part in version.split(".")[:3])
    except ValueError:
        return note(check, where, f"{version!r} is no version of three numbers")
    branch = (major, minor)
    floor = FLOORS.get(branch)
    if (floor is not None and patch >= floor) or branch > max(FLOORS):
        return good(check, where, version)
    if package is not None and package.upstream == version:
        return _of_package(where, version, package)
    if version in DEBIANS_OWN:
        return note(
            check,
            where,
            f"{version} is safe only as Debian's package {' or '.join(DEBIAN_FIXED.values())} or later, which it does not tell",
            "apt-get install --only-upgrade redis-server; dpkg-query -W redis-server   # on its host",
        )
    wanted = f"{major}.{minor}.{floor}" if floor is not None else "7.2.15, 7.4.10, 8.6.5 or 8.8.1"
    return mend(check, where, f"{version} has known ways in", f"Upgrade Redis to {wanted} or later.")


def _of_package(where: str, version: str, package: ServerPackage) -> Finding:
    check, stands = f"{_CHECK}version", f"{version}, {package.name} {package.version}"
    if package.is_fixed and package.began_before:
        return note(
            check,
            where,
            f"{stands} was installed after this server was started, which may be an older one",
            f"systemctl restart {package.name}",
        )
    if package.is_fixed:
        return good(check, where, stands)
    if package.fixed is not None:
        return mend(
            check,
            where,
            f"{stands} has known ways in, which {package.fixed} has not",
            f"apt-get update; apt-get install --only-upgrade {package.name}",
        )
    return note(
        check,
        where,
        f"{stands}: mended by its distribution, if at all",
        f"apt-get install --only-upgrade {package.name}; zless /usr/share/doc/{package.name}/changelog.Debian.gz",
    )


def _other_server(where: str, stands: str, package: ServerPackage | None) -> Finding:
    of = "" if package is None else f" ({package.name} {package.version})"
    return note(f"{_CHECK}version", where, f"{stands}{of}: not tried with Sigmill")


def _eviction(exam: RedisReport, where: str) -> Finding:
    check, policy = f"{_CHECK}eviction", str(exam.info.get("maxmemory_policy", "unknown"))
    limit = int(exam.info.get("maxmemory", 0))
    if policy != "noeviction":
        return mend(
            check,
            where,
            f"maxmemory-policy is {policy}: when memory is short, accepted jobs disappear",
            "redis-cli CONFIG SET maxmemory-policy noeviction; redis-cli CONFIG REWRITE",
        )
    if not limit:
        return note(
            check,
            where,
            "noeviction, and no maxmemory: the kernel may end Redis before Redis refuses",
            "redis-cli CONFIG SET maxmemory 2gb; redis-cli CONFIG REWRITE",
        )
    return good(check, where, f"noeviction, at most {limit // 2**20} MiB")


def _persistence(exam: RedisReport, where: str) -> Iterator[Finding]:
    check, info = f"{_CHECK}persistence", exam.info
    if int(info.get("loading", 0)):
        yield mend(check, where, "it is still loading its data", "Wait for it; redis-cli INFO persistence")
    if not int(info.get("aof_enabled", 0)):
        yield mend(
            check,
            where,
            "no append-only file: a restart loses what was accepted since the last snapshot",
            "redis-cli CONFIG SET appendonly yes; redis-cli CONFIG REWRITE",
        )
        return
    failed = [
        name
        for name in ("aof_last_write_status", "aof_last_bgrewrite_status")
        if info.get(name, "ok") != "ok"
    ]
    if failed:
        yield mend(
            check,
            where,
            f"{', '.join(failed)}: its disk is full or broken",
            "Make room on the disk of Redis; redis-cli INFO persistence",
        )
    else:
        yield good(check, where, "append-only file, written without an error")


def _rights(exam: RedisReport, where: str) -> Iterator[Finding]:
    check = f"{_CHECK}rights"
    line = "sigmill tenants acl --worker --password-file redis-password --apply"
    if exam.missing:
        yield mend(check, where, f"the workers' user may not {', '.join(exam.missing)}", line)
    if exam.excess:
        yield mend(
            check,
            where,
            f"the workers' user may do more than it needs ({', '.join(exam.excess)}): whoever gets its password owns Redis",
            f"{line}; then username and password_file in [redis]",
        )
    if not exam.missing and not exam.excess:
        yield good(check, where, "what workers need, and nothing beside it")


def _transport(config: RedisConfig, where: str) -> Finding:
    check = f"{_CHECK}transport"
    if config.unix_socket is not None or config.host in {"localhost", "127.0.0.1", "::1"}:
        return good(check, where, "on this host")
    if config.tls is None:
        return mend(
            check,
            where,
            "passwords and digests cross the network in the clear",
            '[redis.tls] ca_file = "/etc/sigmill/redis-ca.pem"',
        )
    return good(check, where, "TLS, with the server's name checked")


def _clock(exam: RedisReport, where: str) -> Finding:
    skew_s = abs(exam.skew_s) - exam.skew_error_s
    says = f"{abs(exam.skew_s):.3f} s {'ahead of' if exam.skew_s > 0 else 'behind'} this host"
    if skew_s > MOST_SKEW_S:
        return mend("clock", where, f"Redis' clock is {says}", "timedatectl set-ntp true   # on both hosts")
    return good("clock", where, f"Redis' clock is {says}, give or take {exam.skew_error_s:.3f} s")
