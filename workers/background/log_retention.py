"""Retention of what was signed: old segments of the log are removed here, old volumes of the record by its sealer.

Without a record segments are kept for ``log.keep_days``. With one, those that are sealed go after ``record.wal_days``, and those that are
not sealed stay whatever their age.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

from cryptography import x509

from queueing.unix_time import in_unix_ms
from workers.journal.retention import DAY_S, SealedRetention
from workers.record.exchange import SEALER_FOLDER
from workers.record.folder import sealed_segments
from workers.record.retention.policy import PolicyDamaged, adopt_policy

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from workers.config.tenants import Tenant
    from workers.current_config import CurrentConfig
    from workers.journal.journal import WriteAheadLog

log = logging.getLogger("sigmill.service")

TIDY_S: Final = 3600.0
"""Time between two searches for old segments."""

TELL_S: Final = 10.0
"""Time between two looks for another configuration."""


class LogRetention:
    """Tidies the log of one worker at the start and once an hour."""

    def __init__(self, config: CurrentConfig, wal: WriteAheadLog) -> None:
        self._state_dir = config.service.state_dir
        self._record = config.service.record
        self._keep_s = config.service.log.keep_days * DAY_S
        self._wal = wal

    async def run(self) -> None:
        """Tidy until cancelled; errors of the disk are logged and retried."""
        while True:
            try:
                await self._wal.tidy(self._keep_s, sealed=await asyncio.to_thread(self._sealed))
            except OSError as error:
                log.warning("log.not_tidied", extra={"why": str(error)})
            await asyncio.sleep(TIDY_S)

    def _sealed(self) -> SealedRetention | None:
        if not self._record.enabled:
            return None
        segments = sealed_segments(self._state_dir)
        return SealedRetention(segments.below, self._record.wal_days * DAY_S, segments.incomplete)


class RecordRetention:
    """Tells the sealer how long entries are kept: at the start, and when the configuration was replaced."""

    def __init__(self, config: CurrentConfig) -> None:
        self._config = config
        self._sealer: Path = config.service.state_dir / SEALER_FOLDER
        self._retain_days = config.service.record.retain_days

    async def run(self) -> None:
        """Tell it until cancelled; errors of the disk are logged and retried."""
        told: object = None
        why = ""
        while True:
            configuration = self._config.configuration
            if configuration is not told:
                try:
                    ends = await asyncio.to_thread(certificate_ends_ms, configuration.tenants.values())
                    await asyncio.to_thread(adopt_policy, self._sealer, self._retain_days, ends)
                    told, why = configuration, ""
                except (OSError, PolicyDamaged) as error:
                    if why != str(error):  # it is tried every ten seconds
                        why = str(error)
                        log.warning("record.retention_not_told", extra={"why": why})
            await asyncio.sleep(TELL_S)


def certificate_ends_ms(tenants: Iterable[Tenant]) -> dict[bytes, int]:
    """End of the last certificate of each public key that has some, in Unix ms, by SHA-256. Parses every certificate."""
    ends: dict[bytes, int] = {}
    for tenant in tenants:
        for key in tenant.keys.values():
            for version in key.versions:
                for leaf in version.leaves:
                    end = x509.load_der_x509_certificate(leaf).not_valid_after_utc
                    known = ends.get(version.public_key.sha256, 0)
                    ends[version.public_key.sha256] = max(known, in_unix_ms(end))
    return ends
