"""Signatures cover content and settings as RFC 4880 has it, and certificates carry them."""

from __future__ import annotations

import hashlib
import struct

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from queueing.agent.openpgp.certificate import CertificateRequest, primary_key
from queueing.agent.openpgp.packets import framed_key, mpi, read_certificate
from queueing.agent.openpgp.signature import BINARY, SignatureMaker
from queueing.client.signatures import Signature
from queueing.errors import AlgorithmMismatch
from queueing.protocol.algorithms import Algorithm
from queueing.protocol.public_keys import PublicKey
from tests.support.keys import PrivateKey, rsa_key, sign_digest, spki_of

RSA = rsa_key()
CURVES = [ec.generate_private_key(curve) for curve in (ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1())]
CREATED_S = 1_700_000_000


class Client:
    """Signs with a key in memory; ``asked``: algorithm and digest; ``signed``: signatures as of PKCS#11."""

    def __init__(self, key: PrivateKey) -> None:
        self._key = key
        self.asked: list[tuple[Algorithm, bytes]] = []
        self.signed: list[bytes] = []

    async def sign(self, key: str, digest: bytes, algorithm: Algorithm, *, timeout_s: float) -> Signature:
        self.asked.append((algorithm, digest))
        made = Signature(
            signature=sign_digest(self._key, algorithm, digest),
            algorithm=algorithm,
            key=key,
            key_version=1,
            public_key_sha256=b"",
            job_id="",
            verified=True,
        )
        self.signed.append(made.raw())
        return made


def test_the_digest_covers_content_settings_and_their_length() -> None:
    """RFC 4880, 5.2.4: the trailer is 04 FF and the length of the hashed part."""
    key = primary_key(PublicKey.from_spki(spki_of(RSA)), CREATED_S)
    maker = SignatureMaker(BINARY, key, "sha256", CREATED_S + 5)
    content = maker.begin()
    content.update(b"artefact")
    unfinished = maker.after(content)
    trailer = b"\x04\xff" + struct.pack(">I", len(unfinished.hashed))
    assert unfinished.digest == hashlib.sha256(b"artefact" + unfinished.hashed + trailer).digest()
    assert key.fingerprint in unfinished.hashed
    written = unfinished.finish(b"\x80" + bytes(255))
    assert unfinished.digest[:2] + b"\x08\x00\x80" in written


@pytest.mark.parametrize("key", [RSA, *CURVES], ids=["RSA", "P-256", "P-384", "P-521"])
async def test_a_certificate_is_certified_by_its_own_key(
    key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey,
) -> None:
    """One signature over key, user ID and settings; what is read back is the same key."""
    public = PublicKey.from_spki(spki_of(key))
    client = Client(key)
    request = CertificateRequest(spec="release/1", public_key=public, user_id="A <a@b>", created_s=CREATED_S)
    certificate = await request.certificate(client, 5.0)
    read, user_ids = read_certificate(certificate)
    assert (read, user_ids) == (primary_key(public, CREATED_S), ["A <a@b>"])
    ((algorithm, digest),) = client.asked
    _, settings, rest = certificate.partition(b"A <a@b>")[2].partition(b"\x04\x13")
    hashed = settings + rest[: 4 + int.from_bytes(rest[2:4])]
    covered = framed_key(read.body) + b"\xb4" + struct.pack(">I", 7) + b"A <a@b>"
    trailer = b"\x04\xff" + struct.pack(">I", len(hashed))
    assert digest == hashlib.new(read.hash_for(None), covered + hashed + trailer).digest()
    (raw,) = client.signed
    numbers = [raw] if algorithm.startswith("RSA") else [raw[: len(raw) // 2], raw[len(raw) // 2 :]]
    assert certificate.endswith(digest[:2] + b"".join(map(mpi, numbers)))
    assert algorithm in public.algorithms
    assert "PSS" not in algorithm


def test_the_date_is_part_of_the_fingerprint() -> None:
    """RFC 4880, 12.2: the same date gives the same fingerprint, another one another."""
    public = PublicKey.from_spki(spki_of(RSA))
    first, again, later = (primary_key(public, s).fingerprint for s in (CREATED_S, CREATED_S, CREATED_S + 1))
    assert first == again
    assert first != later


def test_ed25519_keys_have_no_certificate() -> None:
    """They sign messages in Sigmill, and OpenPGP's EdDSA signs another one."""
    public = PublicKey.from_spki(spki_of(ed25519.Ed25519PrivateKey.generate()))
    with pytest.raises(AlgorithmMismatch):
        primary_key(public, CREATED_S)
