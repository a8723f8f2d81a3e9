"""All checks of the doctor, one part after the other."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from queueing.aio.runner import run
from queueing.coordination.redis_check import inspect_nodes
from queueing.errors import ConfigError, QueueUnavailable
from queueing.redis.connection import with_connection
from queueing.redis.faults import refuse_final
from workers.config.validation import FileKind, kind_of, validate_all
from workers.doctor.client import check_client
from workers.doctor.epochs import check_epochs
from workers.doctor.expiries import check_expiries
from workers.doctor.findings import Finding, fail, ok, skipped, warning
from workers.doctor.heads import check_heads
from workers.doctor.host import check_host
from workers.doctor.log import check_log
from workers.doctor.record import check_record
from workers.doctor.redis import address_of, check_redis
from workers.doctor.relay import FILE as RELAY_FILE
from workers.doctor.relay import check_relay
from workers.doctor.server_package import package_of
from workers.doctor.tokens import check_tokens

if TYPE_CHECKING:
    from collections.abc import Iterator

    from queueing.config.redis import RedisConfig


def findings_of(file: Path) -> Iterator[Finding]:
    """Yield the findings of all checks; without a valid service file only its errors. The files of an issuer, a relay and a client have checks of their own."""
    kind = kind_of(file)
    if kind is FileKind.RELAY:
        yield from check_relay(file, time.time())
        return
    if kind is FileKind.CLIENT:
        yield from check_client(file, time.time())
        return
    if kind is FileKind.ISSUER:
        from workers.doctor.issuer import check_issuer  # its packages are in an extra of their own

        yield from check_issuer(file, time.time())
        return
    found = validate_all(file)
    for error in found.errors:
        where = f"{error.file}: {error.key}" if error.key else error.file
        yield fail("config", where, error.problem, error.remedy)
    if found.configuration is None:
        return
    for caution in found.warnings:
        yield warning("config", f"{caution.file}: {caution.key}", caution.problem, caution.remedy)
    if not found.errors:
        yield ok("config", str(file), f"{len(found.configuration.tenants)} tenants, no errors")
    yield from _of_redis(found.configuration.service.redis)
    yield from check_epochs(found.configuration)
    yield from check_host(found.configuration.service)
    yield from check_log(found.configuration.service)
    yield from check_record(found.configuration.service)
    yield from check_heads(found.configuration.service)
    yield from check_relay(file.with_name(RELAY_FILE), time.time())
    yield from check_tokens(found.configuration)
    yield from check_expiries(found.configuration, time.time())


def _of_redis(config: RedisConfig) -> list[Finding]:
    try:
        reports = run(with_connection(config, inspect_nodes))
    except QueueUnavailable as error:
        try:
            refuse_final(error)
        except ConfigError as refused:
            return [fail("redis", address_of(config), refused.problem, refused.remedy)]
        return [
            skipped(
                "redis",
                address_of(config),
                f"does not answer: {error.message}",
                "sigmill explain queue.unavailable",
            )
        ]
    except ConfigError as error:
        return [fail("redis", address_of(config), str(error), error.remedy)]
    return [
        finding
        for node, report in reports.items()
        for finding in check_redis(report, config, package_of(report.info), node=node)
    ]
