"""False results and older directories in Redis are not believed."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from msgspec.structs import replace

from queueing import Algorithm, Signature, SigningClient
from queueing.errors import (
    ResultInvalid,
    SigningError,
)
from queueing.protocol.jobs import ArqResult
from queueing.protocol.key_directory import KeyState
from queueing.unix_time import unix_ms
from tests.support.farm.farm import Farm, digests
from tests.support.farm.responder import tampered


class TestFalseResults:
    """An attacker who controls Redis can write results; none of them is believed."""

    async def refused(self, farm: Farm, tamper: Callable[[ArqResult], ArqResult]) -> SigningError:
        farm.responder.tamper = tamper
        async with farm.client() as client:
            (outcome,) = [o async for o in client.sign_many("release", digests(1), timeout_s=60)]
        assert isinstance(outcome, SigningError)
        return outcome

    async def test_a_false_signature(self, farm: Farm) -> None:
        """A signature that does not verify is result.invalid."""
        error = await self.refused(
            farm, lambda r: tampered(r, signatures=(b"\x30\x06" + b"\x02\x01\x01" * 2,))
        )
        assert isinstance(error, ResultInvalid)

    async def test_another_content(self, farm: Farm) -> None:
        """A result for other content is refused, good signatures or not."""
        error = await self.refused(farm, lambda r: replace(r, k=replace(r.k, h=b"x" * 16)))
        assert isinstance(error, ResultInvalid)

    @pytest.mark.parametrize(
        "changes",
        [
            {"key": "other"},
            {"key_version": 2},
            {"public_key_sha256": b"x" * 32},
            {"algorithm": "ECDSA_SHA_384"},
            {"signatures": ()},
            {"signatures": (None,)},
            {"signatures": (b"a", b"b")},
        ],
    )
    async def test_what_was_not_asked_for(self, farm: Farm, changes: dict[str, object]) -> None:
        """Another key, version, fingerprint, algorithm or count is refused."""
        error = await self.refused(farm, lambda r: tampered(r, **changes))
        assert isinstance(error, ResultInvalid)

    async def test_a_result_of_a_retired_version(self, farm: Farm) -> None:
        """A version that the directory calls revoked may not have signed."""
        ring = farm.responder.keys["release"]
        ring.versions[2] = ec.generate_private_key(ec.SECP256R1())
        ring.states[2] = "revoked"
        await farm.responder.publish(epoch=2)
        ring.states[2] = "active"
        async with farm.client() as client:
            with pytest.raises(ResultInvalid):
                await client.sign("release", digests(1)[0], timeout_s=60)


@pytest.mark.parametrize("state", ["retired", "revoked"])
async def test_a_running_client_refuses_a_version_revoked_since(farm: Farm, state: KeyState) -> None:
    """Once the directory is refreshed, each kind of call refuses it."""
    ahead_ms = [0]
    async with SigningClient(farm.config, farm.key, now_ms=lambda: unix_ms() + ahead_ms[0]) as client:
        digest = digests(1)[0]
        signature = await client.sign("release", digest, Algorithm.ECDSA_SHA_256)
        job = await client.submit("release", digests(2), Algorithm.ECDSA_SHA_256)
        assert all(isinstance(outcome, Signature) for outcome in await client.wait(job, timeout_s=10))
        farm.responder.keys["release"].states[1] = state
        await farm.responder.publish(epoch=2)
        farm.responder.keys["release"].states[1] = "active"  # an attacker with the key still signs
        ahead_ms[0] = int(farm.config.directory_refresh_s * 1000)
        with pytest.raises(ResultInvalid):
            await client.verify(signature, digest)
        with pytest.raises(ResultInvalid):
            await client.sign("release", digest, Algorithm.ECDSA_SHA_256, timeout_s=10)
        many = [
            o async for o in client.sign_many("release", digests(3), Algorithm.ECDSA_SHA_256, timeout_s=10)
        ]
        assert [type(outcome) for outcome in many] == [ResultInvalid] * 3
        assert [type(outcome) for outcome in await client.wait(job, timeout_s=10)] == [ResultInvalid] * 2
        with pytest.raises(ResultInvalid):
            await client.wait(signature.job_id, timeout_s=10)


async def test_an_older_directory_is_refused_also_after_a_restart(farm: Farm) -> None:
    """The newest epoch seen is remembered in the state file."""
    await farm.responder.publish(epoch=5)
    async with farm.client() as client:
        await client.sign("release", digests(1)[0])
    await farm.responder.publish(epoch=4)
    async with farm.client() as client:
        with pytest.raises(ResultInvalid, match="epoch"):
            await client.sign("release", digests(1)[0])
