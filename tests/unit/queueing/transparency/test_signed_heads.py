"""A signed head proves by the service's public key alone which head a log had; anything else is refused in a sentence."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from queueing.errors import ProofInvalid
from queueing.transparency.checkpoints import Checkpoint, sign_checkpoint
from queueing.transparency.notes import Ed25519NoteKey, sign_note
from queueing.transparency.origin_statements import OriginStatement
from queueing.transparency.signed_heads import MAX_HEAD_BYTES, SignedHead, read_signed_head
from tests.support.keys import EcdsaNoteKey

ORIGIN = "sigmill/prod/acme/0123456789abcdef"
OTHER = "sigmill/prod/acme/fedcba9876543210"
SERVICE = EcdsaNoteKey("sigmill/prod/service")
KEY, OTHER_KEY = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()


def made(
    *,
    size: int = 30,
    begins: int = 7,
    key: Ed25519PrivateKey = KEY,
    origin: str = ORIGIN,
    about: str = ORIGIN,
    service: EcdsaNoteKey = SERVICE,
) -> SignedHead:
    """Head of ``size`` entries signed by ``key`` as ``origin``; ``service`` certifies ``KEY`` for the log ``about`` from ``begins`` on."""
    statement = OriginStatement(
        audience="prod",
        epoch_key=Ed25519NoteKey(about, KEY).verifier,
        head=Checkpoint(about, begins, b"b" * 32),
        follows=None,
        host="host-1",
        build="1.0",
        issued=datetime(
            2099, 1, 1, tzinfo=UTC
        ),  # a checkpoint has no time: when its key was certified says nothing of it
        expires=datetime(2099, 2, 1, tzinfo=UTC),
    )
    return SignedHead(
        checkpoint=sign_checkpoint(Checkpoint(origin, size, b"r" * 32), Ed25519NoteKey(origin, key)),
        statement=sign_note(statement.text, service),
    )


def head_of(data: bytes, *, audience: str = "prod") -> Checkpoint:
    return read_signed_head(data).verify(SERVICE.verifier, audience=audience, origin=ORIGIN)


def test_a_head_whose_key_the_service_key_certified_is_believed() -> None:
    assert head_of(made().encode()) == Checkpoint(ORIGIN, 30, b"r" * 32)


@pytest.mark.parametrize(
    "head, why",
    [
        (lambda: made(key=OTHER_KEY), "signed by none"),
        (lambda: made(service=EcdsaNoteKey("sigmill/prod/service")), "signed by none"),
        (lambda: made(origin=OTHER), "signed by none"),
        (lambda: made(origin=OTHER, about=OTHER), "the statement is about"),
        (lambda: made(size=6), "has 6 entries, and its key begins at 7"),
        (lambda: made(size=2**62 + 1), f"has {2**62 + 1} entries"),
    ],
    ids=["another-key", "another-service", "another-log", "wholly-of-another-log", "before-its-key", "huge"],
)
def test_a_head_that_the_service_key_does_not_stand_for_is_refused(
    head: Callable[[], SignedHead], why: str
) -> None:
    with pytest.raises(ProofInvalid, match=why):
        head_of(head().encode())


def test_a_head_of_another_cluster_is_refused() -> None:
    with pytest.raises(ProofInvalid, match="the statement is of the cluster 'prod'"):
        head_of(made().encode(), audience="test")


NONSENSE = {
    "empty": b"",
    "text": b"sigmill/prod/acme/0123456789abcdef\n30\n",
    "not-utf-8": b"\xff\xfe",
    "foreign-type": b"\xc1",
    "nested": b"\x91" * 2000,
    "a-number": msgspec.msgpack.encode(-7),
    "doubled": made().encode() * 2,
    "padded": made().encode() + b"\0",
    "cut": made().encode()[:-1],
    "later-version": msgspec.msgpack.encode([2, b"", b""]),
    "empty-notes": msgspec.msgpack.encode([1, b"", b""]),
    "notes-not-utf-8": msgspec.msgpack.encode([1, b"\xff\n\n\xff\n", b"\xff\n\n\xff\n"]),
    "too-large": msgspec.msgpack.encode([1, b"x" * MAX_HEAD_BYTES, b""]),
}


@pytest.mark.parametrize("name", NONSENSE)
def test_what_is_no_signed_head_is_refused_in_a_sentence(name: str) -> None:
    with pytest.raises(ProofInvalid):
        head_of(NONSENSE[name])


def test_no_flipped_byte_makes_another_head() -> None:
    """Signatures of ECDSA and Ed25519 are over every line; of the rest msgpack's lengths are all."""
    whole = made().encode()
    for at in range(len(whole)):
        damaged = whole[:at] + bytes([whole[at] ^ 0x01]) + whole[at + 1 :]
        try:
            head = head_of(damaged)
        except ProofInvalid:
            continue
        assert head == Checkpoint(ORIGIN, 30, b"r" * 32), at
