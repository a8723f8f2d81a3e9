"""Routing of jobs: the token that has the key, and the errors of jobs that cannot be signed."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519
from msgspec.structs import replace
from prometheus_client import CollectorRegistry

from queueing.broker.claims import ClaimedJob
from queueing.errors import (
    ClientUnknown,
    EnvelopeMalformed,
    EnvelopeSignature,
    JobExpired,
    JobPoisoned,
    KeyDisabled,
    PolicyDenied,
    SigningError,
    TokenUnavailable,
)
from queueing.protocol.algorithms import KeyKind
from queueing.protocol.client_keys import ClientKey
from queueing.protocol.envelope import Envelope, seal
from queueing.protocol.jobs import JobHints, encode_job
from queueing.protocol.stop_orders import Scope, StopOrder
from queueing.unix_time import unix_ms
from tests.support.fakes.active_jobs import one_sink
from tests.support.fakes.config_files import Site, tenant_text
from tests.support.fakes.grants import EPHEMERAL, issuer_text, sealed_grant, sealed_under
from workers.active_job import ActiveJob
from workers.config.loading import load_configuration
from workers.current_config import CurrentConfig
from workers.current_stop_orders import CurrentStopOrders
from workers.lanes.supervisor.batching import Group
from workers.lanes.supervisor.registry import LaneRegistry
from workers.pipeline.forgeries import UNPROVEN_BYTES, ForgeryGuard
from workers.pipeline.router import Router
from workers.telemetry.metrics import Metrics


@dataclass
class Pool:
    """Lanes of one token, as the router sees them."""

    token: str
    healthy: bool = True
    load: int = 0
    given: int = 0
    lacking: bool = False

    @property
    def status(self) -> Pool:
        return self

    def lacks(self, key: str, version: int) -> bool:
        return self.lacking


@dataclass
class Registry:
    """The lanes of the tenant ``acme``, whose key ``release`` is in two tokens."""

    pools: dict[str, Pool] = field(
        default_factory=lambda: {token: Pool(token) for token in ("acme", "globex")}
    )

    def of(self, _: str) -> dict[str, Pool]:
        return self.pools


@pytest.fixture
def registry() -> Registry:
    return Registry()


@pytest.fixture
def forgeries(tmp_path: Path) -> ForgeryGuard:
    return ForgeryGuard(tmp_path)


@pytest.fixture
def metrics() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def router(tmp_path: Path, registry: Registry, forgeries: ForgeryGuard, metrics: CollectorRegistry) -> Router:
    text = tenant_text().replace('tokens = ["acme"]', 'tokens = ["acme", "globex"]') + issuer_text()
    assert "globex" in text
    config = CurrentConfig(load_configuration(Site(tmp_path, tenants={"acme": text}).write().config))
    return Router(
        config,
        lanes=cast("LaneRegistry", registry),
        stop_orders=CurrentStopOrders(),
        forgeries=forgeries,
        metrics=Metrics(metrics),
    )


KNOWN = ClientKey(ed25519.Ed25519PrivateKey.from_private_bytes(bytes([1] * 32)))
"""Key of the client in the tenant's file."""


def job(  # noqa: PLR0913 - what a test varies
    key: str = "release",
    *,
    hints: int = 1,
    tenant: str = "acme",
    crashes: int = 0,
    client: str = "build-1",
    signer: ClientKey | None = None,
    ahead_s: int = 0,
    digests: int = 1,
) -> ActiveJob:
    """A job of ``digests``, signed by a key that the tenant does not know, unless ``signer`` is another."""
    now_ms = unix_ms()
    envelope = Envelope(
        audience="test",
        tenant="acme",
        client=client,
        key=key,
        key_version=0,
        algorithm="ECDSA_SHA_256",
        issued_at_ms=now_ms + ahead_s * 1000,
        expires_at_ms=now_ms + ahead_s * 1000 + 60_000,
        idempotency_key=bytes(16),
        digests=(bytes(32),) * digests,
    )
    payload = encode_job(seal(envelope, signer or ClientKey.generate()), JobHints(n=hints), now_ms)
    claimed = ClaimedJob(
        tenant=tenant, job_id=b"job", due_ms=b"1000", attempt=1, payload=payload, lease=b"worker:7"
    )
    return ActiveJob(replace(claimed, crashes=crashes), one_sink())


def test_a_route_names_the_pool_the_group_and_the_kind_of_the_key(router: Router, registry: Registry) -> None:
    """Routing charges nothing: the limiter does, by the kind of the key."""
    routed = job()
    route = router.route(routed)
    assert route.pool.token == "acme"
    assert (route.group, route.key_kind) == (Group("release", 1, "ECDSA_SHA_256"), KeyKind.P256)
    assert routed.cost == 0.0


def test_a_grant_is_counted_when_it_is_new(router: Router, metrics: CollectorRegistry) -> None:
    """It is counted once for all its jobs, under the name of its issuer; a forged grant is not counted."""
    for sealed in (sealed_under(), sealed_under(), sealed_under(sealed_grant(EPHEMERAL))):
        payload = encode_job(sealed, JobHints(n=2), 1)
        granted = job()
        granted.claimed = replace(granted.claimed, payload=payload)
        with contextlib.suppress(SigningError):  # the fixed grant has other dates than today's
            router.route(granted)
    labels = {"tenant": "acme", "issuer": "ci"}
    assert metrics.get_sample_value("sigmill_grants_verified_total", labels) == 1


def test_the_token_with_the_shortest_queue_is_chosen(router: Router, registry: Registry) -> None:
    """Between queues of one length, the token that was given less so far is chosen."""
    registry.pools["acme"].load = 1
    assert router.route(job()).pool.token == "globex"
    registry.pools["globex"].load, registry.pools["globex"].given = 1, 1
    assert router.route(job()).pool.token == "acme"


def test_a_token_that_lacks_the_key_is_the_last_choice(router: Router, registry: Registry) -> None:
    """It is tried when no other token has the key: its lane tells whether the key is there now."""
    registry.pools["acme"].lacking = True
    registry.pools["globex"].load = 5
    assert router.route(job()).pool.token == "globex"
    registry.pools["globex"].lacking = True
    assert router.route(job()).pool.token == "acme"


def test_without_a_healthy_token_the_job_has_to_be_requeued(router: Router, registry: Registry) -> None:
    """``TokenUnavailable`` is retryable; no circuit breaker is tried with the job."""
    for pool in registry.pools.values():
        pool.healthy = False
    with pytest.raises(TokenUnavailable):
        router.route(job())


def test_a_job_over_which_three_workers_crashed_is_poisoned(router: Router) -> None:
    """The error says how many they were; two crashes are not enough."""
    router.route(job(crashes=2, signer=KNOWN))
    poisoned = job(crashes=3, signer=KNOWN)
    with pytest.raises(JobPoisoned, match="3 workers crashed"):
        router.route(poisoned)
    assert poisoned.authenticated


def test_a_forged_envelope_makes_no_dead_letter(router: Router) -> None:
    """A writer without a client key fills neither the dead letters nor the log with its envelopes."""
    forged = job(crashes=3)
    with pytest.raises(EnvelopeSignature):
        router.route(forged)
    assert not forged.authenticated


def test_a_client_that_is_not_configured_is_refused_before_any_intent(router: Router) -> None:
    """An intent would hold its whole envelope."""
    with pytest.raises(ClientUnknown):
        router.route(job(client="nobody"))


def test_after_a_forged_envelope_those_of_the_tenant_are_verified_first(
    router: Router, forgeries: ForgeryGuard
) -> None:
    """The first one is left to the lane; then an intent is written only for what a client has signed."""
    forged = job()
    router.route(forged)
    forged.fail(EnvelopeSignature())  # as its lane says
    forgeries.judged(forged)
    with pytest.raises(EnvelopeSignature):
        router.route(job())
    router.route(job(signer=KNOWN))


def test_a_large_forged_envelope_is_refused_before_any_intent(router: Router) -> None:
    """Also the first one, of which no lane has judged another."""
    with pytest.raises(EnvelopeSignature):
        router.route(job(digests=128, hints=128))
    router.route(job(digests=128, hints=128, signer=KNOWN))


def test_without_a_verdict_of_a_lane_few_bytes_get_an_intent(router: Router, forgeries: ForgeryGuard) -> None:
    """Of whatever is forged, until then; a good envelope passes behind them, and makes room when its lane has signed it."""
    first = job()
    router.route(first)
    forgeries.passed("acme", UNPROVEN_BYTES - len(first.sealed))
    with pytest.raises(EnvelopeSignature):
        router.route(job())
    good = job(signer=KNOWN)
    router.route(good)
    forgeries.judged(good)
    router.route(job())


def test_a_stranger_learns_nothing_about_keys(router: Router) -> None:
    """The signature is judged before the unknown key is, as a lane does."""
    with pytest.raises(EnvelopeSignature):
        router.route(job("no-such-key"))


def test_a_job_of_a_tenant_that_is_not_configured_is_refused(router: Router) -> None:
    """A reload may have removed the tenant after the claim."""
    with pytest.raises(PolicyDenied):
        router.route(job(tenant="initech"))


def test_a_job_without_its_payload_is_expired(router: Router) -> None:
    """Redis deletes payloads when they expire by its clock: with a time, the client's clock is not accused."""
    gone = ActiveJob(
        ClaimedJob(tenant="acme", job_id=b"job", due_ms=b"1000", attempt=1, payload=None, lease=b"worker:7"),
        one_sink(),
    )
    with pytest.raises(JobExpired) as caught:
        router.route(gone)
    assert caught.value.retry_after_s is not None


def test_hints_that_do_not_match_the_envelope_are_refused(router: Router) -> None:
    """The claim charged the job by them."""
    with pytest.raises(EnvelopeMalformed, match="digest count or algorithm"):
        router.route(job(hints=2))


def test_a_job_is_authenticated_once_and_a_forged_one_never(router: Router) -> None:
    """What no client signed is known as such: it leaves no records and is charged to no budget."""
    good, forged = job(signer=KNOWN), job()
    for each in (good, forged):
        router.route(each)
    router.authenticate(good)
    assert good.authenticated
    with pytest.raises(EnvelopeSignature):
        router.authenticate(forged)
    assert not forged.authenticated
    good.sealed = b"read no more"
    router.authenticate(good)


def test_the_dates_of_a_job_of_the_future_are_left_to_its_lane(router: Router) -> None:
    """It knows whether this host's clock was set back; an expired job is expired here, too."""
    future, expired = job(signer=KNOWN, ahead_s=3600), job(signer=KNOWN, ahead_s=-3600)
    for each in (future, expired):
        router.route(each)
    router.authenticate(future)
    assert future.authenticated
    with pytest.raises(JobExpired) as caught:
        router.authenticate(expired)
    assert caught.value.retry_after_s is None, "its dates are read, not the time of Redis"
    assert expired.authenticated


@pytest.mark.parametrize("scope, name", [("version", "release/1"), ("key", "release")])
def test_a_job_of_a_stopped_version_or_key_is_refused_before_any_intent(
    router: Router, scope: Scope, name: str
) -> None:
    """The lane refuses it, too, but then the log would say that its signatures may have been made."""
    order = StopOrder(
        audience="test",
        order_id=bytes(16),
        issued_at_ms=1,
        operator="ada",
        scope=scope,
        tenant="acme",
        name=name,
    )
    router._stop_orders.add(order, b"")

    with pytest.raises(KeyDisabled, match="an operator's order stops"):
        router.route(job(signer=KNOWN))
    with pytest.raises(EnvelopeSignature):
        router.route(job())  # a stranger learns nothing of the order


def test_an_order_against_another_version_stops_no_job(router: Router) -> None:
    """A version is named by its key and its number."""
    order = StopOrder(
        audience="test", order_id=bytes(16), issued_at_ms=1, operator="ada", scope="version", tenant="acme", name="release/2"
    )  # fmt: skip
    router._stop_orders.add(order, b"")

    assert router.route(job(signer=KNOWN)).pool.token == "acme"
