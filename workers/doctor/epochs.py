"""Check of the tenants' files: whether another host has a newer one in force, as its signed key directory shows."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from queueing.aio.runner import run
from queueing.coordination.key_directories import published_directories
from queueing.errors import ConfigError, QueueUnavailable
from queueing.redis.connection import with_connection
from workers.doctor.findings import Finding, fail, ok
from workers.published_epochs import epoch_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from workers.config.loading import Configuration

_CHECK: Final = "config.epoch"


def check_epochs(configuration: Configuration) -> list[Finding]:
    """Compare the files of this host with the published directories. No finding without Redis, which has a check of its own."""
    fetch = partial(published_directories, tenants=sorted(configuration.tenants))
    try:
        published = run(with_connection(configuration.service.redis, fetch))
    except (QueueUnavailable, ConfigError):
        return []
    return compare_epochs(configuration, published)


def compare_epochs(configuration: Configuration, published: Mapping[str, bytes]) -> list[Finding]:
    """A finding for each tenant whose published directory, by tenant, is of a newer epoch than its file here; else one for all."""
    service = configuration.service
    older = [
        fail(
            _CHECK,
            str(service.tenant_file(name)),
            f"epoch {tenant.epoch}; another host has epoch {epoch} in force, and this one refuses what is new in it",
            f"Bring the newest {name}.toml to this host, then: sigmill tenants reload",
        )
        for name, tenant in sorted(configuration.tenants.items())
        if (epoch := epoch_of(published.get(name, b""), service, name)) is not None and epoch > tenant.epoch
    ]
    return older or [
        ok(_CHECK, str(service.tenants_dir), "no key directory shows a newer file on another host")
    ]
