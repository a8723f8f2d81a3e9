"""Comparison of this host's logs with their newest heads in Redis: a restored state directory must not fork an origin.

A head in Redis counts only if the service key has certified the key that signed it, for this origin. An attacker who
controls Redis can withhold a head, and so hide that this state directory is an older copy, and cannot make one up.
"""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from queueing.coordination.record_heads import read_heads
from queueing.errors import ProofInvalid, QueueUnavailable
from queueing.protocol import keyspace
from queueing.transparency.signed_heads import read_signed_head
from workers.lanes.process.statements import service_note_key
from workers.record.exchange import Head, read_status
from workers.record.folder import log_folder
from workers.record.heads.comparison import contradiction
from workers.record.heads.set_back import SetBack, tell_set_back

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from redis.asyncio import Redis

    from queueing.errors import SigningError
    from queueing.transparency.checkpoints import Checkpoint
    from workers.current_config import CurrentConfig
    from workers.journal.journal import WriteAheadLog
    from workers.record.heads.comparison import Contradiction
    from workers.telemetry.metrics import Metrics

log = logging.getLogger("sigmill.service")

MOST_AT_ONCE: Final = 128
"""Heads per round trip: 170 kB, and 1 MB where all are as large as is read of one."""


@dataclass(frozen=True, slots=True)
class Compared:
    """Result for each tenant of a comparison that found no contradiction.

    ``continued``: value in Redis, empty where there is none, that the log continues, or that no service key stands for.
    ``uncertain``: why a log could not be compared now.
    """

    continued: dict[str, bytes] = field(default_factory=dict)
    uncertain: dict[str, SigningError | OSError] = field(default_factory=dict)


class OriginCheck:
    """Compares logs of this state directory with Redis, and orders a new record where one is behind (``record.heads``)."""

    def __init__(self, redis: Redis, config: CurrentConfig, wal: WriteAheadLog, metrics: Metrics) -> None:
        self._redis = redis
        self._config = config
        self._state_dir = config.service.state_dir
        self._wal = wal
        self._metrics = metrics
        self._wal_began_ns: int | None = None
        self._invalid: dict[str, bytes] = {}

    async def compare(self, name: str, tenants: Sequence[str]) -> Compared:
        """Compare the logs of these tenants in the record ``name`` with their heads in Redis.

        Where Redis has no head, or none that the service key stands for, nothing contradicts: a Redis that has lost its data
        stops no certification. Raises ``ProofInvalid`` where a log does not continue its head, and has ordered a new record
        then; ``QueueUnavailable`` where no shard answers.
        """
        compared = Compared()
        contradicted: dict[str, Contradiction] = {}
        for at in range(0, len(tenants), MOST_AT_ONCE):
            part = tenants[at : at + MOST_AT_ONCE]
            values = await read_heads(self._redis, [keyspace.record_head(tenant, name) for tenant in part])
            # After Redis, and before the logs: what Redis has was in the write-ahead log before.
            read_whole = await asyncio.to_thread(self._sealer_has_read_whole)
            for tenant, value in zip(part, values, strict=True):
                if isinstance(value, QueueUnavailable):
                    compared.uncertain[tenant] = value
                    continue
                known = self._believed(tenant, name, value)
                try:
                    found = await self._contradiction(tenant, known, read_whole=read_whole)
                except (ProofInvalid, OSError) as error:
                    compared.uncertain[tenant] = error
                    continue
                if found is None:
                    compared.continued[tenant] = value
                else:
                    contradicted[tenant] = found
        if contradicted:
            await self._order(name, contradicted)
        return compared

    def _believed(self, tenant: str, name: str, value: bytes) -> Checkpoint | None:
        """Head in a value of Redis; None where it is empty, or nothing that the service key stands for, which is logged once."""
        if not value:
            return None
        service = self._config.service
        origin = f"{service.log_name}/{tenant}/{name}"
        try:
            signed = read_signed_head(value)
            return signed.verify(service_note_key(service), audience=service.audience, origin=origin)
        except ProofInvalid as error:
            if self._invalid.get(tenant) != value:
                self._invalid[tenant] = value
                self._metrics.record_failures.labels("head").inc()
                log.warning("record.head_invalid", extra={"tenant": tenant, "why": error.message})
            return None

    async def _contradiction(
        self, tenant: str, known: Checkpoint | None, *, read_whole: bool
    ) -> Contradiction | None:
        if known is None:
            return None
        folder = log_folder(self._state_dir, tenant)
        return await asyncio.to_thread(contradiction, folder, known, read_whole=read_whole)

    def _sealer_has_read_whole(self) -> bool:
        """Whether the sealer has read, since this worker writes the log, all that was in it before.

        The first segment of this worker tells the sealer how much of the former one counts.
        """
        if self._wal_began_ns is None:
            if not self._wal.in_use:
                return False
            self._wal_began_ns = time.monotonic_ns()
        status = read_status(self._state_dir)
        if status is None or status.covered_ns is None:
            return False
        return self._wal_began_ns <= status.covered_ns <= time.monotonic_ns()  # later: of a former boot

    async def _order(self, name: str, contradicted: Mapping[str, Contradiction]) -> None:
        """Have the sealer begin a new record. Raises ``ProofInvalid``."""
        why = f"this state directory is an older copy: {contradicted[min(contradicted)].why}"
        heads = {tenant: Head.of(found.known) for tenant, found in contradicted.items()}
        if await asyncio.to_thread(tell_set_back, self._state_dir, SetBack(name=name, why=why, heads=heads)):
            self._metrics.record_failures.labels("set_back").inc()
            log.error("record.set_back", extra={"origin": name, "tenants": len(heads), "why": why})
        raise ProofInvalid(why)
