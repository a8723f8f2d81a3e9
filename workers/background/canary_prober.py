"""Canaries: at an interval each token that is in use signs a constant, whether or not anybody has work for it.

Recorded like every other use of a key, charged to nobody, verified here once more. None starts a lane, nor keeps an
idle one: a token that nobody needs is not asked, and has no age that could grow.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from queueing.errors import LogUnavailable, SigningError
from workers.journal.records import CanaryIntentRecord, CanaryOutcomeRecord, UnknownRecord
from workers.lanes.canary import service_canary, tenant_canaries
from workers.lanes.protocol import SignCanary
from workers.telemetry.metrics import reason_label
from workers.telemetry.series_budget import MOST_RANKED

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from workers.config.loading import Configuration
    from workers.config.stop_rules import Stops
    from workers.config.tenants import Tenant
    from workers.journal.journal import WriteAheadLog
    from workers.lanes.authorisation import Authorised
    from workers.lanes.supervisor.token_pool import TokenPool
    from workers.telemetry.metrics import Metrics

log = logging.getLogger("sigmill.canary")

LOOK_S: Final = 0.5
"""How often it looks whether a canary is due."""

SUCCESS: Final = "ok"


@dataclass(slots=True)
class _OfToken:
    """What is known of one token. ``succeeded``: when each key did last, in Unix s (0: not yet), by its SHA-256."""

    due_at: float
    succeeded: dict[bytes, float] = field(default_factory=dict)
    task: asyncio.Task[None] | None = None


class CanaryProber:
    """The canaries of one worker. ``every_s``: from one to the next of a token, and from its first lane to the first."""

    def __init__(
        self,
        *,
        configuration: Callable[[], Configuration],
        lanes: Callable[[], Iterable[TokenPool]],
        stops_of: Callable[[Tenant], Stops],
        wal: WriteAheadLog,
        metrics: Metrics,
        every_s: float,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._configuration = configuration
        self._lanes = lanes
        self._stops_of = stops_of
        self._wal = wal
        self._metrics = metrics
        self._every_s = every_s
        self._sleep = sleep
        self._numbers = itertools.count(1)
        self._tokens: dict[str, _OfToken] = {}

    async def run(self) -> None:
        """For ever. A token that hangs delays no other."""
        async with asyncio.TaskGroup() as tasks:
            while True:
                self._look(tasks)
                await self._sleep(LOOK_S)

    def _look(self, tasks: asyncio.TaskGroup) -> None:
        now = time.monotonic()
        lanes = {each.token: each for each in self._lanes()}
        for token, each in lanes.items():
            if not each.requests.takes_canaries:
                continue
            keys = self._keys(each)
            known = self._tokens.setdefault(token, _OfToken(due_at=now + self._every_s))
            _keep_only(known, keys)
            if keys and now >= known.due_at and known.task is None:
                known.due_at = now + self._every_s
                known.task = tasks.create_task(self._try_all(each, keys, known))
        for token in [t for t in self._tokens if t not in lanes or not _in_use(lanes[t])]:
            if self._tokens[token].task is None:
                del self._tokens[token]
        self._show()

    def _keys(self, lanes: TokenPool) -> list[Authorised]:
        configuration = self._configuration()
        if lanes.tenant is None:
            return [service_canary(configuration.service.service_key)]
        tenant = configuration.tenants.get(lanes.tenant)
        if tenant is None:
            return []
        now_ms = time.time_ns() // 1_000_000
        return tenant_canaries(tenant, lanes.token, now_ms=now_ms, stops=self._stops_of(tenant))

    async def _try_all(self, lanes: TokenPool, keys: list[Authorised], known: _OfToken) -> None:
        """One after the other: together they would take sessions from those who have work."""
        try:
            for key in keys:
                outcome = await self._try(lanes, key)
                self._metrics.canary_runs.labels(lanes.token, outcome).inc()
                sha256 = key.key_version.public_key.sha256
                known.succeeded[sha256] = (
                    time.time() if outcome == SUCCESS else known.succeeded.get(sha256, 0.0)
                )
            self._show()
        finally:
            known.task = None

    async def _try(self, lanes: TokenPool, canary: Authorised) -> str:
        """``ok``, or the reason why not."""
        request = SignCanary(next(self._numbers), canary.key_version.key, canary.key_version.version)
        intent = _intent(lanes, canary)
        signature = b""
        try:
            await self._wal.append([intent])
            try:
                signature = await _signed(lanes, request, canary)
            except SigningError as error:
                self._say(lanes, canary, error)
                outcome = reason_label(error.reason)
            except asyncio.CancelledError:
                self._wal.note([UnknownRecord(_now_ms(), intent.tenant, intent.job_id, intent.lease)])
                raise
            else:
                outcome = SUCCESS
            await self._wal.append(
                [
                    CanaryOutcomeRecord(
                        _now_ms(), intent.tenant, intent.job_id, intent.lease, outcome, signature
                    )
                ]
            )
        except LogUnavailable as error:
            self._say(lanes, canary, error)
            return error.reason
        return outcome

    def _say(self, lanes: TokenPool, canary: Authorised, error: SigningError) -> None:
        version = canary.key_version
        log.error(
            "canary.failed",
            extra={
                "token": lanes.token,
                "tenant": lanes.tenant,
                "key": f"{version.key}/{version.version}",
                "code": error.reason,
                "why": error.message,
            },
        )

    def _show(self) -> None:
        """A token is as old as its oldest key."""
        ages = {
            (token,): min(known.succeeded.values())
            for token, known in self._tokens.items()
            if known.succeeded
        }
        oldest = sorted(ages.items(), key=lambda item: item[1])[:MOST_RANKED]
        self._metrics.canary_last_success.show(dict(oldest))


def _in_use(lanes: TokenPool) -> bool:
    """Whether somebody needs the token, be it in vain."""
    return lanes.status.can_sign or lanes.status.in_doubt or bool(lanes.status.load)


def _keep_only(known: _OfToken, keys: list[Authorised]) -> None:
    """A key that is not tried any more has no age."""
    tried = {key.key_version.public_key.sha256 for key in keys}
    for sha256 in known.succeeded.keys() - tried:
        del known.succeeded[sha256]


async def _signed(lanes: TokenPool, request: SignCanary, canary: Authorised) -> bytes:
    """The signature, verified under the key that this process has pinned; raises a ``SigningError``."""
    answer = await lanes.requests.sign_canary(request)
    if answer.error is not None:
        raise answer.error.error()
    canary.key_version.public_key.verify(canary.algorithm, canary.digests[0], answer.signature)
    return answer.signature


def _intent(lanes: TokenPool, canary: Authorised) -> CanaryIntentRecord:
    version = canary.key_version
    return CanaryIntentRecord(
        at_ms=_now_ms(),
        tenant=lanes.tenant or "",
        job_id=b"canary:" + os.urandom(16).hex().encode(),
        lease=b"",
        token=lanes.token,
        key=version.key,
        version=version.version,
        public_key_sha256=version.public_key.sha256,
        algorithm=str(canary.algorithm),
        digest=canary.digests[0],
    )


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
