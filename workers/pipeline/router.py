"""Which lanes a claimed job goes to, by what its envelope says: nothing is authorised here, the lane does that."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from queueing.errors import (
    EnvelopeMalformed,
    JobExpired,
    JobPoisoned,
    KeyUnknown,
    PolicyDenied,
    SigningError,
    TokenUnavailable,
)
from queueing.protocol.envelope import read_unverified
from queueing.protocol.jobs import decode_job, job_id_of, tenant_of_job_id
from workers.lanes.authorisation import authorise
from workers.lanes.supervisor.batching import Group

if TYPE_CHECKING:
    from collections.abc import Callable

    from queueing.protocol.envelope import Envelope, UnverifiedEnvelope
    from workers.active_job import ActiveJob
    from workers.config.stop_rules import Stops
    from workers.config.tenants import KeyVersion, Tenant
    from workers.lanes.supervisor.token_pool import TokenPool
    from workers.limits.tenant_limiter import TenantLimiter


class Router:
    """Finds the lanes of jobs, by the configuration in force."""

    def __init__(
        self,
        *,
        tenants: Callable[[], dict[str, Tenant]],
        lanes_of: Callable[[str], dict[str, TokenPool]],
        stops_of: Callable[[Tenant], Stops],
        allowances: TenantLimiter,
        audience: str,
        most_crashes: int,
    ) -> None:
        self._tenants = tenants
        self._lanes_of = lanes_of
        self._stops_of = stops_of
        self._allowances = allowances
        self._audience = audience
        self._most_crashes = most_crashes

    def route(self, job: ActiveJob) -> tuple[Group, TokenPool]:
        """Read the job, find its lanes, and charge it; raises a ``SigningError``: what is wrong with it.

        ``LimitRate``: this worker's own cap is reached; ``TokenUnavailable``: no token that has the key is in use.
        Such a job goes back, charged nothing.
        """
        claimed = job.claimed
        unverified = read_job(job)
        if claimed.crashes >= self._most_crashes:
            raise JobPoisoned(
                "worker after worker ended while it had the job, the last one with nothing beside it"
            )
        envelope = unverified.envelope
        tenant = self._tenants().get(claimed.tenant)
        if tenant is None:
            raise PolicyDenied("the tenant is not configured here")
        now_ms = time.time_ns() // 1_000_000
        stops = self._stops_of(tenant)
        try:
            if tenant.suspended:
                raise PolicyDenied("rule `state`: the tenant is suspended")
            stops.check_tenant()
            version = _version(envelope, tenant, now_ms)
        except SigningError:
            # Judged as a lane would, in its order: a stranger learns nothing about keys here either.
            authorise(unverified, tenant, audience=self._audience, now_ms=now_ms, stops=stops)
            raise
        lanes = self._least_loaded(claimed.tenant, version)
        self._allowances.charge(job, version.public_key.kind)
        return Group(version.key, version.version, envelope.algorithm), lanes

    def _least_loaded(self, tenant: str, version: KeyVersion) -> TokenPool:
        lanes = self._lanes_of(tenant)
        there = [lanes[token] for token in version.tokens if token in lanes]
        healthy = [candidate for candidate in there if candidate.healthy]
        if not healthy:
            # Another token of the tenant is, else nothing were claimed; a circuit closes without being tried.
            raise TokenUnavailable("no token that has the key is in use")
        has_it = [candidate for candidate in healthy if not candidate.lacks(version.key, version.version)]
        return min(has_it or healthy, key=lambda candidate: (candidate.status.load, candidate.given))


def read_job(job: ActiveJob) -> UnverifiedEnvelope:
    """What the job is; raises ``JobExpired`` where its key is gone, and what is wrong with it."""
    if job.claimed.payload is None:
        raise JobExpired("the job's key was gone from Redis")
    queued = decode_job(job.claimed.payload)
    unverified = read_unverified(queued.sealed)
    job.read_as(queued.sealed, unverified.envelope, queued.hints, queued.enqueued_at_ms)
    _check_hints(job)
    return unverified


def _version(envelope: Envelope, tenant: Tenant, now_ms: int) -> KeyVersion:
    """The key version that is asked for, by which the job finds its lane."""
    key = tenant.keys.get(envelope.key)
    if key is None or envelope.tenant != tenant.name:
        raise KeyUnknown
    return key.version_to_sign(envelope.key_version, now_ms)


def _check_hints(job: ActiveJob) -> None:
    """What stands beside the envelope decides how the job is counted; a lie is refused."""
    envelope, claimed = job.envelope, job.claimed
    if envelope is None:
        return
    if job.hints.n not in {0, len(envelope.digests)} or job.hints.alg not in {"", envelope.algorithm}:
        raise EnvelopeMalformed("what stands beside the envelope does not fit it")
    try:
        job_id = claimed.job_id.decode("ascii")
    except UnicodeDecodeError:
        return  # a stock producer may name its jobs as it likes
    if tenant_of_job_id(job_id) is not None and job_id != job_id_of(
        envelope.tenant, envelope.idempotency_key
    ):
        raise EnvelopeMalformed("the envelope belongs to another job")
