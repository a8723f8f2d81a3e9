"""A thief with all that the relay's and the issuer front's processes can read, and with their connections: nothing new is signed.

It has their files, memory, sockets, the tenant's Redis user, every request that passed by, and the front's way to the lane.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import os
import socket
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, BinaryIO

import msgspec
import pytest
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from queueing import SigningClient
from queueing.client.delivery import relay_messages as messages
from queueing.errors import SigningError
from queueing.protocol.client_keys import ClientKey
from queueing.protocol.envelope import read_unverified, seal
from queueing.protocol.grants.grant import MAX_DIGESTS, encode_body, encode_sealed, read_grant, seal_grant
from queueing.protocol.grants.grant_request import encode_json, make_request
from queueing.protocol.jobs import job_id_of
from queueing.protocol.priorities import Priority
from queueing.redis.connection import connect
from queueing.unix_time import unix_ms
from tests.support.farm.forging import enqueue, fresh_id, outcome_of, payload
from tests.support.issuer.build import Build
from tests.support.issuer.granted_service import GrantedService
from tests.support.issuer.running import PIN
from tests.support.rig.operator import make_user
from tests.support.rig.process_memory import holds
from tests.support.rig.processes import open_files
from tests.support.waiting import until, until_async
from workers.dev.tenants import AUDIENCE
from workers.issuer.frames import (
    LENGTH,
    LaneReady,
    Refused,
    RequestGrant,
    decode_answer,
    encode_frame,
    frame_length,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from queueing.protocol.envelope import EnvelopeSigner
    from tests.support.rig.rig import MakeRig
    from workers.issuer.frames import FromLane


class Loot:
    """Values that the thief has: an envelope and its grant as the relay saw them, and the token as the front saw it."""

    def __init__(self, service: GrantedService, sealed: bytes, token: str) -> None:
        self.service = service
        self.sealed = sealed
        self.unverified = read_unverified(sealed)
        assert self.unverified.envelope.grant is not None
        self.grant = read_grant(self.unverified.envelope.grant)
        self.token = token
        self.own = Build()
        self.tls_keys = [
            ClientKey(load_pem_private_key((folder / "server.key").read_bytes(), None))  # type: ignore[arg-type]
            for folder in (service.relay.folder, service.issuer.folder)
        ]

    def envelope(self, signer: EnvelopeSigner, **changes: Any) -> bytes:
        """An envelope of a digest of the thief's, under the stolen grant unless the changes say otherwise."""
        made = msgspec.structs.replace(
            self.unverified.envelope,
            issued_at_ms=unix_ms(),
            idempotency_key=os.urandom(16),
            digests=(os.urandom(32),),
            **changes,
        )
        return seal(made, signer)

    def altered_grant(self, **changes: Any) -> bytes:
        """The stolen grant with other content, under the signature that it has."""
        changed = msgspec.structs.replace(self.grant.grant, **changes)
        return encode_sealed(encode_body(changed), self.grant.signature)

    def with_other_digests(self) -> bytes:
        """The stolen envelope with a digest of the thief's, under the signature that it has."""
        envelope = msgspec.structs.replace(
            self.unverified.envelope, digests=(os.urandom(32),), idempotency_key=os.urandom(16)
        )
        body = msgspec.msgpack.decode(seal(envelope, self.own.key))[0]
        return msgspec.msgpack.encode([body, self.unverified.signature])

    def forgeries(self) -> dict[str, tuple[bytes, str]]:
        """Envelopes by what is forged, with the code of the refusal."""
        own, thief = self.own.key, self.own.public
        forged_grant = seal_grant(
            msgspec.structs.replace(self.grant.grant, client_public_key=thief), ClientKey.generate()
        )
        return {
            "an envelope by another key": (self.envelope(own), "envelope.signature"),
            "an envelope by the relay's TLS key": (self.envelope(self.tls_keys[0]), "envelope.signature"),
            "an envelope by the front's TLS key": (self.envelope(self.tls_keys[1]), "envelope.signature"),
            "an envelope as a client": (self.envelope(own, grant=None, client="build-1"), "envelope.signature"),
            "a grant of another issuer's key": (self.envelope(own, grant=forged_grant), "grant.refused"),
            "a grant of the front's TLS key": (
                self.envelope(own, grant=seal_grant(
                    msgspec.structs.replace(self.grant.grant, client_public_key=thief), self.tls_keys[1])),
                "grant.refused",
            ),
            "a grant for another key": (
                self.envelope(own, grant=self.altered_grant(client_public_key=thief)), "grant.refused",
            ),
            "a grant of more digests": (
                self.envelope(own, grant=self.altered_grant(max_digests=MAX_DIGESTS)), "grant.refused",
            ),
            "a grant of another end": (
                self.envelope(own, grant=self.altered_grant(expires_ms=unix_ms() + 10**9)), "grant.refused",
            ),
            "a grant of another id": (
                self.envelope(own, client="ci." + "0" * 32, grant=self.altered_grant(grant_id=bytes(16))),
                "grant.refused",
            ),
            "the envelope with other digests": (self.with_other_digests(), "envelope.signature"),
        }  # fmt: skip

    def requests(self) -> dict[str, bytes]:
        """Requests to the issuer that get no grant."""
        asked = make_request(
            token=self.token, public_key=self.own.public, signer=self.own.key, audience=AUDIENCE, tenant="acme",
            keys=("release",),
        )  # fmt: skip
        return {
            "the token with another key": encode_json(asked),
            "no token": encode_json(msgspec.structs.replace(asked, token="")),
            "a token with another signature": encode_json(
                msgspec.structs.replace(asked, token=self.service.provider.token()[:-12] + "A" * 12)
            ),
        }


@contextmanager
def lane_of_the_front(service: GrantedService) -> Iterator[tuple[socket.socket, BinaryIO]]:
    """The front's connection to the lane, in the hands of the thief. The lane is one that the host starts."""
    issuer = service.issuer
    issuer.stop()
    issuer.write(issuer=f'socket = "lane.sock"\nfront_uid = {os.getuid()}')
    with (issuer.folder / "lane.log").open("ab") as log:
        process = issuer.spawn("lane", log)
    try:
        with socket.socket(socket.AF_UNIX) as lane:
            place = str(issuer.folder / "lane.sock")
            until(lambda: lane.connect_ex(place) == 0, "the lane listens")
            lane.settimeout(30)
            with lane.makefile("rb") as stream:
                assert isinstance(_read(stream), LaneReady)
                yield lane, stream
    finally:
        process.kill()
        process.wait()


def _read(stream: BinaryIO) -> FromLane:
    return decode_answer(stream.read(frame_length(stream.read(LENGTH.size))))


def submit(service: GrantedService, sealed: bytes) -> None:
    """Submit an envelope to the relay, as everybody can who reaches it."""
    relay = service.relay
    envelope = messages.SubmittedEnvelope(sealed, Priority.NORMAL, receipt=False)
    body = messages.encoded(messages.SubmitRequest("acme", (envelope,)))
    connection = http.client.HTTPSConnection("127.0.0.1", relay.port, timeout=30, context=relay.tls())
    with contextlib.closing(connection):
        connection.request("POST", messages.JOBS, body, {"Content-Type": messages.MESSAGE_TYPE})
        assert connection.getresponse().status == http.client.OK


def refused(service: GrantedService, code: str) -> float:
    """Jobs that the worker has refused with this code, as nobody's."""
    return service.worker.metric("sigmill_unauthenticated_jobs_total", tenant="acme", reason=code)


@pytest.mark.skipif(os.getuid() != 0, reason="only root may read another process' memory")
async def test_a_thief_of_the_edge_gets_nothing_signed(make_rig: MakeRig, tmp_path: Path) -> None:
    """Every forgery is refused with its code and counted, by the relay and written round it; only the build's digests are in the log."""
    service = GrantedService(make_rig, tmp_path / "issuer")
    digests = [os.urandom(32) for _ in range(3)]
    with service:
        user = make_user(service.rig, "--tenant", "acme")
        service.relay.redis = f'unix_socket = "{user.unix_socket}"\nusername = "{user.username}"\npassword_file = "{user.password_file}"'
        service.relay.start()
        token = service.provider.token()
        async with SigningClient.from_file(service.client_file(token, by_relay=True)) as client:
            signed = [await client.sign("release", digest) for digest in digests]
            builder = client._open.builder
            ephemeral = builder.identity._key._key.private_bytes_raw()  # type: ignore[attr-defined]
            assert service.relay.child is not None
            secrets = {"the ephemeral key": ephemeral, "the issuer's PIN": PIN.encode()} | {
                f"the PIN of {name}": each.pin.encode() for name, each in service.rig.tokens.items()
            }
            for pid in (service.relay.child.pid, service.issuer.front_pid):
                assert holds(pid, {"control": str(tmp_path).encode(), **secrets}) == {"control"}
                assert not [file for file in open_files(pid) if "softhsm" in file or "/tokens/" in file]

        redis = connect(user)
        loot = Loot(service, next(service.intents()).sealed, token)
        expected: dict[str, int] = {}
        for name, (sealed, code) in loot.forgeries().items():
            outcome = await outcome_of(redis, await enqueue(redis, "acme", payload(sealed)))
            assert isinstance(outcome, SigningError), name
            assert outcome.reason == code, name
            expected[code] = expected.get(code, 0) + 1
        for name, (sealed, code) in loot.forgeries().items():
            envelope = read_unverified(sealed).envelope
            await asyncio.to_thread(submit, service, sealed)
            job = job_id_of("acme", envelope.idempotency_key).encode()
            outcome = await outcome_of(redis, job)
            assert isinstance(outcome, SigningError), name
            assert outcome.reason == code, name
            expected[code] += 1
        for code, count in expected.items():
            await until_async(lambda code=code, count=count: refused(service, code) == count, code)  # type: ignore[misc]
        replayed = await outcome_of(redis, await enqueue(redis, "acme", payload(loot.sealed), fresh_id()))
        assert not isinstance(replayed, SigningError), "a replay signs what was authorised"
        await redis.aclose()

        before = sum(service.issuer.refusals().values())
        for name, body in loot.requests().items():
            status, answer, _ = service.issuer.post(body)
            assert (status, answer["error"]["code"]) == (403, "identity.refused"), name
        assert sum(service.issuer.refusals().values()) == before + len(loot.requests())
        with lane_of_the_front(service) as (lane, stream):
            for name, body in loot.requests().items():
                lane.sendall(encode_frame(RequestGrant(1, body)))
                assert isinstance(_read(stream), Refused), name
        permitted = service.permitted()
    assert all(each.verified for each in signed)
    assert set(permitted.digests) == set(digests)
