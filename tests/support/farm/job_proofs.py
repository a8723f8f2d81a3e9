"""Proofs of jobs in logs of any size: a log in which all entries are the same has the roots of its subtrees by their level."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from queueing.transparency.checkpoints import Checkpoint, sign_checkpoint
from queueing.transparency.commitments import Item, items_root
from queueing.transparency.entries import OutcomeEntry, encode_entry
from queueing.transparency.job_proofs import JobProof
from queueing.transparency.merkle import leaf_hash, node_hash
from queueing.transparency.notes import Ed25519NoteKey, sign_note
from queueing.transparency.origin_statements import OriginStatement
from queueing.transparency.proofs import inclusion_proof, range_root
from queueing.transparency.receipts import TrustedKeys
from queueing.transparency.short_statements import shortened
from tests.support.keys import EcdsaNoteKey

SALT = bytes(range(16))


class SameLeaves:
    """Hashes of a tree whose leaves are all the same."""

    def __init__(self, leaf: bytes) -> None:
        self._roots = [leaf]

    def subtree(self, level: int, index: int) -> bytes:
        while len(self._roots) <= level:
            self._roots.append(node_hash(self._roots[-1], self._roots[-1]))
        return self._roots[level]


def items_of(digests: Sequence[bytes], signatures: Sequence[bytes]) -> list[Item]:
    """Items of a job of which everything was signed."""
    pairs = zip(digests, signatures, strict=True)
    return [
        Item(number, digest, hashlib.sha256(signature).digest())
        for number, (digest, signature) in enumerate(pairs)
    ]


@dataclass(kw_only=True)
class Log:
    """A log of ``tenant`` with ``size`` entries, whose key ``service`` has certified at ``certified_at``."""

    tenant: str = "acme"
    audience: str = "prod"
    size: int = 1
    certified_at: int = 1
    key: Ed25519PrivateKey = field(default_factory=Ed25519PrivateKey.generate)
    service: EcdsaNoteKey = field(default_factory=lambda: EcdsaNoteKey("sigmill/prod/service"))

    @property
    def origin(self) -> str:
        return f"sigmill/prod/{self.tenant}/0123456789abcdef"

    @property
    def trusted(self) -> TrustedKeys:
        """What a client pins."""
        return TrustedKeys(service=[self.service.spki], audience="prod")

    def proof(self, items: Sequence[Item], *, index: int = 0) -> JobProof:
        """Proof of a job with these items."""
        entry = encode_entry(
            OutcomeEntry(
                at_ms=1_764_244_800_000,
                intent=max(index - 1, 0),
                key_version=1,
                public_key_sha256=bytes(32),
                digests=len(items),
                signed=len(items),
                items_root=items_root(SALT, list(items)),
                code="",
            )
        )
        hashes = SameLeaves(leaf_hash(entry))
        signer = Ed25519NoteKey(self.origin, self.key)
        head = Checkpoint(self.origin, self.size, range_root(hashes, 0, self.size))
        return JobProof(
            index=index,
            proof=tuple(inclusion_proof(hashes, index, self.size)),
            checkpoint=sign_checkpoint(head, signer),
            entry=entry,
            salt=SALT,
            statement=self.statement(signer),
        )

    def statement(self, signer: Ed25519NoteKey) -> bytes:
        """Short form of the statement about the key, as long as a real one is."""
        statement = OriginStatement(
            audience=self.audience,
            epoch_key=signer.verifier,
            head=Checkpoint(self.origin, self.certified_at, bytes(32)),
            follows=Checkpoint("sigmill/prod/acme/fedcba9876543210", self.size, bytes(32)),
            host="signing-host-01.build.example.com",
            build="0.1.0",
            issued=datetime(2026, 11, 27, tzinfo=UTC),
            expires=datetime(2026, 12, 27, tzinfo=UTC),
        )
        return shortened(sign_note(statement.text, self.service))
