"""From a CI's token to a signature: issuer, queue, worker and lane, each as it runs, and no key on the build host."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

from queueing.errors import SigningError
from queueing.protocol.grants.grant import read_grant
from tests.support.farm.forging import Forger, enqueue, outcome_of, payload
from tests.support.hsm.softhsm import SoftHsm
from tests.support.issuer.build import Build
from tests.support.issuer.running import RunningIssuer
from tests.support.rig.operator import edit, reload
from workers.dev.tenants import AUDIENCE

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.rig.rig import MakeRig

IDENTITIES = """
[issuers.ci]
public_key = "{public_key}"
expires = 2099-01-01T00:00:00Z
max_digests = 50

[[keys.release.identities]]
issuer_url = "{issuer_url}"
audience = "{audience}"
claims = {{ repository_id = "4711" }}
patterns = {{ ref = "refs/heads/*" }}
"""


async def test_a_token_signs_by_its_grant_and_by_nothing_else(make_rig: MakeRig, tmp_path: Path) -> None:
    """The build's key signs under the grant; a thief of token and grant has no key, and a revoked issuer ends it all."""
    rig = make_rig()
    folder = tmp_path / "issuer"
    folder.mkdir()
    running = RunningIssuer(
        folder, SoftHsm(folder / "softhsm"), audience=AUDIENCE, tenants_dir=rig.directory / "tenants"
    )
    tenant = rig.tenant_file("acme")
    edit(tenant, 'clients = ["*"]', 'clients = []\nissuers = ["ci"]')
    provider = running.provider
    tenant.write_text(
        tenant.read_text()
        + IDENTITIES.format(
            public_key=running.site.public_key, issuer_url=provider.issuer_url, audience=provider.audience
        )
    )
    rig.start_worker()
    redis = rig.connect()
    with running:
        running.start()
        build, thief = Build(), Build()
        token = provider.token()
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
