"""The attacker controls the worker process but not the lane: it speaks frames to a lane, and gets nothing for it.

The lane is a real one, on a real token; whatever it answers with a signature must be what the tenant's client
authorised, by a key of that tenant, under the newest rules that this lane has seen.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import struct
import time
from collections.abc import AsyncIterator
from dataclasses import replace

import msgspec
import pytest

from queueing.errors import ResultInvalid
from queueing.protocol.algorithms import DEFAULT_FOR_KEY, Algorithm, KeyKind
from queueing.protocol.client_keys import ClientKey
from queueing.protocol.key_directory import encode_signed, open_directory
from queueing.protocol.public_keys import PublicKey
from queueing.unix_time import unix_ms
from tests.support.farm.forging import Forger
from tests.support.rig.lane_handle import PATIENCE_S, LaneHandle, spec_for
from tests.support.rig.operator import edit, operator_block, order_by
from tests.support.rig.rig import MakeRig, Rig, client_block
from workers.dev.tenants import AUDIENCE, SERVICE_KEY_LABEL
from workers.lanes.canary import CANARY, LEAST_PAUSE_S, canary_digest
from workers.lanes.protocol import (
    EnvelopeSlice,
    SignDirectory,
    SignedCanary,
    SignedDirectory,
    SliceOutcome,
    encode_frame,
)

TWO = {"acme": KeyKind.P256, "globex": KeyKind.P256}
HOUR_MS = 3_600_000
TRIES = 5
ADA = ClientKey.generate()
GONE = ClientKey.generate()


@pytest.fixture
def rig(make_rig: MakeRig) -> Rig:
    more = {"acme": client_block("gone", GONE, state="revoked")}
    return make_rig(tenants=TWO, more=more, service=operator_block("ada", ADA))


@pytest.fixture
async def lane(rig: Rig) -> AsyncIterator[LaneHandle]:
    async with LaneHandle(spec_for(rig, "acme", sessions=2)) as handle:
        yield handle


@pytest.fixture
def acme(rig: Rig) -> Forger:
    return Forger(key=rig.keys["acme"])


async def ask(lane: LaneHandle, sealed: bytes, first: int = 0, count: int = 1) -> SliceOutcome:
    (outcome,) = (await lane.sign([EnvelopeSlice(sealed, first, count)])).items
    return outcome


def code(outcome: SliceOutcome) -> str | None:
    """Code of the error for which nothing was signed; None if something was."""
    if outcome.error is not None:
        return outcome.error.code
    return None if any(outcome.signatures) else "no signature"


async def test_only_what_the_tenant_authorised_is_signed(rig: Rig, lane: LaneHandle, acme: Forger) -> None:
    """Forged, cross-tenant, re-targeted, expired, altered: each has its code, and the good one is still signed."""
    globex = Forger(key=rig.keys["globex"], tenant="globex")
    good = acme.seal()
    body, signature = msgspec.msgpack.decode(good)
    digest = acme.envelope().digests[0]
    rows = {
        "signed by a stranger": (Forger(key=ClientKey.generate()).seal(), "envelope.signature"),
        "signed by another tenant's client": (Forger(key=rig.keys["globex"]).seal(), "envelope.signature"),
        "another tenant's envelope": (globex.seal(), "envelope.audience"),
        "by a revoked client": (Forger(key=GONE).seal(client="gone"), "client.revoked"),
        "expired": (
            acme.seal(issued_at_ms=unix_ms() - 2 * HOUR_MS, expires_at_ms=unix_ms() - HOUR_MS),
            "job.expired",
        ),
        "for another cluster": (acme.seal(audience="elsewhere"), "envelope.audience"),
        "without a signature": (msgspec.msgpack.encode([body, b""]), "envelope.signature"),
        "another body under a good signature": (
            msgspec.msgpack.encode([msgspec.msgpack.decode(acme.seal(digests=(digest,)))[0], signature]),
            "envelope.signature",
        ),
        "a key of another tenant": (acme.seal(key="globex"), "key.unknown"),
    }
    for name, (sealed, expected) in rows.items():
        assert code(await ask(lane, sealed)) == expected, name
    assert code(await ask(lane, good)) is None


async def test_an_envelope_that_was_verified_vouches_for_no_other_bytes(
    lane: LaneHandle, acme: Forger
) -> None:
    """The lane remembers what it verified by all of its bytes, and ranges outside it are nobody's digests."""
    digests = tuple(os.urandom(32) for _ in range(4))
    sealed = acme.seal(digests=digests)
    body, signature = msgspec.msgpack.decode(sealed)
    assert code(await ask(lane, sealed, 0, 2)) is None
    other = acme.seal(digests=(os.urandom(32), *digests[1:]))
    mixed = msgspec.msgpack.encode([msgspec.msgpack.decode(other)[0], signature])
    assert code(await ask(lane, mixed, 0, 2)) == "envelope.signature"
    bent = signature[:-1] + bytes([signature[-1] ^ 1])
    assert code(await ask(lane, msgspec.msgpack.encode([body, bent]), 2, 2)) == "envelope.signature"
    for first, count in ((4, 1), (-1, 1), (0, 5), (3, 2), (0, 0), (2, -1), (2**40, 1)):
        assert code(await ask(lane, sealed, first, count)) == "envelope.malformed"
    assert code(await ask(lane, sealed, 2, 2)) is None


async def test_a_lane_started_for_the_wrong_token_signs_nothing(rig: Rig, acme: Forger) -> None:
    """acme's rules with globex' PIN: acme's key is not in that token, and globex' envelopes are not acme's."""
    spec = replace(spec_for(rig, "globex", sessions=1), tenant="acme")
    async with LaneHandle(spec) as handle:
        assert code(await ask(handle, acme.seal())) == "token.unavailable"
        globex = Forger(key=rig.keys["globex"], tenant="globex")
        assert code(await ask(handle, globex.seal())) == "envelope.audience"


async def test_the_services_lane_signs_no_envelopes_and_a_tenants_no_directories(
    rig: Rig, lane: LaneHandle, acme: Forger
) -> None:
    """A signature of the one kind can never stand for the other."""
    connection = lane._connection
    assert connection is not None
    connection.writer.write(encode_frame(SignDirectory(1, "acme", unix_ms(), unix_ms() + HOUR_MS)))
    answer = await lane._read()
    assert isinstance(answer, SignedDirectory)
    assert (answer.signed, answer.error is not None) == (b"", True)
    spec = replace(spec_for(rig, "service", sessions=1), tenant=None)
    async with LaneHandle(spec) as service:
        assert code(await ask(service, acme.seal())) == "envelope.malformed"


async def test_a_directory_expires_within_the_services_time_to_live(rig: Rig) -> None:
    """A directory never outlives the lane's own limit: one without end would outlive every revocation."""
    spec = replace(spec_for(rig, "service", sessions=1), tenant=None)
    year_2999 = 32_472_144_000_000
    async with LaneHandle(spec) as service:
        assert service._connection is not None
        service._connection.writer.write(encode_frame(SignDirectory(1, "acme", year_2999, year_2999)))
        answer = await service._read()
    assert isinstance(answer, SignedDirectory)
    key = PublicKey.from_spki(rig.tokens["service"].keys[SERVICE_KEY_LABEL].spki)
    shown = open_directory(
        answer.signed, audience=AUDIENCE, tenant="acme", pinned=[key], newest_epoch=0, now_ms=unix_ms()
    )
    assert shown.issued_at_ms <= unix_ms()
    assert shown.expires_at_ms <= unix_ms() + 7 * 24 * HOUR_MS


async def code_at_once(lane: LaneHandle, before_s: float) -> str | None:
    """Code of the refusal of a canary right behind the one of this time; where a busy machine let the pause pass before it, the next is such a one."""
    for _ in range(TRIES):
        asked_s = time.monotonic()
        answer = await lane.canary("release", 1)
        if answer.error is not None:
            return answer.error.code
        assert time.monotonic() - before_s >= LEAST_PAUSE_S, "it was signed within the pause"
        before_s = asked_s
    return None


async def test_a_canary_is_one_constant_for_every_caller(rig: Rig, lane: LaneHandle, acme: Forger) -> None:
    """A request names a key of this lane. What comes back is over the constant; all else has its refusal."""
    digest = canary_digest(Algorithm.ECDSA_SHA_256)
    key = rig.tokens["acme"].keys["acme.release.v1"]
    asked_s = time.monotonic()
    signed = await lane.canary("release", 1)
    PublicKey.from_spki(key.spki).verify(Algorithm.ECDSA_SHA_256, digest, signed.signature)
    assert await code_at_once(lane, asked_s) == "limit.rate"
    refused = {
        "another tenant's key": ("globex", 1, "key.unknown"),
        "the service's key": ("service", 1, "key.unknown"),
        "a version that is not there": ("release", 2, "key.unknown"),
    }
    for name, (what, version, expected) in refused.items():
        answer = await lane.canary(what, version)
        assert (answer.signature, answer.error and answer.error.code) == (b"", expected), name
    await lane.reload(order_by(ADA, scope="key", name="release")[1], files=False)
    answer = await lane.canary("release", 1)
    assert (answer.signature, answer.error and answer.error.code) == (b"", "key.disabled")


async def test_a_canary_with_more_in_it_signs_no_more(rig: Rig, lane: LaneHandle) -> None:
    """A frame with a digest, an envelope or an algorithm behind the key: the constant is signed all the same."""
    connection = lane._connection
    assert connection is not None
    key = PublicKey.from_spki(rig.tokens["acme"].keys["acme.release.v1"].spki)
    body = msgspec.msgpack.encode(["SignCanary", 77, "release", 1, os.urandom(32), "ECDSA_SHA_384"])
    connection.writer.write(struct.pack(">I", len(body)) + body)
    answer = await lane._read()
    assert isinstance(answer, SignedCanary)
    key.verify(Algorithm.ECDSA_SHA_256, canary_digest(Algorithm.ECDSA_SHA_256), answer.signature)


async def test_the_services_canary_is_no_directory(rig: Rig) -> None:
    """Its lane signs the constant whatever key is named, and its signature opens no directory."""
    spec = replace(spec_for(rig, "service", sessions=1), tenant=None)
    async with LaneHandle(spec) as service:
        signed = await service.canary("release", 1)
    key = PublicKey.from_spki(rig.tokens["service"].keys[SERVICE_KEY_LABEL].spki)
    algorithm = DEFAULT_FOR_KEY[key.kind]
    key.verify(algorithm, canary_digest(algorithm), signed.signature)
    raw = encode_signed(CANARY, signed.signature, key.sha256)
    with pytest.raises(ResultInvalid):
        open_directory(raw, audience="a", tenant="acme", pinned=[key], newest_epoch=0, now_ms=unix_ms())


async def test_a_lane_goes_back_to_no_older_rules(rig: Rig, lane: LaneHandle, acme: Forger) -> None:
    """An old file and a reload get a refusal; the newest rules stay."""
    file = rig.tenant_file("acme")
    old = file.read_text()
    edit(file, "[clients.build-1]", '[clients.build-1]\nstate = "revoked"')
    assert (await lane.reload()).problem == ""
    assert code(await ask(lane, acme.seal())) == "client.revoked"
    for text in (old, file.read_text().replace('state = "revoked"\n', "", 1)):
        file.write_text(text)
        answer = await lane.reload()
        assert (answer.tenant_epoch, "epoch" in answer.problem) == (2, True)
        assert code(await ask(lane, acme.seal())) == "client.revoked"


async def test_a_lane_verifies_stop_orders_itself(lane: LaneHandle, acme: Forger) -> None:
    """A forged one stops nothing, a true one cannot be withdrawn by any frame."""
    forged = order_by(ClientKey.generate())[1]
    await lane.reload(forged, b"\xc1", files=False)
    assert code(await ask(lane, acme.seal())) is None
    await lane.reload(order_by(ADA, scope="key", name="release")[1], files=False)
    assert code(await ask(lane, acme.seal())) == "key.disabled"
    await lane.reload(forged)
    assert code(await ask(lane, acme.seal())) == "key.disabled"


@pytest.mark.parametrize(
    "raw",
    [
        struct.pack(">I", 2**31),
        struct.pack(">I", 5) + b"\xc1\xc1\xc1\xc1\xc1",
        struct.pack(">I", 100_000) + b"\x91" * 100_000,
        struct.pack(">I", 0),
        struct.pack(">I", 12) + msgspec.msgpack.encode(["Exec", "rm -rf"]),
    ],
    ids=["too-long", "rubbish", "deep", "empty", "unknown"],
)
async def test_nonsense_ends_the_lane_and_nothing_else(lane: LaneHandle, raw: bytes) -> None:
    """In doubt a lane is gone: no answer, no signature, no other meaning."""
    connection = lane._connection
    assert connection is not None
    with contextlib.suppress(OSError):
        connection.writer.write(raw)
        await connection.writer.drain()
    async with asyncio.timeout(PATIENCE_S):
        rest = await connection.reader.read()
    assert rest == b""
    assert await lane.exit_code() not in {None, 0}
