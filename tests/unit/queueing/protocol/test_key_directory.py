"""The key directory is believed only from a pinned service key, of this cluster, tenant and epoch."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from queueing.errors import QueueUnavailable, ResultInvalid
from queueing.protocol.algorithms import DEFAULT_FOR_KEY
from queueing.protocol.key_directory import (
    KeyDirectory,
    directory_digest,
    encode_directory,
    encode_signed,
    open_directory,
)
from queueing.protocol.public_keys import PublicKey
from tests.support.farm.responder import KeyRing
from tests.support.keys import PrivateKey, sign_digest, spki_of

SERVICE = ec.generate_private_key(ec.SECP256R1())
NOW_MS = 1_000_000


def directory(**changes: object) -> KeyDirectory:
    fields: dict[str, object] = {
        "audience": "prod/eu",
        "tenant": "acme",
        "epoch": 5,
        "issued_at_ms": NOW_MS,
        "expires_at_ms": NOW_MS + 1000,
        "keys": {"release": KeyRing.p256().entry()},
    }
    return KeyDirectory(**{**fields, **changes})  # type: ignore[arg-type]


def signed(body: bytes, key: PrivateKey = SERVICE) -> bytes:
    public = PublicKey.from_spki(spki_of(key))
    algorithm = DEFAULT_FOR_KEY[public.kind]
    return encode_signed(body, sign_digest(key, algorithm, directory_digest(body, algorithm)), public.sha256)


def opened(raw: bytes, *, pinned: tuple[PrivateKey, ...] = (SERVICE,), newest_epoch: int = 5) -> KeyDirectory:
    return open_directory(
        raw,
        audience="prod/eu",
        tenant="acme",
        pinned=[PublicKey.from_spki(spki_of(key)) for key in pinned],
        newest_epoch=newest_epoch,
        now_ms=NOW_MS,
    )


@pytest.mark.parametrize("service", [SERVICE, ed25519.Ed25519PrivateKey.generate()])
def test_a_directory_of_the_service_is_opened(service: PrivateKey) -> None:
    """Signed by either of two pinned keys, as at the service key's rollover."""
    made = directory()
    assert opened(signed(encode_directory(made), service), pinned=(SERVICE, service)) == made


@pytest.mark.parametrize("changes", [{"audience": "prod/us"}, {"tenant": "other"}, {"epoch": 4}])
def test_another_place_or_an_older_epoch_is_refused(changes: dict[str, object]) -> None:
    """Another cluster, another tenant, an older epoch: good signatures do not help."""
    with pytest.raises(ResultInvalid):
        opened(signed(encode_directory(directory(**changes))))


def test_an_expired_directory_is_waited_out() -> None:
    """No worker has renewed it: refused, but a worker that starts will."""
    with pytest.raises(QueueUnavailable, match="expired"):
        opened(signed(encode_directory(directory(expires_at_ms=NOW_MS - 1))))


def test_a_foreign_signer_is_refused() -> None:
    """Signed by a key that is not pinned."""
    with pytest.raises(ResultInvalid, match="pinned"):
        opened(signed(encode_directory(directory()), ec.generate_private_key(ec.SECP256R1())))


def test_damage_is_refused() -> None:
    """A flipped bit of any byte, and any prefix."""
    raw = signed(encode_directory(directory()))
    for position in range(len(raw)):
        damaged = bytearray(raw)
        damaged[position] ^= 1
        with pytest.raises(ResultInvalid):
            opened(bytes(damaged))
        with pytest.raises(ResultInvalid):
            opened(raw[:position])


@pytest.mark.parametrize(
    "changes, pinned, hint",
    [
        ({"audience": "prod/us"}, SERVICE, "`audience` and `tenant`"),
        ({"tenant": "globex"}, SERVICE, "`audience` and `tenant`"),
        ({}, ec.generate_private_key(ec.SECP256R1()), "`service_public_keys`"),
    ],
)
def test_a_mistake_in_client_toml_is_named(changes: dict[str, object], pinned: PrivateKey, hint: str) -> None:
    """Most such directories are genuine, and client.toml has a wrong name or key: the hint begins with that."""
    with pytest.raises(ResultInvalid) as caught:
        open_directory(
            signed(encode_directory(directory(**changes))),
            audience="prod/eu",
            tenant="acme",
            pinned=[PublicKey.from_spki(spki_of(pinned))],
            newest_epoch=0,
            now_ms=NOW_MS,
        )
    assert hint in caught.value.hint
