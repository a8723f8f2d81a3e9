"""From a CI's token to a signature: issuer, queue, worker and lane, each as it runs, and no key on the build host."""

from __future__ import annotations

import base64
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

    from tests.support.rig.rig import MakeRig


async def test_a_token_signs_by_its_grant_and_by_nothing_else(make_rig: MakeRig, tmp_path: Path) -> None:
    """The build's key signs under the grant; a thief of token and grant has no key, and a revoked issuer ends it all."""
    service = GrantedService(make_rig, tmp_path / "issuer", most=50)
    rig, running, tenant = service.rig, service.issuer, service.tenant
    redis = rig.connect()
    with service:
        build, thief = Build(), Build()
        token = service.provider.token()
        status, answer, _ = running.post(build.request(token, "release", audience=AUDIENCE))
        assert status == 200, answer
        sealed = base64.b64decode(answer["grant"])
        grant = read_grant(sealed).grant
        assert grant.max_digests == 50
        stolen = running.post(thief.request(token, "release", audience=AUDIENCE))
        assert stolen[0] == 403

    async def outcome(by: Build) -> object:
        envelope = Forger(key=by.key).seal(client=grant.client, grant=sealed)
        return await outcome_of(redis, await enqueue(redis, "acme", payload(envelope)))

    assert not isinstance(await outcome(build), SigningError)
    forged = await outcome(thief)
    assert isinstance(forged, SigningError)
    assert forged.reason == "envelope.signature"
    edit(tenant, "max_digests = 50", 'max_digests = 50\nstate = "revoked"')
    reload(rig.directory / "sigmill-1.toml")
    revoked = await outcome(build)
    await redis.aclose()
    assert isinstance(revoked, SigningError)
    assert revoked.denied


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
