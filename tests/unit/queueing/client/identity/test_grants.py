"""Grants in use: one is obtained when it is needed, renewed before it ends or is used up, and never more than asked for."""

from __future__ import annotations

import asyncio

import pytest

from queueing.client.identity import grants as grants_module
from queueing.client.identity.credentials import Credential
from queueing.client.identity.grants import FRESH_MS, LEFT_MS, GrantedIdentity
from queueing.client.signing_request import EnvelopeBuilder, SigningRequest, Target
from queueing.errors import (
    ClientRevoked,
    GrantExhausted,
    GrantExpired,
    GrantRefused,
    IdentityRefused,
    IdentityUnavailable,
    IssuerUnavailable,
    JobExpired,
    PolicyDenied,
    ResultInvalid,
    SigningError,
)
from queueing.protocol.algorithms import Algorithm
from queueing.protocol.client_keys import ClientKey, ClientPublicKey
from queueing.protocol.envelope import MAX_DIGESTS, read_unverified
from queueing.protocol.grants.grant import Grant, read_grant, seal_grant
from queueing.protocol.grants.grant_request import GrantIssued, GrantRequest
from tests.support.waiting import turn

START_MS = 1_900_000_000_000
LIFE_MS = 900_000
REQUEST = SigningRequest.of(Target("release", 0, Algorithm.ECDSA_SHA_256), [bytes(32)] * 3, "build-7")


class Build:
    """The platform, the issuer and the clock of one build; ``fails``: errors of the next requests."""

    def __init__(self, *, most: int = 100) -> None:
        self.now_ms = START_MS
        self.most = most
        self.audience = "test"
        self.tokens = 0
        self.asked: list[GrantRequest] = []
        self.fails: list[SigningError] = []
        self.answered = asyncio.Event()
        self.held: asyncio.Event | None = None
        self.identity = GrantedIdentity(
            source=self,
            issuer=self,
            key=ClientKey.generate(),
            audience="test",
            tenant="acme",
            keys=("release",),
            now_ms=lambda: self.now_ms,
        )

    async def token(self) -> str:
        self.tokens += 1
        return f"token-{self.tokens}"

    async def request(self, request: GrantRequest) -> GrantIssued:
        self.asked.append(request)
        self.answered.set()
        if self.held is not None:
            await self.held.wait()
        if self.fails:
            raise self.fails.pop(0)
        request.check_proof("test")
        grant = Grant(
            audience=self.audience,
            tenant="acme",
            issuer="ci",
            grant_id=len(self.asked).to_bytes(16, "big"),
            subject="repo:acme/app",
            evidence_sha256=request.evidence_sha256,
            client_public_key=request.public_key,
            keys=request.keys,
            algorithms=("ECDSA_SHA_256",),
            max_digests=self.most,
            not_before_ms=self.now_ms,
            expires_ms=self.now_ms + LIFE_MS,
        )
        return GrantIssued(grant=seal_grant(grant, ClientKey.generate()), expires_ms=grant.expires_ms)

    async def take(self, digests: int = 1) -> Credential:
        return await self.identity.credential(digests, None)


def builder_of(build: Build) -> EnvelopeBuilder:
    return EnvelopeBuilder(
        audience="test",
        tenant="acme",
        identity=build.identity,
        ttl_ms=4 * 3_600_000,
        reply_id="",
        now_ms=lambda: build.now_ms,
    )


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grants_module, "FIRST_PAUSE_S", 0.0)
    monkeypatch.setattr(grants_module, "LONGEST_PAUSE_S", 0.0)
    monkeypatch.setattr(grants_module, "RENEWAL_PAUSE_S", 0.0)


async def test_one_grant_serves_until_it_ends() -> None:
    """All envelopes of a build are under it, and name it as their client."""
    build = Build()
    first = await build.take()
    assert first.grant is not None
    assert first.client == read_grant(first.grant).grant.client
    assert first.owner == "ci/repo:acme/app"
    build.now_ms += LIFE_MS - LEFT_MS - 1
    assert await build.take() is first
    build.now_ms += 1
    second = await build.take()
    assert second is not first
    assert second.owner == first.owner
    assert [request.token for request in build.asked] == ["token-1", "token-2"]


async def test_the_key_stays_the_same() -> None:
    """The issuer binds a token to the first key that used it."""
    build = Build()
    await build.take()
    build.now_ms += LIFE_MS
    await build.take()
    assert len({request.public_key for request in build.asked}) == 1


async def test_a_grant_is_not_used_for_more_digests_than_it_permits() -> None:
    """A build of 20,000 files has as many grants as it takes."""
    build = Build(most=100)
    grants = {(await build.take(64)).client for _ in range(10)}
    assert len(grants) == 10
    with pytest.raises(GrantExhausted, match="101 digests is more than the grant's 100"):
        await build.take(101)


async def test_concurrent_calls_share_one_request() -> None:
    """A thousand calls of a build that begins ask once."""
    build = Build(most=1000)
    credentials = await asyncio.gather(*(build.take() for _ in range(1000)))
    assert len({each.client for each in credentials}) == 1
    assert len(build.asked) == 1


async def test_a_grant_is_renewed_in_the_background_in_the_last_third_of_its_life() -> None:
    """Calls use the old one meanwhile, also while the issuer is away."""
    build = Build()
    running = asyncio.create_task(build.identity.run())
    first = await build.take()
    build.now_ms += LIFE_MS * 2 // 3 + 1
    build.fails = [IssuerUnavailable(), IdentityUnavailable()]
    assert await build.take() is first
    while len(build.asked) < 4:
        build.answered.clear()
        await build.answered.wait()
    assert await build.take() is not first
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_a_build_of_two_hours_does_not_notice_that_its_grants_end() -> None:
    """With grants of a quarter of an hour, a call each five seconds, and an issuer that fails at every other request: no call waits."""
    build = Build(most=100_000)
    running = asyncio.create_task(build.identity.run())
    await build.take()
    for second in range(0, 7200, 5):
        build.now_ms = START_MS + second * 1000
        if second % 1200 == 0:
            build.fails = [IssuerUnavailable()]
        call = asyncio.create_task(build.take(64))
        await turn(3)
        assert call.done(), f"a call waits after {second} s"
        given = (await call).grant
        assert given is not None
        assert read_grant(given).grant.expires_ms > build.now_ms + LEFT_MS
        await turn(20)
    assert len(build.asked) - 6 == 7200 // 600, "one each ten minutes: a third of its life is left"
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_a_refusal_of_the_renewal_leaves_the_grant_in_use(monkeypatch: pytest.MonkeyPatch) -> None:
    """The token of the platform is over: what was granted lasts to its end, and the issuer is asked seldom meanwhile."""
    monkeypatch.setattr(grants_module, "RENEWAL_PAUSE_S", 3600.0)
    build = Build()
    running = asyncio.create_task(build.identity.run())
    first = await build.take()
    build.now_ms += LIFE_MS * 2 // 3 + 1
    build.answered.clear()
    build.fails = [IdentityRefused("claim `exp`")]
    assert await build.take() is first
    await build.answered.wait()
    for _ in range(100):
        assert await build.take(0) is first
        await turn()
    assert len(build.asked) == 2
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_a_refused_identity_is_told_at_once() -> None:
    """Asking again would change nothing."""
    build = Build()
    build.fails = [IdentityRefused("rule keys.release.identities[0]: claim `ref`")]
    with pytest.raises(IdentityRefused, match="claim `ref`"):
        await build.take()
    assert len(build.asked) == 1


async def test_an_issuer_that_is_away_is_asked_until_the_deadline() -> None:
    """And its own error is told, not that of a deadline."""
    build = Build()
    build.fails = [IssuerUnavailable("no route")] * 3
    await build.take()
    assert len(build.asked) == 4
    away = Build()
    away.fails = [IssuerUnavailable("no route", retry_after_s=60.0)]
    deadline_s = asyncio.get_running_loop().time() + 0.01
    with pytest.raises(IssuerUnavailable, match="no route"):
        await away.identity.credential(1, deadline_s)


async def test_the_error_of_an_attempt_is_not_told_after_a_success() -> None:
    """A later deadline has its own reason."""
    build = Build()
    build.fails = [IssuerUnavailable("no route")]
    assert build.identity.trouble() is None
    build.now_ms -= LIFE_MS
    await build.take()
    assert build.identity.trouble() is None
    build.now_ms += LIFE_MS
    build.fails = [IdentityRefused("claim `exp`")]
    with pytest.raises(IdentityRefused):
        await build.take()
    assert isinstance(build.identity.trouble(), IdentityRefused)


async def test_every_call_waits_to_its_own_deadline() -> None:
    """A call that waits for ever, or gives up, holds up no other."""
    build = Build()
    build.held = asyncio.Event()
    patient = asyncio.create_task(build.take())
    await turn()
    with pytest.raises(IdentityUnavailable, match="before there was a grant"):
        await build.identity.credential(1, asyncio.get_running_loop().time())
    with pytest.raises(IdentityUnavailable):
        await build.identity.ready(asyncio.get_running_loop().time())
    first = asyncio.create_task(build.take())
    patient.cancel()
    build.held.set()
    assert await first is await build.take()


async def test_an_envelope_has_no_more_digests_than_a_grant() -> None:
    """The number is known with the first grant, and follows the issuer's cap."""
    build = Build(most=50)
    assert build.identity.largest_envelope == MAX_DIGESTS
    await build.identity.ready(None)
    assert build.identity.largest_envelope == 50
    build.most = 10**6
    await build.take(51 - 1)
    await build.take(1)
    assert build.identity.largest_envelope == MAX_DIGESTS
    await build.identity.ready(None)
    assert len(build.asked) == 2


async def test_a_request_is_cut_to_what_a_grant_permits() -> None:
    """Always in the same way, so that a repeated run finds its jobs."""
    build = Build(most=2)
    builder = builder_of(build)
    parts = await builder.fitting(REQUEST)
    assert [len(part.digests) for part in parts] == [2, 1]
    assert parts == await builder.fitting(REQUEST)
    assert len({builder.job_id(part) for part in (*parts, REQUEST)}) == 3
    build.most = 3
    await build.take(2)
    await build.take(1)
    assert await builder.fitting(REQUEST) == (REQUEST,)


@pytest.mark.parametrize("error", [GrantExhausted(), GrantExpired(), JobExpired()])
async def test_a_grant_that_the_service_refuses_serves_no_more(error: SigningError) -> None:
    """Used up on other hosts, or over by their clocks: the next envelope is under another."""
    build = Build()
    first = await build.take()
    assert build.identity.refused(first.grant, error)
    second = await build.take()
    assert second is not first
    assert build.identity.refused(first.grant, error)
    assert await build.take() is second


@pytest.mark.parametrize("error", [ClientRevoked(), GrantRefused(), PolicyDenied()])
async def test_a_grant_that_the_files_of_the_service_deny_is_replaced_once(error: SigningError) -> None:
    """A stop order names it, its issuer has another key, or the caps were lowered: a new one may be good. One that was just made is not."""
    build = Build()
    first = await build.take()
    build.now_ms += FRESH_MS
    assert build.identity.refused(first.grant, error)
    assert build.identity.refused(first.grant, error)
    second = await build.take()
    assert second is not first
    assert not build.identity.refused(second.grant, error)
    assert await build.take() is second
    assert len(build.asked) == 2


async def test_a_grant_of_another_cluster_or_one_that_has_ended_is_not_taken() -> None:
    """The audience of the issuer is another one, or its clock is far behind."""
    build = Build()
    build.audience = "prod"
    with pytest.raises(ResultInvalid, match="another cluster"):
        await build.take()
    late = Build()
    late.audience = "test"
    original = late.request

    async def request(asked: GrantRequest) -> GrantIssued:
        issued = await original(asked)
        late.now_ms += LIFE_MS
        return issued

    late.request = request  # type: ignore[method-assign, assignment]
    with pytest.raises(ResultInvalid, match="clock"):
        await late.take()


async def test_an_envelope_ends_with_its_grant() -> None:
    """So the service reports it as expired, and a waiting client seals it again under the next grant."""
    build = Build()
    submission = await builder_of(build).seal(REQUEST)
    assert submission.envelope.expires_at_ms == START_MS + LIFE_MS
    unverified = read_unverified(submission.sealed)
    assert unverified.envelope.grant is not None
    grant = read_grant(unverified.envelope.grant).grant
    assert unverified.envelope.client == grant.client
    public = ClientPublicKey.from_spki(bytes.fromhex("302a300506032b6570032100") + grant.client_public_key)
    public.verify_envelope(unverified.signed_bytes, unverified.signature)
