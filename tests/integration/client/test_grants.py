"""A client with nothing but a token: it signs under grants, through queue, worker and lane, and gets new ones
as needed.
"""

from __future__ import annotations

import asyncio
import base64
import os
from collections.abc import Iterator

import pytest

from queueing import ClientConfig, ClientKey, Signature, SigningClient
from queueing.client.identity import grants
from queueing.errors import SigningError
from queueing.protocol.envelope import Envelope, read_unverified, seal
from queueing.protocol.grants.grant import read_grant
from tests.support.farm.farm import digests
from tests.support.farm.forging import Forger, enqueue, outcome_of, payload
from tests.support.farm.grant_server import GrantServer
from tests.support.rig.operator import edit, operator_block, reload, sigmill
from tests.support.rig.rig import MakeRig, Rig
from workers.journal.records import IntentRecord, decode_record
from workers.journal.segments import read_segment, segments_of

HANG_S = 60.0


@pytest.fixture
def issuer() -> Iterator[GrantServer]:
    with GrantServer() as server:
        yield server


def granted(rig: Rig, issuer: GrantServer) -> ClientConfig:
    """client.toml of a build: a token file and the issuer's address."""
    return issuer.client_config(rig.client_config("acme"), rig.directory / "token")


def allow(rig: Rig) -> None:
    edit(rig.tenant_file("acme"), "[keys.release]", '[keys.release]\nissuers = ["ci"]')


def intents(rig: Rig) -> list[Envelope]:
    """Envelopes of all intents in the worker's log."""
    found = []
    for segment in segments_of(rig.directory / "state-1" / "wal"):
        for raw in read_segment(segment):
            record = decode_record(raw)
            if isinstance(record, IntentRecord):
                found.append(read_unverified(record.sealed).envelope)
    return found


async def test_a_build_signs_under_as_many_grants_as_it_takes(make_rig: MakeRig, issuer: GrantServer) -> None:
    """Grants of 100 digests each, 320 digests; each is signed once, and the log says under which grant."""
    rig = make_rig(more={"acme": issuer.block})
    allow(rig)
    rig.start_worker()
    many = digests(320)
    issuer.denies = ["issuer.unavailable"]
    async with SigningClient(granted(rig, issuer)) as client:
        outcomes = [
            each async for each in client.sign_many("release", many, request_id="run-1", timeout_s=60)
        ]
        assert [type(each) for each in outcomes] == [Signature] * 320
        again = [each async for each in client.sign_many("release", many, request_id="run-1", timeout_s=60)]
        assert again == outcomes
    assert len(issuer.tokens) >= 4
    signed = [each for envelope in intents(rig) for each in envelope.digests]
    assert sorted(signed) == sorted(many)
    used = [read_grant(each.grant).grant for each in intents(rig) if each.grant is not None]
    assert {grant.subject for grant in used} == {"repo:acme/app"}
    assert all(grant.evidence_sha256 for grant in used)


async def test_a_grant_may_permit_fewer_digests_than_an_envelope_has(
    make_rig: MakeRig, issuer: GrantServer
) -> None:
    """Every call sends as many envelopes as there have to be; a repeated run finds its jobs; a cap may be lowered meanwhile."""
    issuer.most = 50
    rig = make_rig(more={"acme": issuer.block})
    allow(rig)
    rig.start_worker()
    many, single, submitted, rest = (digests(130, salt=salt) for salt in "abcd")
    async with SigningClient(granted(rig, issuer)) as client:

        async def stream() -> list[object]:
            run = client.sign_many("release", many, request_id="run-1", timeout_s=60)
            return [each async for each in run]

        first = await stream()
        assert [type(each) for each in first] == [Signature] * 130
        assert await stream() == first
        alone = await asyncio.gather(*(client.sign("release", each, timeout_s=60) for each in single))
        assert all(each.verified for each in alone)
        job = await client.submit("release", submitted, request_id="run-2", timeout_s=60)
        issuer.most = 20
        edit(rig.tenant_file("acme"), "max_digests = 5000", "max_digests = 20")
        await asyncio.to_thread(reload, rig.directory / "sigmill-1.toml")
        waited = await client.wait(job, timeout_s=60)
        assert [type(each) for each in waited] == [Signature] * 130
        lowered = await asyncio.gather(*(client.sign("release", each, timeout_s=60) for each in rest))
        assert all(each.verified for each in lowered)
    signed = [each for envelope in intents(rig) for each in envelope.digests]
    assert set(signed) == {*many, *single, *submitted, *rest}
    assert all(len(each.digests) <= 50 for each in intents(rig))


async def test_a_grant_that_is_taken_back_is_replaced_at_once(
    make_rig: MakeRig, issuer: GrantServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a stop order that names it, or a new issuer key in the tenant's file, the client gets another
    grant and signs.
    """
    monkeypatch.setattr(grants, "FRESH_MS", 0)
    ada = ClientKey.generate()
    rig = make_rig(more={"acme": issuer.block}, service=operator_block("ada", ada))
    allow(rig)
    rig.start_worker()
    key = rig.directory / "ada.key"
    ada.write(key)
    async with SigningClient(granted(rig, issuer)) as client:
        await client.sign("release", os.urandom(32), timeout_s=60)
        held = await client._open.builder.identity.credential(0, None)
        done = await asyncio.to_thread(
            sigmill, "stop", "--config", str(rig.directory / "sigmill-1.toml"), "--operator", "ada", "--operator-key",
            str(key), "--reason", "a test", "--tenant", "acme", "--client", held.client,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        outcomes = [
            each async for each in client.sign_many("release", digests(200), request_id="a", timeout_s=60)
        ]
        assert [type(each) for each in outcomes] == [Signature] * 200
        former, issuer.key = issuer.key, ClientKey.generate()
        edit(
            rig.tenant_file("acme"), *(base64.b64encode(k.public_spki).decode() for k in (former, issuer.key))
        )
        await asyncio.to_thread(reload, rig.directory / "sigmill-1.toml")
        assert (await client.sign("release", os.urandom(32), timeout_s=60)).verified


async def test_the_digests_of_a_grant_are_counted_over_a_restart(
    make_rig: MakeRig, issuer: GrantServer
) -> None:
    """A build with its own ephemeral key gets no more digests from one grant; a repeated job costs none."""
    rig = make_rig(more={"acme": issuer.block})
    allow(rig)
    worker = rig.start_worker()
    redis = rig.connect()
    async with SigningClient(granted(rig, issuer)) as client:
        await client.sign("release", os.urandom(32), timeout_s=60)
        held = await client._open.builder.identity.credential(0, None)

    def sealed(salt: str, count: int) -> bytes:
        envelope = Forger(key=ClientKey.generate()).envelope(
            client=held.client, grant=held.grant, digests=tuple(digests(count, salt=salt))
        )
        return seal(envelope, held.signer)

    async def outcome(salt: str, count: int) -> str:
        found = await outcome_of(redis, await enqueue(redis, "acme", payload(sealed(salt, count))))
        return found.reason if isinstance(found, SigningError) else "signed"

    assert await outcome("a", 60) == "signed"
    assert await outcome("a", 60) == "signed"
    assert await outcome("b", 40) == "grant.exhausted"
    worker.child.kill()
    rig.start_worker()
    assert await outcome("c", 40) == "grant.exhausted"
    assert await outcome("a", 60) == "signed"
    assert await outcome("d", 39) == "signed"
    assert await outcome("e", 1) == "grant.exhausted"
    forged = seal(
        Forger(key=ClientKey.generate()).envelope(client=held.client, grant=held.grant), ClientKey.generate()
    )
    refused = await outcome_of(redis, await enqueue(redis, "acme", payload(forged)))
    assert isinstance(refused, SigningError)
    assert refused.reason == "envelope.signature"
    await redis.aclose()


async def test_an_issuer_is_taken_back_by_a_stop_order_and_by_the_file(
    make_rig: MakeRig, issuer: GrantServer
) -> None:
    """Grants that were given before are refused then, and are good again once the file has the issuer
    active.
    """
    ada = ClientKey.generate()
    rig = make_rig(more={"acme": issuer.block}, service=operator_block("ada", ada))
    allow(rig)
    rig.start_worker()
    async with SigningClient(granted(rig, issuer)) as client:
        await client.sign("release", os.urandom(32), timeout_s=60)
        edit(rig.tenant_file("acme"), "max_digests = 5000", 'max_digests = 5000\nstate = "revoked"')
        await asyncio.to_thread(reload, rig.directory / "sigmill-1.toml")
        with pytest.raises(SigningError) as caught:
            await client.sign("release", os.urandom(32), timeout_s=60)
        assert caught.value.reason == "policy.denied"
        edit(rig.tenant_file("acme"), 'max_digests = 5000\nstate = "revoked"', "max_digests = 5000")
        await asyncio.to_thread(reload, rig.directory / "sigmill-1.toml")
        assert isinstance(await client.sign("release", os.urandom(32), timeout_s=60), Signature)
        key = rig.directory / "ada.key"
        ada.write(key)
        done = await asyncio.to_thread(
            sigmill, "stop", "--config", str(rig.directory / "sigmill-1.toml"), "--operator", "ada", "--operator-key",
            str(key), "--reason", "a test", "--tenant", "acme", "--subject", "repo:acme/app",
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        with pytest.raises(SigningError, match="stops the subject") as caught:
            await client.sign("release", os.urandom(32), timeout_s=60)
        assert caught.value.reason == "client.revoked"
