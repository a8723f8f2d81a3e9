"""The whole examination, one part after the other; a part that fails hides no other."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from queueing.aio.runner import run
from queueing.coordination.redis_check import inspect
from queueing.errors import ConfigError, QueueUnavailable
from queueing.redis.connection import with_connection
from workers.config.validation import validate_all
from workers.doctor.expiries import look_at_dates
from workers.doctor.findings import Finding, good, mend, unasked
from workers.doctor.host import look_at_host
from workers.doctor.redis import judge_redis, place_of
from workers.doctor.server_package import package_of
from workers.doctor.tokens import look_at_tokens

if TYPE_CHECKING:
    from collections.abc import Iterator

    from queueing.config.redis import RedisConfig


def findings_of(file: Path) -> Iterator[Finding]:
    """Everything, as it is found; with no readable configuration there is nothing more to ask."""
    found = validate_all(file)
    for error in found.errors:
        where = f"{error.file}: {error.key}" if error.key else error.file
        yield mend("config", where, error.problem, error.remedy)
    if found.configuration is None:
        return
    if not found.errors:
        yield good("config", str(file), f"{len(found.configuration.tenants)} tenants, no mistake")
    yield from _of_redis(found.configuration.service.redis)
    yield from look_at_host(found.configuration.service)
    yield from look_at_tokens(found.configuration)
    yield from look_at_dates(found.configuration, time.time())


def _of_redis(config: RedisConfig) -> list[Finding]:
    try:
        exam = run(with_connection(config, inspect))
    except QueueUnavailable as error:
        return [
            unasked(
                "redis",
                place_of(config),
                f"does not answer: {error.message}",
                "sigmill explain queue.unavailable",
            )
        ]
    except ConfigError as error:
        return [mend("redis", place_of(config), str(error), error.remedy)]
    return judge_redis(exam, config, package_of(exam.info))
