"""OpenPGP signatures of version 4 (RFC 4880, 5.2): what is hashed, and the packet around the signature."""

from __future__ import annotations

import hashlib
import struct
from typing import Final, NamedTuple

from queueing.agent.openpgp.packets import ECDSA, HASHES, SIGNATURE, PrimaryKey, framed_key, mpi, packet

BINARY, TEXT, CERTIFICATION = 0x00, 0x01, 0x13
"""Signature types (RFC 4880, 5.2.1)."""

_CREATED, _KEY_FLAGS, _PREFERRED_HASHES, _ISSUER, _FINGERPRINT = 2, 27, 21, 16, 33
"""Subpackets (RFC 4880, 5.2.3.1; 33: RFC 9580, 5.2.3.35, as GnuPG and Sequoia write it)."""

CERTIFY_AND_SIGN: Final = 0x03


def _subpacket(kind: int, content: bytes) -> bytes:
    return bytes((len(content) + 1, kind)) + content


class UnfinishedSignature(NamedTuple):
    """A signature without its numbers: ``hashed`` is its part that is signed, ``digest`` what the key signs."""

    key: PrimaryKey
    hash_name: str
    hashed: bytes
    digest: bytes

    def finish(self, raw: bytes) -> bytes:
        """The packet; ``raw`` is the signature as PKCS#11 has it: ECDSA r || s."""
        unhashed = _subpacket(_ISSUER, self.key.fingerprint[-8:])
        if self.key.algorithm == ECDSA:
            half = len(raw) // 2
            numbers = mpi(raw[:half]) + mpi(raw[half:])
        else:
            numbers = mpi(raw)
        body = self.hashed + struct.pack(">H", len(unhashed)) + unhashed + self.digest[:2] + numbers
        return packet(SIGNATURE, body)


class SignatureMaker(NamedTuple):
    """Settings of a signature: its type, key, hash and date."""

    kind: int
    key: PrimaryKey
    hash_name: str
    created_s: int

    def begin(self) -> hashlib._Hash:
        """Hash for the content, in pieces."""
        return hashlib.new(self.hash_name)

    def after(self, content: hashlib._Hash) -> UnfinishedSignature:
        """The signature of what was hashed; its own settings are hashed behind it."""
        subpackets = _subpacket(_CREATED, struct.pack(">I", self.created_s))
        subpackets += _subpacket(_FINGERPRINT, b"\x04" + self.key.fingerprint)
        if self.kind == CERTIFICATION:
            subpackets += _subpacket(_KEY_FLAGS, bytes((CERTIFY_AND_SIGN,)))
            subpackets += _subpacket(_PREFERRED_HASHES, bytes((HASHES[self.hash_name],)))
        head = struct.pack(
            ">BBBBH", 4, self.kind, self.key.algorithm, HASHES[self.hash_name], len(subpackets)
        )
        hashed = head + subpackets
        content.update(hashed + b"\x04\xff" + struct.pack(">I", len(hashed)))
        return UnfinishedSignature(self.key, self.hash_name, hashed, content.digest())


def hash_certification(content: hashlib._Hash, key: PrimaryKey, user_id: bytes) -> None:
    """Hash what a certification covers (RFC 4880, 5.2.4)."""
    content.update(framed_key(key.body))
    content.update(b"\xb4" + struct.pack(">I", len(user_id)) + user_id)
