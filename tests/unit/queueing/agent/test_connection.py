"""A connection answers every message: PKCS#11 as tools use it, and anything else with a return value."""

from __future__ import annotations

import asyncio
import hashlib
import struct
from itertools import count

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from hypothesis import given
from hypothesis import strategies as st

from queueing.agent.connection import Connection
from queueing.agent.cryptoki import Attribute, Mechanism, ObjectClass, Rv
from queueing.agent.rpc.calls import Call
from queueing.agent.rpc.fields import FieldReader
from queueing.agent.token import Token
from queueing.agent.token_objects import TokenKey, objects_of
from queueing.client.signatures import Signature
from queueing.errors import PolicyDenied, QueueUnavailable, SigningError, TokenUnavailable
from queueing.protocol.algorithms import Algorithm
from queueing.protocol.der import digest_info_prefix
from queueing.protocol.public_keys import PublicKey
from tests.support.keys import rsa_key, spki_of
from tests.support.p11_kit import (
    INITIALIZE,
    P11,
    REQUESTS,
    Failed,
    byte_array,
    request,
    room,
    template,
    ulongs,
    wanted,
)

P256 = PublicKey.from_spki(spki_of(ec.generate_private_key(ec.SECP256R1())))
RSA = PublicKey.from_spki(spki_of(rsa_key()))
DIGEST = hashlib.sha256(b"artefact").digest()
R, S = 1 << 200, 7


def token(version: int = 1) -> Token:
    handles = count(1)
    objects = {
        next(handles): found
        for name, key in (("release", P256), ("legacy", RSA))
        for found in objects_of(
            TokenKey(name=name, spec=f"{name}/{version}", public_key=key, algorithms=(), certificates=())
        )
    }
    return Token(objects, (Mechanism.RSA_PKCS, Mechanism.ECDSA))


class Tokens:
    def __init__(self) -> None:
        self.trouble: SigningError | None = None
        self.version = 1

    async def current(self) -> Token:
        if self.trouble is not None:
            raise self.trouble
        return token(self.version)


class Signer:
    """Signs with what it is told; ``asked``: key, algorithm and digest of each call."""

    def __init__(self) -> None:
        self.error: SigningError | None = None
        self.asked: list[tuple[str, Algorithm, bytes]] = []
        self.reported: list[tuple[str, str]] = []
        self.begun, self.open = asyncio.Event(), asyncio.Event()
        self.open.set()

    async def sign(self, key: str, algorithm: Algorithm, digest: bytes) -> Signature:
        self.asked.append((key, algorithm, digest))
        self.begun.set()
        await self.open.wait()
        if self.error is not None:
            self.report(key, self.error)
            raise self.error
        value = encode_dss_signature(R, S) if algorithm.startswith("ECDSA") else bytes(256)
        return Signature(
            signature=value,
            algorithm=algorithm,
            key=key,
            key_version=1,
            public_key_sha256=b"",
            job_id="",
            verified=True,
        )

    def report(self, key: str, error: SigningError) -> None:
        self.reported.append((key, error.reason))


class ConnectionSetup:
    def __init__(self) -> None:
        self.tokens, self.signer = Tokens(), Signer()
        self.connection = Connection(self.tokens, self.signer, "acme")

    async def p11(self) -> P11:
        return await P11(self.connection.answer).open()


@pytest.fixture
def setup() -> ConnectionSetup:
    return ConnectionSetup()


async def test_ecdsa_signatures_are_r_and_s(setup: ConnectionSetup) -> None:
    """PKCS#11 3.1, 6.3.1: both of the curve's width; the version that was shown is the one that signs."""
    signature = await (await setup.p11()).ecdsa("release", DIGEST)
    assert signature == R.to_bytes(32, "big") + S.to_bytes(32, "big")
    assert setup.signer.asked == [("release/1", Algorithm.ECDSA_SHA_256, DIGEST)]


async def test_a_length_is_told_without_a_signature(setup: ConnectionSetup) -> None:
    """Tools ask for the length first: room of 0, and too little room, cost no signature and leave the operation open."""
    p11 = await setup.p11()
    await p11.sign_init(await p11.private_key("legacy"), Mechanism.RSA_PKCS)
    data = digest_info_prefix("sha256") + DIGEST
    assert [await p11.sign(data, 0), await p11.sign(data, 255)] == [256, 256]
    assert setup.signer.asked == []
    assert await p11.sign(data, 256) == bytes(256)
    with pytest.raises(Failed) as failed:
        await p11.sign(data)
    assert failed.value.rv is Rv.OPERATION_NOT_INITIALIZED


@pytest.mark.parametrize(
    "error, rv",
    [
        (PolicyDenied(), Rv.FUNCTION_REJECTED),
        (TokenUnavailable(), Rv.DEVICE_ERROR),
        (SigningError(), Rv.DATA_INVALID),
    ],
)
async def test_an_error_is_a_return_value_and_a_report(
    setup: ConnectionSetup, error: SigningError, rv: Rv
) -> None:
    """A retry as C_SignUpdate, as of pkcs11-tool, gets the same value; the signer is not asked again."""
    p11 = await setup.p11()
    setup.signer.error = error
    with pytest.raises(Failed) as failed:
        await p11.ecdsa("release", DIGEST)
    assert failed.value.rv is rv
    await p11.sign_init(await p11.private_key("release"), Mechanism.ECDSA)
    with pytest.raises(Failed) as failed:
        await p11.call(Call.SIGN_UPDATE, ulongs(p11.session) + byte_array(DIGEST))
    assert failed.value.rv is rv
    assert setup.signer.reported == [("release/1", error.reason)]
    assert len(setup.signer.asked) == 1


@pytest.mark.parametrize("data, rv", [(b"sha-1, twenty bytes.", Rv.DATA_LEN_RANGE)])
async def test_data_that_is_no_digest_is_reported_and_not_sent(
    setup: ConnectionSetup, data: bytes, rv: Rv
) -> None:
    """The key's hash is not the tool's choice."""
    p11 = await setup.p11()
    with pytest.raises(Failed) as failed:
        await p11.ecdsa("release", data)
    assert failed.value.rv is rv
    assert setup.signer.asked == []
    assert setup.signer.reported == [("release/1", "digest.length")]


async def test_a_key_signs_with_its_own_mechanism(setup: ConnectionSetup) -> None:
    """An RSA mechanism with an EC key, a mechanism that hashes, and a public key are refused at C_SignInit."""
    p11 = await setup.p11()
    private = await p11.private_key("release")
    public = await p11.find({Attribute.CLASS: ObjectClass.PUBLIC_KEY.value, Attribute.LABEL: b"release"})
    for handle, mechanism, rv in (
        (private, Mechanism.RSA_PKCS, Rv.KEY_TYPE_INCONSISTENT),
        (private, 0x1044, Rv.MECHANISM_INVALID),
        (public[0], Mechanism.ECDSA, Rv.KEY_HANDLE_INVALID),
        (99, Mechanism.ECDSA, Rv.KEY_HANDLE_INVALID),
    ):
        with pytest.raises(Failed) as failed:
            await p11.sign_init(handle, mechanism)
        assert failed.value.rv is rv


async def test_an_operation_is_ended_by_no_mechanism(setup: ConnectionSetup) -> None:
    """C_SignInit twice is an error, unless the first is cancelled (PKCS#11 3.1, 5.13.1)."""
    p11 = await setup.p11()
    key = await p11.private_key("release")
    await p11.sign_init(key, Mechanism.ECDSA)
    with pytest.raises(Failed) as failed:
        await p11.sign_init(key, Mechanism.ECDSA)
    assert failed.value.rv is Rv.OPERATION_ACTIVE
    await p11.sign_init(key, 0xFFFFFFFF, b"")
    await p11.sign_init(key, Mechanism.ECDSA)


async def test_a_search_gives_handles_in_portions(setup: ConnectionSetup) -> None:
    """C_FindObjects is called until nothing comes; a search in a search is refused."""
    p11 = await setup.p11()
    await p11.call(Call.FIND_OBJECTS_INIT, ulongs(p11.session) + template({}))
    with pytest.raises(Failed) as failed:
        await p11.call(Call.FIND_OBJECTS_INIT, ulongs(p11.session) + template({}))
    assert failed.value.rv is Rv.OPERATION_ACTIVE
    counts = []
    for _ in range(3):
        found = await p11.call(Call.FIND_OBJECTS, ulongs(p11.session) + room(3))
        assert found.byte() == 1
        counts.append(found.u32())
    assert counts == [3, 1, 0]


async def test_a_search_sees_the_keys_of_now(setup: ConnectionSetup) -> None:
    """A connection lasts longer than a version of a key: after a rotation a tool that searches signs with the next one."""
    p11 = await setup.p11()
    before = await p11.private_key("release")
    setup.tokens.version = 2
    await p11.ecdsa("release", DIGEST)
    await p11.sign_init(before, Mechanism.ECDSA)
    await p11.sign(DIGEST)
    assert [key for key, _, _ in setup.signer.asked] == ["release/2"] * 2


async def test_the_end_of_the_library_ends_its_sessions(setup: ConnectionSetup) -> None:
    """C_Finalize (PKCS#11 3.1, 5.4.2), then C_Initialize on the same connection: no session and no login is left."""
    p11 = await setup.p11()
    old = p11.session
    await p11.call(Call.LOGIN, ulongs(old, 1) + byte_array(b"1234"))
    await p11.call(Call.FINALIZE)
    await p11.open()
    with pytest.raises(Failed) as failed:
        await p11.call(Call.GET_SESSION_INFO, ulongs(old))
    assert failed.value.rv is Rv.SESSION_HANDLE_INVALID
    await p11.call(Call.LOGIN, ulongs(p11.session, 1) + byte_array(b"1234"))


async def test_attributes_are_told_one_by_one(setup: ConnectionSetup) -> None:
    """A secret or unknown attribute costs the others nothing."""
    p11 = await setup.p11()
    key = await p11.private_key("release")
    values, rv = await p11.get(key, (Attribute.LABEL, 99), (Attribute.VALUE, 99), (Attribute.SIGN, 1))
    assert (values, rv) == ([b"release", None, b"\x01"], Rv.ATTRIBUTE_SENSITIVE)
    with pytest.raises(Failed) as failed:
        await p11.get(99, (Attribute.LABEL, 99))
    assert failed.value.rv is Rv.OBJECT_HANDLE_INVALID


async def test_any_pin_is_right_and_none_is_needed(setup: ConnectionSetup) -> None:
    """Some tools log in whatever the token says; a second login is told as PKCS#11 has it."""
    p11 = await setup.p11()

    async def state() -> int:
        info = await p11.call(Call.GET_SESSION_INFO, ulongs(p11.session))
        assert info.ulong() == 1
        return info.ulong()

    login = ulongs(p11.session, 1) + byte_array(b"1234")
    assert await state() == 0
    await p11.call(Call.LOGIN, login)
    assert await state() == 1
    with pytest.raises(Failed) as failed:
        await p11.call(Call.LOGIN, login)
    assert failed.value.rv is Rv.USER_ALREADY_LOGGED_IN
    await p11.call(Call.LOGOUT, ulongs(p11.session))
    assert await state() == 0


async def test_token_and_mechanisms_are_described(setup: ConnectionSetup) -> None:
    """The label is the same on every build host; only mechanisms that take digests are offered, for signing."""
    p11 = await setup.p11()
    info = await p11.call(Call.GET_TOKEN_INFO, ulongs(1))
    assert info.array().rstrip() == b"sigmill"
    assert (
        not struct.unpack(">Q", info.take(28 + 24 + 28)[-8:])[0] & 0x4
    )  # no CKF_LOGIN_REQUIRED behind the texts
    listed = await p11.call(Call.GET_MECHANISM_LIST, ulongs(1) + room(0))
    assert (listed.byte(), listed.u32()) == (0, 2)
    mechanism = await p11.call(Call.GET_MECHANISM_INFO, ulongs(1, Mechanism.ECDSA))
    assert (mechanism.ulong(), mechanism.ulong(), mechanism.ulong() & 0x800) == (256, 521, 0x800)
    with pytest.raises(Failed) as failed:
        await p11.call(Call.GET_MECHANISM_INFO, ulongs(1, 0x40))
    assert failed.value.rv is Rv.MECHANISM_INVALID


async def test_a_directory_that_is_away_is_reported(setup: ConnectionSetup) -> None:
    """The tool sees a device error when it connects; the reason is in the report."""
    setup.tokens.trouble = QueueUnavailable("Redis is away")
    with pytest.raises(Failed) as failed:
        await setup.p11()
    assert failed.value.rv is Rv.DEVICE_ERROR
    assert setup.signer.reported == [("", "queue.unavailable")]


async def test_a_signature_does_not_hold_up_other_calls(setup: ConnectionSetup) -> None:
    """A JVM signs in many threads over one connection."""
    p11 = await setup.p11()
    setup.signer.open.clear()
    signing = asyncio.create_task(p11.ecdsa("release", DIGEST))
    await setup.signer.begun.wait()
    await p11.call(Call.GET_SESSION_INFO, ulongs(p11.session))
    assert not signing.done()
    setup.signer.open.set()
    assert len(await signing) == 64


async def test_nothing_is_answered_before_the_handshake(setup: ConnectionSetup) -> None:
    """Each call gets an error, and so does a handshake of another protocol."""
    for message in (request(Call.GET_TOKEN_INFO, ulongs(1)), request(Call.OPEN_SESSION, ulongs(1, 4))):
        answer = FieldReader(await setup.connection.answer(message))
        assert answer.u32() == 0
    wrong = request(Call.INITIALIZE, byte_array(b"OTHER-PROTOCOL") + b"\x00" + byte_array(b"\x00"))
    assert FieldReader(await setup.connection.answer(wrong)).u32() == 0


GOOD = [
    INITIALIZE,
    request(Call.OPEN_SESSION, ulongs(1, 4)),
    request(Call.FIND_OBJECTS_INIT, ulongs(1) + template({Attribute.TOKEN: True})),
    request(Call.FIND_OBJECTS, ulongs(1) + room(9)),
    request(Call.FIND_OBJECTS_FINAL, ulongs(1)),
    request(Call.GET_ATTRIBUTE_VALUE, ulongs(1, 1) + wanted((Attribute.LABEL, 99))),
    request(Call.SIGN_INIT, ulongs(1) + struct.pack(">I", Mechanism.ECDSA) + ulongs(1)),
    request(Call.SIGN, ulongs(1) + byte_array(DIGEST) + room(64)),
    request(Call.SIGN_UPDATE, ulongs(1) + byte_array(DIGEST)),
    request(Call.CLOSE_SESSION, ulongs(1)),
]


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A message of a tool: whole, cut, with bytes changed, or any other bytes."""
    message = draw(st.sampled_from(GOOD))
    match draw(st.sampled_from(["whole", "cut", "changed", "longer", "any fields", "any"])):
        case "cut":
            return message[: draw(st.integers(0, len(message)))]
        case "changed":
            at = draw(st.integers(0, len(message) - 1))
            return message[:at] + draw(st.binary(min_size=1, max_size=8)) + message[at + 1 :]
        case "longer":
            return message + draw(st.binary(max_size=64))
        case "any fields":
            return request(draw(st.sampled_from(list(REQUESTS))), draw(st.binary(max_size=64)))
        case "any":
            return draw(st.binary(max_size=128))
        case _:
            return message


@given(st.lists(damaged(), max_size=30))
async def test_any_messages_in_any_order_are_answered(messages: list[bytes]) -> None:
    """Cut, repeated, reordered and changed messages get an answer each, and the next tool is served as ever."""
    setup = ConnectionSetup()
    for message in messages:
        answer = FieldReader(await setup.connection.answer(message))
        assert answer.u32() in (0, *Call)
    assert len(await (await setup.p11()).ecdsa("release", DIGEST)) == 64
