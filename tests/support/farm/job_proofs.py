"""Proofs of jobs in logs of any size: where all other entries are the same, the roots of their subtrees follow from the level."""

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
from queueing.transparency.short_statements import shortened
from queueing.transparency.signed_heads import SignedHead
from queueing.transparency.trusted_keys import TrustedKeys
from tests.support.keys import EcdsaNoteKey

SALT = bytes(range(16))


class SameLeavesButOne:
    """Hashes of a tree whose leaves are all the same but for ``leaf``, which is number ``number``."""

    def __init__(self, leaf: bytes, number: int) -> None:
        self._leaf = leaf
        self._number = number
        self._others = [leaf_hash(b"another entry")]

    def subtree(self, level: int, index: int) -> bytes:
        if self._number >> level == index:
            if not level:
                return self._leaf
            return node_hash(*(self.subtree(level - 1, 2 * index + side) for side in (0, 1)))
        while len(self._others) <= level:
            self._others.append(node_hash(self._others[-1], self._others[-1]))
        return self._others[level]


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

    def proof(
        self, items: Sequence[Item], *, index: int = 0, public_key_sha256: bytes = bytes(32)
    ) -> JobProof:
        """Proof of a job with these items, signed by the key with this hash; an item without a signature was refused."""
        entry = encode_entry(
            OutcomeEntry(
                at_ms=1_764_244_800_000,
                intent=max(index - 1, 0),
                key_version=1,
                public_key_sha256=public_key_sha256,
                digests=len(items),
                signed=sum(bool(item.signature_sha256) for item in items),
                items_root=items_root(SALT, list(items)),
                code="",
            )
        )
        hashes = SameLeavesButOne(leaf_hash(entry), index)
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

    def signed_head(self) -> bytes:
        """The log's head as Redis has it."""
        signer = Ed25519NoteKey(self.origin, self.key)
        note = sign_checkpoint(Checkpoint(self.origin, self.size, bytes(32)), signer)
        return SignedHead(checkpoint=note, statement=self.whole_statement(signer)).encode()

    def statement(self, signer: Ed25519NoteKey) -> bytes:
        """Short form of the statement about the key."""
        return shortened(self.whole_statement(signer))

    def whole_statement(self, signer: Ed25519NoteKey) -> bytes:
        """The statement about the key, as long as a real one is."""
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
        return sign_note(statement.text, self.service)
