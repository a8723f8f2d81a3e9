"""Routes claimed jobs to tokens, by what their envelopes say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from queueing.errors import (
    EnvelopeExpired,
    EnvelopeMalformed,
    JobExpired,
    JobPoisoned,
    KeyUnknown,
    PolicyDenied,
    SigningError,
    TokenUnavailable,
)
from queueing.protocol.envelope import read_unverified
from queueing.protocol.jobs import ReceiptNotice, decode_job, job_id_of, tenant_of_job_id
from queueing.unix_time import unix_ms
from workers.lanes.authorisation import authorise, is_unauthenticated
from workers.lanes.signatories import VerifiedGrants, signatory_of
from workers.lanes.supervisor.batching import Group

if TYPE_CHECKING:
    from queueing.protocol.algorithms import KeyKind
    from queueing.protocol.envelope import Envelope, UnverifiedEnvelope
    from workers.active_job import ActiveJob
    from workers.config.tenants import KeyVersion, Tenant
    from workers.current_config import CurrentConfig
    from workers.current_stop_orders import CurrentStopOrders
    from workers.lanes.supervisor.registry import LaneRegistry
    from workers.lanes.supervisor.token_pool import TokenPool
    from workers.pipeline.forgeries import ForgeryGuard
    from workers.telemetry.metrics import Metrics

_SENT_AGAIN_S: Final = 1.0
"""Time after which a client sends a job again whose payload was gone: its own pause between two renewals."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """Destination of a job: the pool of a token, and the group of slices that may share a chunk with it."""

    pool: TokenPool
    group: Group
    key_kind: KeyKind


class Router:
    """Finds the token of each job, by the configuration and the stop orders in force.

    Its verdict lets nothing be signed: the lane verifies and authorises every envelope itself. Jobs that cannot be signed are
    refused here, to save the trip; envelopes that may be forged (``ForgeryGuard``) are verified here too, before their intent is written.
    """

    def __init__(
        self,
        config: CurrentConfig,
        *,
        lanes: LaneRegistry,
        stop_orders: CurrentStopOrders,
        forgeries: ForgeryGuard,
        metrics: Metrics,
    ) -> None:
        self._config = config
        self._forgeries = forgeries
        self._lanes = lanes
        self._stop_orders = stop_orders
        self._audience = config.service.audience  # a reload cannot change it
        self._grants = VerifiedGrants()
        self._grants_verified = metrics.grants_verified
        self._most_crashes = config.service.worker.poison_attempts
        self._receipts = ReceiptNotice.FOLLOWS if config.service.record.enabled else ReceiptNotice.NO_RECORD

    def route(self, job: ActiveJob) -> Route:
        """Read a job and choose its token; makes the tenant's lanes if need be, and charges nothing.

        Raises a ``SigningError``: ``TokenUnavailable`` when no token that has the key is in use, and the job has to be
        requeued; every other one refuses the job.
        """
        unverified = read_job(job)
        if job.hints.rc:
            job.receipt = self._receipts
        if job.claimed.crashes >= self._most_crashes:
            self._authenticate(job, unverified)  # who has no client key makes no dead letters
            raise JobPoisoned(
                f"{job.claimed.crashes} workers crashed while processing this job;"
                " the last one was processing nothing else for this tenant"
            )
        version = self._key_version(job, unverified)
        group = Group(version.key, version.version, unverified.envelope.algorithm)
        return Route(
            pool=self._least_loaded(job.claimed.tenant, version),
            group=group,
            key_kind=version.public_key.kind,
        )

    def authenticate(self, job: ActiveJob) -> None:
        """Verify that a client of the tenant signed a job that was read, and may; raises what a lane would raise.

        Costs one signature verification (about 60 us), and nothing where it was verified before.
        """
        if not job.authenticated:
            self._authenticate(job, read_unverified(job.sealed))

    def _authenticate(self, job: ActiveJob, unverified: UnverifiedEnvelope) -> None:
        """Verify the envelope as a lane does; raises what a lane would raise.

        Not its dates, where they are in the future: the lane knows whether this host's clock was set back.
        """
        tenant = self._tenant(job)
        try:
            authorise(
                unverified,
                tenant,
                audience=self._audience,
                now_ms=unix_ms(),
                stops=self._stop_orders.stops_of(tenant),
                grants=self._grants,
            )
        except EnvelopeExpired:
            job.authenticated = True
        except SigningError as error:
            job.authenticated = not is_unauthenticated(error)
            raise
        job.authenticated = True

    def _tenant(self, job: ActiveJob) -> Tenant:
        tenant = self._config.tenants.get(job.claimed.tenant)
        job.epoch = 0 if tenant is None else tenant.epoch
        if tenant is None:
            raise PolicyDenied("the tenant is not configured here")
        return tenant

    def _key_version(self, job: ActiveJob, unverified: UnverifiedEnvelope) -> KeyVersion:
        """The key version that the envelope asks for; raises what a lane would raise.

        An envelope that no client of the tenant can have signed, or one that may be forged, is judged here, before its intent:
        an intent holds the whole envelope.
        """
        tenant = self._tenant(job)
        known = self._find_signatory(job, unverified, tenant)
        size_bytes = len(job.sealed)
        if not known or self._forgeries.must_verify(tenant.name, size_bytes):
            self._authenticate(job, unverified)
        else:
            self._forgeries.passed(tenant.name, size_bytes)
        now_ms = unix_ms()
        stops = self._stop_orders.stops_of(tenant)
        try:
            if tenant.suspended:
                raise PolicyDenied("rule `state`: the tenant is suspended")
            stops.check_tenant()
            version = _version(unverified.envelope, tenant, now_ms)
            # A lane would refuse it, too, but the log would have an intent, and signatures that may have been made.
            stops.check_key(version.key)
            stops.check_version(version.key, version.version)
            return version
        except SigningError:
            # Judged in a lane's order, which checks the signature first: a stranger learns nothing about keys here.
            self._authenticate(job, unverified)
            raise

    def _find_signatory(self, job: ActiveJob, unverified: UnverifiedEnvelope, tenant: Tenant) -> bool:
        """Find who signed the envelope, for ``job``; False where the tenant has no such client, nor an issuer that signed its grant."""
        sealed = unverified.envelope.grant
        is_new = sealed is not None and sealed not in self._grants
        try:
            job.grant = signatory_of(unverified.envelope, tenant, self._audience, self._grants).grant
        except SigningError:
            return False
        if is_new and job.grant is not None:
            self._grants_verified.labels(tenant.name, job.grant.issuer).inc()
        return True

    def _least_loaded(self, tenant: str, version: KeyVersion) -> TokenPool:
        """The pool with the shortest queue, of the healthy tokens that have the key, as far as is known."""
        pools = self._lanes.of(tenant)
        configured = [pools[token] for token in version.tokens if token in pools]
        healthy = [pool for pool in configured if pool.healthy]
        if not healthy:
            # Another token of the tenant is healthy, or nothing would be claimed; circuit breakers close automatically.
            raise TokenUnavailable("no token that has the key is in use")
        has_key = [pool for pool in healthy if not pool.lacks(version.key, version.version)]
        return min(has_key or healthy, key=lambda pool: (pool.status.load, pool.given))


def read_job(job: ActiveJob) -> UnverifiedEnvelope:
    """Decode a job into ``job``; raises ``JobExpired`` when its payload is gone from Redis, and the error of a bad one."""
    if job.claimed.payload is None:
        # With a time, as only this is: nothing says that the envelope's dates, and so its client's clock, are wrong.
        raise JobExpired(
            "the job's payload was gone from Redis: it expired by Redis' clock, or was deleted",
            retry_after_s=_SENT_AGAIN_S,
        )
    queued = decode_job(job.claimed.payload)
    unverified = read_unverified(queued.sealed)
    job.set_content(queued.sealed, unverified.envelope, queued.hints, queued.enqueued_at_ms)
    _check_hints(job)
    return unverified


def _version(envelope: Envelope, tenant: Tenant, now_ms: int) -> KeyVersion:
    """The key version to sign with; raises ``KeyUnknown`` and what ``version_to_sign`` raises."""
    key = tenant.keys.get(envelope.key)
    if key is None or envelope.tenant != tenant.name:
        raise KeyUnknown
    return key.version_to_sign(envelope.key_version, now_ms)


def _check_hints(job: ActiveJob) -> None:
    """Refuse a job whose unsigned hints, by which the claim charged it, do not fit its envelope."""
    envelope, claimed = job.envelope, job.claimed
    if envelope is None:
        return
    if job.hints.n not in {0, len(envelope.digests)} or job.hints.alg not in {"", envelope.algorithm}:
        raise EnvelopeMalformed("the job's unsigned digest count or algorithm does not match its envelope")
    try:
        job_id = claimed.job_id.decode("ascii")
    except UnicodeDecodeError:
        return  # a stock producer may name its jobs as it likes
    if tenant_of_job_id(job_id) is not None and job_id != job_id_of(
        envelope.tenant, envelope.idempotency_key
    ):
        raise EnvelopeMalformed("the envelope's idempotency key does not match the job's id")
