"""From a CI's token to a signature: issuer, queue, worker and lane, each as it runs, and no key on the build host."""

from __future__ import annotations

import base64
import hashlib
import os
from typing import TYPE_CHECKING

from queueing import Signature, SigningClient
from queueing.errors import SigningError
from queueing.protocol.grants.grant import read_grant
from tests.support.farm.forging import Forger, enqueue, outcome_of, payload
from tests.support.issuer.build import Build
from tests.support.issuer.granted_service import GrantedService
from tests.support.rig.operator import edit, reload
from tests.support.sigmill_cli import run_sigmill
from workers.dev.tenants import AUDIENCE

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.issuer.running import RunningIssuer
    from tests.support.rig.rig import MakeRig


async def test_a_token_signs_by_its_grant_and_by_nothing_else(make_rig: MakeRig, tmp_path: Path) -> None:
    """The build's key signs under the grant; a thief of token and grant has no key, and a revoked issuer ends it all.

    A thief of an unused token that names no key gets a grant of its identity: its keys, digests and minutes, in
    the log with the token's hash. The build is refused, which tells of the theft.
    """
    service = GrantedService(make_rig, tmp_path / "issuer", most=50)
    rig, running, tenant = service.rig, service.issuer, service.tenant
    redis = rig.connect()
    with service:
        build, thief = Build(), Build()
        token = service.provider.token()
        sealed = base64.b64decode(_grant_to(running, build.request(token, "release", audience=AUDIENCE)))
        grant = read_grant(sealed).grant
        assert grant.max_digests == 50
        stolen = running.post(thief.request(token, "release", audience=AUDIENCE))
        assert stolen[0] == 403

        unused = service.provider.token()
        taken = base64.b64decode(_grant_to(running, thief.request(unused, "release", audience=AUDIENCE)))
        late, answer, _ = running.post(build.request(unused, "release", audience=AUDIENCE))
        assert (late, answer["error"]["code"]) == (403, "identity.refused")
        assert "another key" in answer["error"]["message"]
        assert running.refusals()["replayed"] == 2, "the operator is told of both"
        beyond, _, _ = running.post(thief.request(unused, "other", audience=AUDIENCE))
        assert beyond == 403
    theft = read_grant(taken).grant
    assert (theft.subject, theft.keys, theft.max_digests) == (grant.subject, ("release",), 50)
    assert theft.evidence_sha256 == hashlib.sha256(unused.encode()).digest()
    assert theft.expires_ms - theft.not_before_ms <= 900_000

    async def outcome(by: Build, under: bytes = sealed, count: int = 1) -> object:
        client, digests = read_grant(under).grant.client, tuple(os.urandom(32) for _ in range(count))
        envelope = Forger(key=by.key).seal(client=client, grant=under, digests=digests)
        return await outcome_of(redis, await enqueue(redis, "acme", payload(envelope)))

    assert not isinstance(await outcome(build), SigningError)
    forged = await outcome(thief)
    assert isinstance(forged, SigningError)
    assert forged.reason == "envelope.signature"
    assert not isinstance(await outcome(thief, taken, 50), SigningError), "an unused token"
    exhausted = await outcome(thief, taken)
    assert isinstance(exhausted, SigningError)
    assert exhausted.reason == "grant.exhausted"
    edit(tenant, "max_digests = 50", 'max_digests = 50\nstate = "revoked"')
    reload(rig.directory / "sigmill-1.toml")
    revoked = await outcome(build)
    await redis.aclose()
    assert isinstance(revoked, SigningError)
    assert revoked.denied


def _grant_to(running: RunningIssuer, body: bytes) -> str:
    status, answer, _ = running.post(body)
    assert status == 200, answer
    return str(answer["grant"])


async def test_a_client_with_nothing_but_a_token_file_signs(make_rig: MakeRig, tmp_path: Path) -> None:
    """`sigmill login --check` says what the token gets, and leaves it to the client, which then signs with it."""
    with GrantedService(make_rig, tmp_path / "issuer", most=50) as service:
        token = service.provider.token()
        file = service.client_file(token)
        checked = await run_sigmill("login", "--check", "--config", file)
        assert checked.code == 0, checked
        assert "repo:acme/app:ref:refs/heads/main (github) gets release" in checked.out
        assert 'repository_id: "4711"' in checked.err
        assert token not in checked.out + checked.err
        async with SigningClient.from_file(file) as client:
            digests = [os.urandom(32) for _ in range(200)]
            signed = [each async for each in client.sign_many("release", digests)]
        assert [type(each) for each in signed] == [Signature] * 200
        file = service.client_file(service.provider.token(ref="refs/tags/v1"))
        refused = await run_sigmill("login", "--check", "--config", file)
        assert refused.code == 77
        assert "claim `ref` is" in refused.err
        assert "identity.refused" in refused.err
