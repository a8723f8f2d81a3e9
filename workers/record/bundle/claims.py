"""Claims in a bundle: each intent with its outcome and its end, held against each other and the items beside them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import msgspec

from queueing.errors import EnvelopeSignature, ProofInvalid, SigningError
from queueing.protocol.envelope import read_unverified
from queueing.transparency.commitments import envelope_commitment, items_root
from queueing.transparency.entries import IN_DOUBT, encode_entry
from workers.record.bundle.losses import outcome_lost
from workers.record.bundle.signers import check_grant, signer_of

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from queueing.protocol.client_keys import ClientPublicKey
    from queueing.protocol.envelope import Envelope, UnverifiedEnvelope
    from queueing.transparency.commitments import Item
    from queueing.transparency.entries import EndEntry, IntentEntry, OutcomeEntry
    from workers.record.bundle.findings import Verified
    from workers.record.items import ItemRow

MOST_OPEN: Final = 200_000
"""Intents without an end that are remembered at once: far more than a host has jobs in work."""


_ENDED: Final = b"ended"
_WITH_OUTCOME: Final = frozenset({"committed", "repeated", "fenced"})
"""Ends before which there is an outcome."""


@dataclass(slots=True)
class _OpenIntent:
    """Part of an intent with which its outcome and its end are compared.

    ``asked``: ``_asked`` of its fields; ``outcome``: hash of its outcome, empty before that.
    """

    digests: int
    commitment: bytes
    asked: bytes
    outcome: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """Log that a bundle must be of: its tenant, and audiences that the service key has stated (any, where it has stated none).

    ``clients``: public keys of clients and issuers by name; None: client signatures are not verified.
    """

    tenant: str
    audiences: Collection[str]
    clients: Mapping[str, ClientPublicKey] | None


class Claims:
    """Open intents of one origin, whose range begins at entry ``first``. Every method raises ``ProofInvalid`` for what does not fit."""

    def __init__(self, expected: Expected, first: int, verified: Verified) -> None:
        self._expected = expected
        self._first = first
        self._verified = verified
        self._open: dict[int, _OpenIntent] = {}
        self._before: dict[int, bytes] = {}  # of each intent before the range: hash of its outcome, or _ENDED

    def __len__(self) -> int:
        """Number of intents without an end."""
        return len(self._open)

    def begin(self, index: int, entry: IntentEntry) -> None:
        """Remember an intent."""
        if len(self._open) >= MOST_OPEN:
            raise ProofInvalid(f"{MOST_OPEN} intents have no end")
        self._open[index] = _OpenIntent(entry.digests, entry.commitment, _asked(entry))

    def outcome(self, entry: OutcomeEntry, row: ItemRow | None) -> None:
        """Check an outcome against its intent, and the items beside it against both.

        After a crash a worker writes an outcome that may not be released again, as it is: a second outcome is the first one's
        copy, or a lie. Its signatures are counted once, if the first one is in the range.
        """
        intent = self._open.get(entry.intent)
        again = self._answer(intent, entry)
        if row is None:
            raise ProofInvalid(f"the items of its {entry.digests} digests are missing")
        # An intent before the range has its commitment there; root and client's signature are checked nevertheless.
        unverified = self._committed(entry.intent, intent, row)
        if unverified is None:
            if entry.digests:
                raise ProofInvalid("it has digests, and its envelope cannot be read")
            return
        _check_items(entry, row.items(unverified.envelope.digests), row.salt)
        if not again:
            self._count(entry, unverified)

    def _answer(self, intent: _OpenIntent | None, entry: OutcomeEntry) -> bool:
        """Check an outcome against its intent; whether it is the copy of an outcome of this intent."""
        if intent is None and entry.intent >= self._first:
            raise ProofInvalid(f"it is the outcome of entry {entry.intent}, which is no open intent")
        if entry.signed > entry.digests or (intent is not None and entry.digests != intent.digests):
            raise ProofInvalid(f"its numbers of digests and signatures are not those of entry {entry.intent}")
        made = _short_hash(encode_entry(entry))
        before = self._before.get(entry.intent, b"") if intent is None else intent.outcome
        if before == _ENDED:
            raise ProofInvalid(f"it is an outcome of entry {entry.intent}, which has ended")
        if before not in {b"", made}:
            raise ProofInvalid(
                f"it is a second outcome of entry {entry.intent}, and another one than the first"
            )
        if intent is None:
            self._remember(entry.intent, made)
        else:
            intent.outcome = made
        return bool(before)

    def _remember(self, intent: int, state: bytes) -> None:
        """Note the outcome or the end of an intent before the range. Only those without an end at its beginning have one in it."""
        if len(self._before) >= MOST_OPEN and intent not in self._before:
            raise ProofInvalid(f"{MOST_OPEN} intents before the range had no end")
        self._before[intent] = state

    def _count(self, entry: OutcomeEntry, unverified: UnverifiedEnvelope) -> None:
        """Count the signatures of an outcome, and check that its envelope asks for them."""
        envelope = unverified.envelope
        self._verified.signatures += entry.signed
        self._verified.lanes.add_signed(envelope.key, entry.key_version, entry.signed)
        if entry.signed:
            if envelope.key_version not in {0, entry.key_version}:
                raise ProofInvalid(
                    f"it is of another key version than its envelope asks for: {entry.key_version}"
                )
            self._check_authorised(unverified)
            self._verified.granted += entry.signed if envelope.grant is not None else 0
            self._verified.client_signatures += entry.signed if self._expected.clients is not None else 0

    def end(self, index: int, entry: EndEntry, row: ItemRow | None) -> None:
        """Check the end of a claim, and the envelope beside an end in doubt."""
        intent = self._open.pop(entry.intent, None)
        if intent is None:
            if entry.intent >= self._first or self._before.get(entry.intent) == _ENDED:
                raise ProofInvalid(f"it ends entry {entry.intent}, which is no open intent")
            self._remember(entry.intent, _ENDED)
        if intent is not None and not intent.outcome and entry.kind in _WITH_OUTCOME:
            self._verified.lose(outcome_lost(index, entry))
        if entry.kind not in IN_DOUBT:
            return
        if row is None:
            raise ProofInvalid("the items of a job in doubt are missing")
        if intent is None:
            self._verified.unproven += 1
        self._committed(entry.intent, intent, row)

    def _committed(self, index: int, intent: _OpenIntent | None, row: ItemRow) -> UnverifiedEnvelope | None:
        """The envelope in a row, to which its intent commits; None where it cannot be read."""
        if intent is not None and envelope_commitment(row.salt, row.sealed) != intent.commitment:
            raise ProofInvalid(f"the envelope in its items is not the one of entry {index}")
        try:
            unverified = read_unverified(row.sealed)
        except SigningError:
            return None
        if intent is not None and intent.asked != _asked(unverified.envelope):
            raise ProofInvalid(
                f"entry {index} says another client, key or algorithm than the envelope in its items"
            )
        return unverified

    def _check_authorised(self, unverified: UnverifiedEnvelope) -> None:
        """Check that a client of this tenant signed the envelope for this cluster."""
        envelope, expected = unverified.envelope, self._expected
        if envelope.tenant != expected.tenant:
            raise ProofInvalid(f"its envelope is of another tenant: {envelope.tenant}")
        if expected.audiences and envelope.audience not in expected.audiences:
            raise ProofInvalid(f"its envelope is for another cluster: {envelope.audience}")
        if expected.clients is None:
            check_grant(envelope)
            return
        key = signer_of(envelope, expected.clients)
        try:
            key.verify_envelope(unverified.signed_bytes, unverified.signature)
        except EnvelopeSignature:
            raise ProofInvalid(f"the client {envelope.client} did not sign its envelope") from None


_encoder = msgspec.msgpack.Encoder()


def _asked(intent: IntentEntry | Envelope) -> bytes:
    """Hash of the fields that an intent has of its envelope: of names of any length, a few bytes are remembered."""
    fields = (intent.client, intent.key, intent.key_version, intent.algorithm)
    return _short_hash(_encoder.encode(fields))


def _short_hash(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=16).digest()


def _check_items(entry: OutcomeEntry, items: list[Item], salt: bytes) -> None:
    if len(items) != entry.digests:
        raise ProofInvalid(f"it has {entry.digests} digests, and its envelope {len(items)}")
    if items_root(salt, items) != entry.items_root:
        raise ProofInvalid("its items are not those whose root is in the entry")
    if sum(bool(item.signature_sha256) for item in items) != entry.signed:
        raise ProofInvalid("its items have another number of signatures")
