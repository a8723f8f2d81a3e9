"""Records of this host in Redis that are not in its state directory any more: that was lost, or replaced by an empty one.

The successor of a lost state directory has a record of another name, which contradicts nothing: only the heads that the lost one
published tell of it (``queueing.coordination.record_heads``).
"""

from __future__ import annotations

import asyncio
import logging
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from queueing.aio.backoff import Backoff
from queueing.coordination.record_heads import KEEP_MS, each_heads
from queueing.errors import ProofInvalid, QueueUnavailable
from queueing.files.folders import is_there
from queueing.transparency.notes import read_note
from queueing.transparency.origin_statements import one_word, read_statement
from queueing.transparency.signed_heads import read_signed_head
from workers.lanes.process.statements import service_note_key
from workers.record.folder import FOLDER_NAME, name_of, read_follows
from workers.record.replacement import former_records
from workers.record.volumes import RecordDamaged

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from redis.asyncio import Redis

    from queueing.coordination.record_heads import PublishedHead
    from workers.config.service_file import ServiceConfiguration
    from workers.current_config import CurrentConfig
    from workers.telemetry.metrics import Metrics

log = logging.getLogger("sigmill.service")

MOST_AGE_MS: Final = 3_600_000
"""A running worker publishes its heads again every ten minutes: a younger one is of another state directory in use."""

SOON_S: Final = 3_700.0
"""Time to the second look, at which each head that was there at the start is old enough, and between looks while something is lost."""

LATER_S: Final = 86_400.0
"""Time between later looks: a state directory is replaced while no worker runs."""

PAUSE_S: Final = 0.01
"""Between the steps of a look, each of which takes Redis a fraction of a millisecond: ten million keys are a hundred seconds."""


@dataclass(frozen=True, slots=True)
class HostHead:
    """Certified head of a log of this host in Redis. ``follows``: name of the record that was given up for its one."""

    name: str
    tenant: str
    entries: int
    age_ms: int
    follows: str


@dataclass(frozen=True, slots=True)
class LostRecord:
    """Record of this host that is neither here nor followed by one that is. ``age_ms``: of its newest head."""

    name: str
    tenants: tuple[str, ...]
    entries: int
    age_ms: int


class LostRecordWatch:
    """Looks for lost records of this host: at the start, an hour later, and then once a day. Signing never waits for it."""

    def __init__(self, redis: Redis, config: CurrentConfig, metrics: Metrics) -> None:
        self._redis = redis
        self._config = config
        self._metrics = metrics
        self._told: set[str] = set()

    async def run(self) -> None:
        """Look until cancelled."""
        backoff = Backoff(first_s=60.0, most_s=SOON_S)
        wait_s = SOON_S
        while True:
            try:
                lost = await self.look()
            except (QueueUnavailable, OSError) as error:
                log.warning("record.not_looked_for", extra={"why": str(error)})
                await asyncio.sleep(backoff.next_s())
                continue
            backoff.reset()
            await asyncio.sleep(SOON_S if lost else wait_s)
            wait_s = LATER_S

    async def look(self, host: str | None = None) -> int:
        """Number of records that are lost now. Raises ``QueueUnavailable``, or ``OSError`` where the state directory cannot be read."""
        service = self._config.service
        name = one_word(os.uname().nodename if host is None else host)
        heads: list[HostHead] = []
        async for part in each_heads(self._redis, pause_s=PAUSE_S):
            heads += await asyncio.to_thread(heads_of_host, service, part, name)
        lost = await asyncio.to_thread(lost_records, service.state_dir, heads)
        self._metrics.record_lost.set(len(lost))
        for each in lost:
            if each.name not in self._told:
                self._told.add(each.name)
                extra = {"origin": each.name, "entries": each.entries, "tenants": len(each.tenants)}
                log.error("record.lost", extra=extra)
        return len(lost)


def heads_of_host(
    service: ServiceConfiguration, published: Iterable[PublishedHead], host: str
) -> list[HostHead]:
    """Heads that the service key stands for, of logs of the host of this name."""
    key, heads = service_note_key(service), list[HostHead]()
    for each in published:
        try:
            signed = read_signed_head(each.value)
            statement = read_statement(read_note(signed.statement).text)
            if statement.host != host:  # before two signatures of each of them are verified
                continue
            origin = f"{service.log_name}/{each.tenant}/{each.name}"
            head = signed.verify(key, audience=service.audience, origin=origin)
        except ProofInvalid:
            continue  # the worker tells of it, and replaces it
        follows = "" if statement.follows is None else statement.follows.origin.rpartition("/")[2]
        age_ms = max(KEEP_MS - each.left_ms, 0)
        heads.append(HostHead(each.name, each.tenant, head.size, age_ms, follows))
    return heads


def lost_records(state_dir: Path, heads: Iterable[HostHead]) -> list[LostRecord]:
    """Records of these heads that are neither in the state directory nor followed by one that is, by name. Raises ``OSError``."""
    there, known = list(heads), _known(state_dir)
    while followed := {head.follows for head in there if head.name in known} - known - {""}:
        known |= followed
    logs: dict[str, list[HostHead]] = {}
    for head in there:
        if head.name not in known and head.age_ms > MOST_AGE_MS:
            logs.setdefault(head.name, []).append(head)
    return [
        LostRecord(
            name,
            tuple(sorted(log.tenant for log in each)),
            sum(log.entries for log in each),
            min(log.age_ms for log in each),
        )
        for name, each in sorted(logs.items())
    ]


def _known(state_dir: Path) -> set[str]:
    """Names of the records here, and of those that they follow. Raises ``OSError``."""
    known: set[str] = set()
    former = former_records(state_dir) if is_there(state_dir) else []  # it may be lost whole
    for folder in [state_dir / FOLDER_NAME, *former]:
        known.add(name_of(folder))
        try:
            known |= {head.origin.rpartition("/")[2] for head in read_follows(folder).values()}
        except RecordDamaged:
            continue
    return known
