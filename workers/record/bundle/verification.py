"""Verification of a bundle, offline: nothing but its files, the keys that sign checkpoints, and the clients' public keys.

Every hash is computed from the entries; none in a tile is believed for an entry that is there. A hash of level 1 stands only
for a block of 256 entries outside the range, and the root over all of them must be the checkpoint's.
"""

from __future__ import annotations

import hmac
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from queueing.errors import EnvelopeSignature, ProofInvalid, SigningError
from queueing.protocol.envelope import read_unverified
from queueing.transparency.checkpoints import Checkpoint, read_checkpoint
from queueing.transparency.commitments import envelope_commitment, items_root
from queueing.transparency.entries import (
    IN_DOUBT,
    EndEntry,
    IntentEntry,
    OpenedEntry,
    OutcomeEntry,
    decode_entry,
)
from queueing.transparency.event_entries import LaneEndedEntry, LaneOperationsEntry, LaneStartedEntry
from queueing.transparency.merkle import TreeEdge, leaf_hash, root_of
from queueing.transparency.notes import read_note, signed_by_any
from queueing.transparency.tiles import WIDTH
from workers.record.bundle.lane_sums import LaneSums
from workers.record.bundle.signers import certifying_statements, check_grant, signer_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from queueing.protocol.client_keys import ClientPublicKey
    from queueing.protocol.envelope import UnverifiedEnvelope
    from queueing.transparency.commitments import Item
    from queueing.transparency.notes import VerifierKey
    from workers.record.bundle.reader import BundleReader
    from workers.record.items import ItemRow

MOST_OPEN: Final = 200_000
"""Intents without an end that are remembered at once: far more than a host has jobs in work."""


@dataclass(frozen=True, slots=True)
class Problem:
    """A thing that is wrong: its code, its place (origin, and entry where there is one), and a sentence."""

    code: str
    place: str
    what: str

    def __str__(self) -> str:
        return f"{self.code} {self.place} {self.what}"


@dataclass(slots=True)
class Verified:
    """Counts of what was verified: entries, signatures with a client's signature verified, by kind of entry.

    ``granted``: signatures under grants. ``unproven``: envelopes of jobs in doubt whose intents, which commit to them, are before the
    range. ``minimum``: entries before it had been removed at the export, as the bundle says.
    """

    entries: int = 0
    signatures: int = 0
    client_signatures: int = 0
    granted: int = 0
    unproven: int = 0
    minimum: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    lanes: LaneSums = field(default_factory=LaneSums)


class OriginVerifier:
    """Verifies one origin of a bundle.

    ``trusted``: keys that sign checkpoints. ``service_keys``: SubjectPublicKeyInfo (DER) of service keys; a key that one of
    them certified for this origin is trusted too. ``clients``: public keys of clients and issuers by name; without them client signatures are not
    verified.
    """

    def __init__(
        self,
        reader: BundleReader,
        *,
        trusted: Sequence[VerifierKey] = (),
        service_keys: Sequence[bytes] = (),
        clients: Mapping[str, ClientPublicKey] | None = None,
    ) -> None:
        self._reader = reader
        self._trusted = trusted
        self._service_keys = service_keys
        self._clients = clients
        self._edge = TreeEdge()
        self._heads: dict[int, set[bytes]] = {}
        self._intents: dict[int, tuple[int, bytes]] = {}
        self._tenant = ""
        self._first = 0
        self.verified = Verified()

    def run(self) -> Iterator[Problem]:
        """Problems, as they are found. An origin whose head or tree does not hold ends there."""
        try:
            checkpoint = self._checkpoint()
            self._first, end = self._range(checkpoint.size)
        except ProofInvalid as error:
            yield Problem("checkpoint.invalid", self._reader.name, error.message)
            return
        try:
            for block in range(-(-checkpoint.size // WIDTH)):
                yield from self._block(block, min(WIDTH, checkpoint.size - block * WIDTH), end, checkpoint)
        except ProofInvalid as error:
            yield Problem("tree.invalid", self._reader.name, error.message)
            return
        if not hmac.compare_digest(self._edge.root(), checkpoint.root):
            what = (
                f"the entries and hashes do not have the root of the checkpoint ({checkpoint.size} entries)"
            )
            yield Problem("tree.root", self._reader.name, what)

    def _checkpoint(self) -> Checkpoint:
        data = self._reader.checkpoint()
        note = read_note(data)
        checkpoint = read_checkpoint(note.text)
        statements = list(certifying_statements(self._reader, checkpoint, self._service_keys))
        for statement in statements:
            self._heads.setdefault(statement.head.size, set()).add(statement.head.root)
        # A key vouches for the log that it is named after, and not for that of another host.
        keys = [key for key in self._trusted if key.name == checkpoint.origin]
        keys += [statement.epoch_key for statement in statements]
        if not signed_by_any(note, keys):
            raise ProofInvalid("the checkpoint is signed by none of the trusted keys")
        parts = checkpoint.origin.split("/")
        if parts[-1] != self._reader.name or len(parts) < 3:
            raise ProofInvalid(f"the checkpoint is of another origin: {checkpoint.origin[:120]}")
        self._tenant = parts[-2]
        return checkpoint

    def _range(self, size: int) -> tuple[int, int]:
        first, end = self._reader.range()
        self.verified.minimum = self._reader.minimum()
        if end > size or first % WIDTH or (end % WIDTH and end != size):
            raise ProofInvalid(f"the range {first} to {end} is not made of whole bundles of {size} entries")
        return first, end

    def _block(self, block: int, width: int, end: int, checkpoint: Checkpoint) -> Iterator[Problem]:
        """Append a block of up to 256 entries to the tree: computed from its entries, or its hash from level 1."""
        inside = self._first <= block * WIDTH < end
        if not inside and width == WIDTH:
            _append_block(self._edge, self._level1(block, checkpoint.size))
            yield from self._certified_head()
            return
        if not inside:
            yield from self._append(self._reader.tile(0, block, width))
            return
        entries = self._reader.entries(block, width)
        leaves = [leaf_hash(entry) for entry in entries]
        tile = self._reader.tile(0, block, width)
        for number, (computed, stored) in enumerate(zip(leaves, tile, strict=True)):
            if computed != stored:
                what = "the entry is not the one whose hash is in the tile"
                yield Problem("entry.changed", self._place(block * WIDTH + number), what)
        if width == WIDTH and root_of(leaves) != self._level1(block, checkpoint.size):
            what = f"the entries from {block * WIDTH} on are not those whose hash is in the tile above"
            yield Problem("tree.block", self._place(block * WIDTH), what)
        yield from self._append(leaves)
        yield from self._meaning(block, entries, checkpoint)

    def _append(self, leaves: Sequence[bytes]) -> Iterator[Problem]:
        for leaf in leaves:
            self._edge.append(leaf)
            if self._edge.size in self._heads:
                yield from self._certified_head()

    def _certified_head(self) -> Iterator[Problem]:
        """Compare the tree at its present size with the heads that the service key has certified there.

        A later key of the same log signs a tree that continues this one; a head inside a block of which only the hash is here
        is not looked at.
        """
        size = self._edge.size
        if size in self._heads and self._heads[size] != {self._edge.root()}:
            what = f"the service key has certified another log with {size} entries than the one that is here"
            yield Problem("tree.certified", self._reader.name, what)

    def _level1(self, block: int, size: int) -> bytes:
        index, number = divmod(block, WIDTH)
        full = size // WIDTH
        return self._reader.tile(1, index, min(WIDTH, full - index * WIDTH))[number]

    def _meaning(self, block: int, entries: list[bytes], checkpoint: Checkpoint) -> Iterator[Problem]:
        try:
            rows = {row.outcome: row for row in self._reader.rows(block)}
        except ProofInvalid as error:
            yield Problem("items.invalid", self._place(block * WIDTH), error.message)
            rows = {}
        for number, data in enumerate(entries, block * WIDTH):
            self.verified.entries += 1
            try:
                self._entry(number, data, rows.pop(number, None), checkpoint)
            except ProofInvalid as error:
                yield Problem("entry.invalid", self._place(number), error.message)
        for number in rows:
            yield Problem("items.extra", self._place(number), "there are items for no outcome in this bundle")

    def _entry(self, index: int, data: bytes, row: ItemRow | None, checkpoint: Checkpoint) -> None:
        entry = decode_entry(data)
        if entry is None:
            self.verified.kinds["of a later version"] += 1
            return
        self.verified.kinds[entry.kind] += 1
        match entry:
            case OpenedEntry():
                if index or entry.origin != checkpoint.origin:
                    raise ProofInvalid(f"the log was opened as {entry.origin[:120]} at entry {index}")
            case IntentEntry():
                if len(self._intents) >= MOST_OPEN:
                    raise ProofInvalid(f"{MOST_OPEN} intents have no end")
                self._intents[index] = entry.digests, entry.commitment
            case OutcomeEntry():
                self._outcome(entry, row)
            case LaneStartedEntry() | LaneOperationsEntry() | LaneEndedEntry():
                self.verified.lanes.add(index, entry)
            case EndEntry():
                self._end(entry, row)
        if row is not None and not (isinstance(entry, OutcomeEntry) or entry.kind in IN_DOUBT):
            raise ProofInvalid("there are items beside it, and it is no outcome")

    def _end(self, entry: EndEntry, row: ItemRow | None) -> None:
        intent = self._intents.pop(entry.intent, None)
        if intent is None and entry.intent >= self._first:
            raise ProofInvalid(f"it ends entry {entry.intent}, which is no open intent")
        if row is None or entry.kind not in IN_DOUBT:
            return  # without doubt, or of a former version
        if intent is None:
            self.verified.unproven += 1
        elif envelope_commitment(row.salt, row.sealed) != intent[1]:
            raise ProofInvalid(f"the envelope in its items is not the one of entry {entry.intent}")

    def _outcome(self, entry: OutcomeEntry, row: ItemRow | None) -> None:
        intent = self._intents.get(entry.intent)
        if intent is None and entry.intent >= self._first:
            raise ProofInvalid(f"it is the outcome of entry {entry.intent}, which is no open intent")
        if entry.signed > entry.digests or (intent is not None and entry.digests != intent[0]):
            raise ProofInvalid(f"its numbers of digests and signatures are not those of entry {entry.intent}")
        if row is None:
            raise ProofInvalid(f"the items of its {entry.digests} digests are missing")
        # An intent before the range has its commitment there; root and client's signature are checked nevertheless.
        if intent is not None and envelope_commitment(row.salt, row.sealed) != intent[1]:
            raise ProofInvalid(f"the envelope in its items is not the one of entry {entry.intent}")
        try:
            unverified = read_unverified(row.sealed)
        except SigningError:
            if entry.digests:
                raise ProofInvalid("it has digests, and its envelope cannot be read") from None
            return
        _check_items(entry, row.items(unverified.envelope.digests), row.salt)
        self.verified.signatures += entry.signed
        self.verified.lanes.signed[unverified.envelope.key, entry.key_version] += entry.signed
        if entry.signed:
            self._authorised(unverified)
            self.verified.granted += entry.signed if unverified.envelope.grant is not None else 0
            self.verified.client_signatures += entry.signed if self._clients is not None else 0

    def _authorised(self, unverified: UnverifiedEnvelope) -> None:
        """Check that a client of this tenant signed the envelope."""
        envelope = unverified.envelope
        if envelope.tenant != self._tenant:
            raise ProofInvalid(f"its envelope is of another tenant: {envelope.tenant}")
        if self._clients is None:
            check_grant(envelope)
            return
        key = signer_of(envelope, self._clients)
        try:
            key.verify_envelope(unverified.signed_bytes, unverified.signature)
        except EnvelopeSignature:
            raise ProofInvalid(f"the client {envelope.client} did not sign its envelope") from None

    def _place(self, index: int) -> str:
        return f"{self._reader.name}/{index}"


def _check_items(entry: OutcomeEntry, items: list[Item], salt: bytes) -> None:
    if items_root(salt, items) != entry.items_root:
        raise ProofInvalid("its items are not those whose root is in the entry")
    if sum(bool(item.signature_sha256) for item in items) != entry.signed:
        raise ProofInvalid("its items have another number of signatures")


def _append_block(edge: TreeEdge, root: bytes) -> None:
    """Append the root of 256 leaves to an edge whose size is a multiple of 256."""
    upper = TreeEdge(edge.size // WIDTH, edge.subtrees)
    upper.append(root)
    edge.size = upper.size * WIDTH
