"""Plugins as programs over an agent with a real Redis: keys that are not there, digests of other lengths, and its reasons."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import os
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from queueing.agent.agent import AgentSettings, running_agent
from queueing.agent.failures import FailureLog
from queueing.errors import PolicyDenied
from tests.support.farm.farm import Farm

MESSAGE = b"artefact"


class Plugins:
    """Starts plugins as cosign and notation do."""

    def __init__(self, farm: Farm, address: str) -> None:
        self.farm, self.address = farm, address

    async def run(self, module: str, arguments: list[str], stdin: bytes) -> tuple[int, bytes, bytes]:
        code = f"import sys; from queueing.agent.plugins.{module} import main; sys.exit(main())"
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            code,
            *arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={**os.environ, "P11_KIT_SERVER_ADDRESS": self.address},
        )
        out, err = await process.communicate(stdin)
        assert process.returncode is not None
        return process.returncode, out, err

    async def cosign(
        self, method: str, key: str = "release", message: bytes = MESSAGE, **fields: Any
    ) -> dict[str, Any]:
        """The answer to one method."""
        options = {"protocolVersion": "v1", "keyResourceID": key, "hashFunc": fields.pop("hashFunc", 5)}
        options |= {"ctxDeadline": fields.pop("ctxDeadline")} if "ctxDeadline" in fields else {}
        request = {"initOptions": options, "methodName": method, method: fields}
        code, out, err = await self.run("sigstore", ["v1", json.dumps(request)], message)
        answer: dict[str, Any] = json.loads(out)
        assert (code, err) == (int("errorMessage" in answer), b"")
        return answer

    async def notation(self, command: str, **fields: Any) -> dict[str, Any]:
        """The answer to one command, or its error."""
        request = json.dumps({"contractVersion": "1.0", "keyId": "release", **fields}).encode()
        code, out, err = await self.run("notation", [command], request)
        assert b"" in (out, err)
        answer: dict[str, Any] = json.loads(err if code else out)
        return answer


@pytest.fixture
def folder() -> Iterator[Path]:
    """Of a socket: pytest's own folders are too long for one."""
    with TemporaryDirectory(prefix="sigmill-") as name:
        yield Path(name)


@pytest.fixture
async def plugins(farm: Farm, folder: Path) -> AsyncIterator[Plugins]:
    settings = AgentSettings(socket=folder / "agent.sock", keys=None, chains={}, deadline_s=60.0)
    async with farm.client() as client, running_agent(client, settings, FailureLog()) as running:
        yield Plugins(farm, running.address)


async def test_cosigns_methods_fit_together(plugins: Plugins) -> None:
    """The signature verifies by the public key that the plugin returns, and by the plugin; a changed byte does not."""
    public = load_pem_public_key(
        base64.b64decode((await plugins.cosign("publicKey"))["publicKey"]["publicKeyPEM"])
    )
    signature = (await plugins.cosign("signMessage"))["signMessage"]["signature"]
    assert isinstance(public, ec.EllipticCurvePublicKey)
    public.verify(base64.b64decode(signature), MESSAGE, ec.ECDSA(hashes.SHA256()))
    assert await plugins.cosign("verifySignature", signature=signature) == {"verifySignature": {}}
    changed = await plugins.cosign("verifySignature", message=b"artefacu", signature=signature)
    assert "not of the key" in changed["errorMessage"]
    garbage = await plugins.cosign("verifySignature", signature="AAAA")
    assert "not of the key" in garbage["errorMessage"]


async def test_a_given_digest_is_signed_without_the_message(plugins: Plugins) -> None:
    """One of another length is told, with both lengths; nothing is sent to the service."""
    digest = base64.b64encode(hashlib.sha256(MESSAGE).digest()).decode()
    options = {"messageOptions": {"digest": digest}}
    answer = await plugins.cosign("signMessage", message=b"", signOptions=options)
    assert await plugins.cosign("verifySignature", signature=answer["signMessage"]["signature"])
    options = {"messageOptions": {"digest": base64.b64encode(bytes(20)).decode()}}
    answer = await plugins.cosign("signMessage", message=b"", signOptions=options)
    assert "20 bytes; one of SHA-256 has 32" in answer["errorMessage"]
    assert sum(plugins.farm.responder.signed.values()) == 1


@pytest.mark.parametrize(
    "key, problem",
    [
        ("nightly", "shows: "),
        ("release/7", "shows: "),
        ("../release", "no name of a key"),
        ("", "no name of a key"),
    ],
)
async def test_a_key_that_is_not_there_is_told_with_those_that_are(
    plugins: Plugins, key: str, problem: str
) -> None:
    """Both protocols answer with an error of their own form."""
    assert problem in (await plugins.cosign("publicKey", key))["errorMessage"]
    error = await plugins.notation("describe-key", keyId=key)
    assert error["errorCode"] == "VALIDATION_ERROR"
    assert problem in error["errorMessage"]


async def test_the_newest_version_is_found_by_its_number(plugins: Plugins) -> None:
    """KEY/1 and the bare name give the same public key."""
    by_number = await plugins.cosign("publicKey", "release/1")
    assert by_number == await plugins.cosign("publicKey", "release")


async def test_another_hash_than_the_keys_is_told(plugins: Plugins) -> None:
    """A P-256 key signs SHA-256 digests; the error for SHA-512 names both."""
    answer = await plugins.cosign("signMessage", hashFunc=7)
    assert "(P-256) signs SHA-256 digests, and the program wants SHA-512" in answer["errorMessage"]


async def test_the_reason_of_a_denial_is_in_the_plugins_own_answer(plugins: Plugins) -> None:
    """PKCS#11 carries none; the agent tells it to programs of its own."""
    plugins.farm.responder.refuse_next = PolicyDenied("outside its hours")
    assert (await plugins.cosign("signMessage"))["errorMessage"] == "outside its hours [policy.denied]"


async def test_a_deadline_ends_with_a_sentence(plugins: Plugins) -> None:
    """cosign would kill its plugin, and say nothing else than 'signal: killed'."""
    await plugins.farm.responder.pause()
    answer = await plugins.cosign("signMessage", ctxDeadline="2026-01-01T00:00:00.123456789Z")
    assert "--timeout" in answer["errorMessage"]
    plugins.farm.responder.resume()


@pytest.mark.parametrize(
    "fields, code, problem",
    [
        ({"keySpec": "RSA-2048"}, "VALIDATION_ERROR", "is EC-256"),
        ({"hashAlgorithm": "SHA-512"}, "VALIDATION_ERROR", "signs SHA-256"),
        ({"payload": "%%%"}, "VALIDATION_ERROR", "payload is no base64"),
        ({"payload": ""}, "VALIDATION_ERROR", "payload is empty"),
        ({}, "VALIDATION_ERROR", "no certificate"),
    ],
)
async def test_notations_requests_are_checked(
    plugins: Plugins, fields: dict[str, str], code: str, problem: str
) -> None:
    """Each by the specification's code; a key without a certificate is told before it signs."""
    request = {"keySpec": "EC-256", "hashAlgorithm": "SHA-256", "payload": "YQ==", **fields}
    error = await plugins.notation("generate-signature", **request)
    assert (error["errorCode"], problem in error["errorMessage"]) == (code, True), error
    assert sum(plugins.farm.responder.signed.values()) == 0
