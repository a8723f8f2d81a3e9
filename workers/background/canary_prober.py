"""Probes each token that is in use with a canary: it signs a constant at an interval, also when no client has work for it.

A canary is recorded before and after it is signed, charged to no tenant, and its signature is verified here. It neither
starts a lane nor keeps an idle one alive: a token that no tenant uses is not probed, and exports no age that could grow.
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
from queueing.unix_time import unix_ms
from workers.journal.records import CanaryIntentRecord, CanaryOutcomeRecord, unknown_canary
from workers.lanes.canary import newest_canaries, service_canary, tenant_canaries
from workers.lanes.protocol import KEY_NOT_FOUND, SignCanary
from workers.telemetry.metrics import reason_label
from workers.telemetry.series_budget import MOST_RANKED

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from workers.config.tenants import Tenant
    from workers.current_config import CurrentConfig
    from workers.current_stop_orders import CurrentStopOrders
    from workers.journal.journal import WriteAheadLog
    from workers.lanes.authorisation import Authorised
    from workers.lanes.supervisor.registry import LaneRegistry
    from workers.lanes.supervisor.token_pool import TokenPool
    from workers.telemetry.metrics import Metrics

log = logging.getLogger("sigmill.canary")

CHECK_S: Final = 0.5
"""Time between two checks for due canaries."""

SUCCESS: Final = "ok"


@dataclass(slots=True)
class _TokenState:
    """Canaries of one token. ``succeeded``: last success of each key in Unix s (0: none yet), by the key's SHA-256.

    ``known``: keys that were configured when the token was first seen, or probed since; ``new``: keys to be probed at once,
    of this ``tenant``.
    """

    due_at: float
    succeeded: dict[bytes, float] = field(default_factory=dict)
    known: set[bytes] = field(default_factory=set)
    new: list[Authorised] = field(default_factory=list)
    tenant: Tenant | None = None
    task: asyncio.Task[None] | None = None


class CanaryProber:
    """Canaries of one worker; the first of a token comes one interval (``worker.canary_s``) after its first lane."""

    def __init__(
        self,
        config: CurrentConfig,
        *,
        lanes: LaneRegistry,
        stop_orders: CurrentStopOrders,
        wal: WriteAheadLog,
        metrics: Metrics,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._config = config
        self._lanes = lanes
        self._stop_orders = stop_orders
        self._wal = wal
        self._metrics = metrics
        self._every_s = config.service.worker.canary_s
        self._sleep = sleep
        self._numbers = itertools.count(1)
        self._tokens: dict[str, _TokenState] = {}

    async def run(self) -> None:
        """Probe until cancelled. A token that hangs delays no other."""
        async with asyncio.TaskGroup() as tasks:
            while True:
                self._start_due(tasks)
                await self._sleep(CHECK_S)

    def _start_due(self, tasks: asyncio.TaskGroup) -> None:
        now = time.monotonic()
        lanes = {each.token: each for each in self._lanes.all()}
        for token, each in lanes.items():
            if not each.requests.takes_canaries:
                continue
            keys = self._keys(each)
            known = self._tokens.setdefault(token, _TokenState(due_at=now + self._every_s))
            _keep_only(known, keys)
            new = self._new_keys(each, known)
            if known.task is not None:
                continue
            if keys and now >= known.due_at:
                known.due_at = now + self._every_s
                known.task = tasks.create_task(self._probe_all(each, keys, known))
            elif new:
                known.task = tasks.create_task(self._probe_all(each, new, known))
        for token in [t for t in self._tokens if t not in lanes or not _in_use(lanes[t])]:
            if self._tokens[token].task is None:
                del self._tokens[token]
        self._export_ages()

    def _keys(self, lanes: TokenPool) -> list[Authorised]:
        if lanes.tenant is None:
            return [service_canary(self._config.service.service_key)]
        tenant = self._config.tenants.get(lanes.tenant)
        if tenant is None:
            return []
        now_ms = unix_ms()
        stops = self._stop_orders.stops_of(tenant)
        return tenant_canaries(tenant, lanes.token, now_ms=now_ms, stops=stops)

    def _new_keys(self, lanes: TokenPool, known: _TokenState) -> list[Authorised]:
        """Keys that were configured since the token was first seen, each until it was probed: a key that a reload makes
        active may not be visible to the lanes (made as another user, not loaded, in another partition).
        """
        tenant = None if lanes.tenant is None else self._config.tenants.get(lanes.tenant)
        if tenant is None or tenant is known.tenant:
            return known.new
        now_ms = unix_ms()
        stops = self._stop_orders.stops_of(tenant)
        newest = newest_canaries(tenant, lanes.token, now_ms=now_ms, stops=stops)
        if known.tenant is None:
            known.known = {each.key_version.public_key.sha256 for each in newest}
        known.tenant = tenant
        known.new = [each for each in newest if each.key_version.public_key.sha256 not in known.known]
        return known.new

    async def _probe_all(self, lanes: TokenPool, keys: list[Authorised], known: _TokenState) -> None:
        """Probe keys one after the other: together they would take sessions from tenants' jobs."""
        try:
            for key in keys:
                outcome = await self._probe(lanes, key)
                self._metrics.canary_runs.labels(lanes.token, outcome).inc()
                sha256 = key.key_version.public_key.sha256
                known.known.add(sha256)
                known.new = [each for each in known.new if each.key_version.public_key.sha256 != sha256]
                known.succeeded[sha256] = (
                    time.time() if outcome == SUCCESS else known.succeeded.get(sha256, 0.0)
                )
            self._export_ages()
        finally:
            known.task = None

    async def _probe(self, lanes: TokenPool, canary: Authorised) -> str:
        """Sign and record one canary; ``ok``, or the reason of the failure."""
        request = SignCanary(next(self._numbers), canary.key_version.key, canary.key_version.version)
        intent = _intent(lanes, canary)
        signature = b""
        try:
            await self._wal.append([intent])
            try:
                signature = await _signed(lanes, request, canary)
            except SigningError as error:
                self._log_failure(lanes, canary, error)
                outcome = reason_label(error.reason)
                if error.message == KEY_NOT_FOUND:
                    lanes.missing_keys.record(request.key, request.version, found=False)
            except asyncio.CancelledError:
                self._wal.append_nowait([unknown_canary(intent, unix_ms())])
                raise
            else:
                outcome = SUCCESS
                lanes.missing_keys.record(request.key, request.version, found=True)
            await self._wal.append(
                [
                    CanaryOutcomeRecord(
                        unix_ms(), intent.tenant, intent.job_id, intent.lease, outcome, signature
                    )
                ]
            )
        except LogUnavailable as error:
            self._log_failure(lanes, canary, error)
            return error.reason
        return outcome

    def _log_failure(self, lanes: TokenPool, canary: Authorised, error: SigningError) -> None:
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

    def _export_ages(self) -> None:
        """Export for each token the last success of its least recently successful key."""
        ages = {
            (token,): min(known.succeeded.values())
            for token, known in self._tokens.items()
            if known.succeeded
        }
        oldest = sorted(ages.items(), key=lambda item: item[1])[:MOST_RANKED]
        self._metrics.canary_last_success.show(dict(oldest))


def _in_use(lanes: TokenPool) -> bool:
    """Whether a tenant has work for the token, or it can sign, or its circuit breaker is open."""
    return lanes.status.can_sign or lanes.status.in_doubt or bool(lanes.status.load)


def _keep_only(known: _TokenState, keys: list[Authorised]) -> None:
    """Forget keys that are not probed any more: their age would grow for ever."""
    tried = {key.key_version.public_key.sha256 for key in keys}
    for sha256 in known.succeeded.keys() - tried:
        del known.succeeded[sha256]


async def _signed(lanes: TokenPool, request: SignCanary, canary: Authorised) -> bytes:
    """The signature, verified with the configured public key; raises a ``SigningError``."""
    answer = await lanes.requests.sign_canary(request)
    if answer.error is not None:
        raise answer.error.error()
    canary.key_version.public_key.verify(canary.algorithm, canary.digests[0], answer.signature)
    return answer.signature


def _intent(lanes: TokenPool, canary: Authorised) -> CanaryIntentRecord:
    version = canary.key_version
    return CanaryIntentRecord(
        at_ms=unix_ms(),
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
