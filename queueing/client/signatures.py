"""Signatures, and outcomes of digests."""

from __future__ import annotations

from typing import Final

import msgspec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from queueing.errors import SigningError
from queueing.protocol.algorithms import Algorithm

_COORDINATE_BYTES: Final = {
    Algorithm.ECDSA_SHA_256: 32,
    Algorithm.ECDSA_SHA_384: 48,
    Algorithm.ECDSA_SHA_512: 66,  # P-521: 521 bits
}


class Signature(msgspec.Struct, frozen=True, kw_only=True):
    """A signature and what made it. ECDSA is DER; ``raw()`` gives r || s.

    ``public_key_sha256``: fingerprint of the key's SPKI. ``verified``: this client has verified it against
    the digest and the key directory; False where the digest is not known (``wait`` with a bare job id) or
    ``verify_signatures`` is off.

    ``receipt``: proof that the service's record has this digest and signature, one text of at most 2.5 kB (C2SP tlog-proof,
    ``queueing.transparency.receipts``), verified; None unless it was asked for. ``receipt_missing``: why one that was asked for
    is missing (``ReceiptMissing``), or false (``ProofInvalid``); the signature is good nevertheless.
    """

    signature: bytes
    algorithm: Algorithm
    key: str
    key_version: int
    public_key_sha256: bytes
    job_id: str
    verified: bool
    receipt: bytes | None = None
    receipt_missing: SigningError | None = None

    def raw(self) -> bytes:
        """ECDSA as r || s of fixed width (64, 96, 132 bytes; IEEE P1363); other signatures as they are."""
        width = _COORDINATE_BYTES.get(self.algorithm)
        if width is None:
            return self.signature
        r, s = decode_dss_signature(self.signature)
        return r.to_bytes(width, "big") + s.to_bytes(width, "big")


Outcome = Signature | SigningError
"""Each digest ends as exactly one of these."""
