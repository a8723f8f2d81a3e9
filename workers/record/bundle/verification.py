"""Verification of a bundle, offline: nothing but its files, the keys that sign checkpoints, and the clients' public keys.

Every hash is computed from the entries; none in a tile is believed for an entry that is there. A hash of level 1 stands only
for a block of 256 entries outside the range, and the root over all of them must be the checkpoint's. Hashes of the levels above
must be those of the tree that is computed, too.
"""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING, Protocol

from queueing.errors import ProofInvalid
from queueing.transparency.checkpoints import Checkpoint, read_checkpoint
from queueing.transparency.entries import (
    IN_DOUBT,
    EndEntry,
    IntentEntry,
    OpenedEntry,
    OutcomeEntry,
    decode_entry,
    read_head,
)
from queueing.transparency.event_entries import (
    GapEntry,
    LaneEndedEntry,
    LaneOperationsEntry,
    LaneStartedEntry,
    WithoutIntentEntry,
)
from queueing.transparency.merkle import TreeEdge, leaf_hash, root_of
from queueing.transparency.notes import read_note, signed_by_any
from queueing.transparency.receipts import tenant_of_origin
from queueing.transparency.tiles import HEIGHT, WIDTH
from workers.record.bundle.claims import Claims, Expected
from workers.record.bundle.findings import Problem, Verified
from workers.record.bundle.kept import KeptCheckpoints
from workers.record.bundle.losses import loss_of
from workers.record.bundle.signers import certifying_statements
from workers.record.bundle.upper_tiles import UpperTiles

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from queueing.protocol.client_keys import ClientPublicKey
    from queueing.transparency.notes import VerifierKey
    from workers.record.bundle.reader import BundleReader
    from workers.record.items import ItemRow


class Meter(Protocol):
    """Meter of a verification: it is told how many entries there are, and how many are verified."""

    def begin(self, entries: int) -> None:
        """Begin: ``entries`` are to be verified."""

    def verified(self, entries: int) -> None:
        """Count ``entries`` more as verified."""


class OriginVerifier:
    """Verifies one origin of a bundle.

    ``trusted``: keys that sign checkpoints. ``service_keys``: SubjectPublicKeyInfo (DER) of service keys; a key that one of
    them certified for this origin is trusted too. ``clients``: public keys of clients and issuers by name; without them client signatures are not
    verified. ``tenant``: whose log it must be; empty: anybody's. ``kept``: checkpoints that the auditor kept, of this and other logs; those
    of this log it must continue.
    """

    def __init__(
        self,
        reader: BundleReader,
        *,
        trusted: Sequence[VerifierKey] = (),
        service_keys: Sequence[bytes] = (),
        clients: Mapping[str, ClientPublicKey] | None = None,
        tenant: str = "",
        kept: Sequence[Checkpoint] = (),
    ) -> None:
        self._reader = reader
        self._trusted = trusted
        self._service_keys = service_keys
        self._clients = clients
        self._edge = TreeEdge()
        self._heads: dict[int, set[bytes]] = {}
        self._tenant = tenant
        self._kept = kept
        self._audiences: set[str] = set()
        self.verified = Verified()

    def run(self, meter: Meter | None = None) -> Iterator[Problem]:
        """Problems, as they are found. An origin whose head or tree does not hold ends there."""
        try:
            checkpoint = self._checkpoint()
            self._range(checkpoint.size)
        except ProofInvalid as error:
            yield Problem("checkpoint.invalid", self._reader.name, error.message)
            return
        self._upper = UpperTiles(self._reader, checkpoint.size)
        kept = self._continued = KeptCheckpoints(self._kept, checkpoint, self._reader.name)
        yield from kept.at_start()
        found = self.verified
        if meter is not None:
            meter.begin(found.end - found.first)
        tenant = tenant_of_origin(checkpoint.origin)
        expected = Expected(tenant=tenant, audiences=self._audiences, clients=self._clients)
        claims = Claims(expected, found.first, found)
        try:
            for block in range(-(-checkpoint.size // WIDTH)):
                before = found.entries
                yield from self._block(block, min(WIDTH, checkpoint.size - block * WIDTH), checkpoint, claims)
                if meter is not None and found.entries > before:
                    meter.verified(found.entries - before)
            found.unread = self._reader.unread(checkpoint.size, found.first, found.end)
        except ProofInvalid as error:
            yield Problem("tree.invalid", self._reader.name, error.message)
            return
        found.unended, found.rows_with_more = len(claims), self._reader.rows_with_more
        if not hmac.compare_digest(self._edge.root(), checkpoint.root):
            what = (
                f"the entries and hashes do not have the root of the checkpoint ({checkpoint.size} entries)"
            )
            yield Problem("tree.root", self._reader.name, what)
        yield from kept.at_end()

    def _checkpoint(self) -> Checkpoint:
        data = self._reader.checkpoint()
        note = read_note(data)
        checkpoint = read_checkpoint(note.text)
        statements = list(certifying_statements(self._reader, checkpoint, self._service_keys))
        for statement in statements:
            self._heads.setdefault(statement.head.size, set()).add(statement.head.root)
            self._audiences.add(statement.audience)
        # A key vouches for the log that it is named after, and not for that of another host.
        keys = [key for key in self._trusted if key.name == checkpoint.origin]
        keys += [statement.epoch_key for statement in statements]
        if not signed_by_any(note, keys):
            raise ProofInvalid("the checkpoint is signed by none of the trusted keys")
        if checkpoint.origin.rpartition("/")[2] != self._reader.name:
            raise ProofInvalid(f"the checkpoint is of another origin: {checkpoint.origin[:120]}")
        if self._reader.log() != f"{checkpoint.origin}\n".encode():
            raise ProofInvalid(
                f"the file `origin` names another log than the checkpoint: {checkpoint.origin[:120]}"
            )
        tenant = tenant_of_origin(checkpoint.origin)
        if self._tenant not in {"", tenant}:
            raise ProofInvalid(f"the checkpoint is of a log of another tenant: {tenant[:80]}")
        self.verified.log, self.verified.size = checkpoint.origin, checkpoint.size
        return checkpoint

    def _range(self, size: int) -> None:
        first, end = self._reader.range()
        self.verified.minimum = minimum = self._reader.minimum()
        if minimum > first:
            raise ProofInvalid(
                f"entries before {minimum} were removed, it says, and the range begins at {first}"
            )
        if end > size or first % WIDTH or (end % WIDTH and end != size):
            raise ProofInvalid(f"the range {first} to {end} is not made of whole bundles of {size} entries")
        self.verified.first, self.verified.end = first, end

    def _block(self, block: int, width: int, checkpoint: Checkpoint, claims: Claims) -> Iterator[Problem]:
        """Append a block of up to 256 entries to the tree: computed from its entries, or its hash from level 1."""
        inside = self.verified.first <= block * WIDTH < self.verified.end
        if not inside and width == WIDTH:
            completed = _append_block(self._edge, self._level1(block, checkpoint.size))
            yield from self._upper.problems(self._edge.size, completed, HEIGHT)
            yield from self._known_heads()
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
        yield from self._meaning(block, entries, claims)

    def _append(self, leaves: Sequence[bytes]) -> Iterator[Problem]:
        for leaf in leaves:
            completed = self._edge.append(leaf)
            if len(completed) > 2 * HEIGHT:
                yield from self._upper.problems(self._edge.size, completed)
            yield from self._known_heads()

    def _known_heads(self) -> Iterator[Problem]:
        """Compare the tree at its present size with the heads that the service key has certified there, and those that were kept.

        A later key of the same log signs a tree that continues this one; a head inside a block of which only the hash is here
        is not looked at.
        """
        size = self._edge.size
        if size in self._heads and self._heads[size] != {self._edge.root()}:
            what = f"the service key has certified another log with {size} entries than the one that is here"
            yield Problem("tree.certified", self._reader.name, what)
        yield from self._continued.at(self._edge)

    def _level1(self, block: int, size: int) -> bytes:
        index, number = divmod(block, WIDTH)
        full = size // WIDTH
        return self._reader.tile(1, index, min(WIDTH, full - index * WIDTH))[number]

    def _meaning(self, block: int, entries: list[bytes], claims: Claims) -> Iterator[Problem]:
        try:
            rows = {row.outcome: row for row in self._reader.rows(block)}
        except ProofInvalid as error:
            yield Problem("items.invalid", self._place(block * WIDTH), error.message)
            rows = {}
        for number, data in enumerate(entries, block * WIDTH):
            self.verified.entries += 1
            try:
                self._entry(number, data, rows.pop(number, None), claims)
            except ProofInvalid as error:
                yield Problem("entry.invalid", self._place(number), error.message)
        for number in rows:
            yield Problem("items.extra", self._place(number), "there are items for no outcome in this bundle")

    def _entry(self, index: int, data: bytes, row: ItemRow | None, claims: Claims) -> None:
        entry = decode_entry(data)
        if entry is None:
            self.verified.count(index, "of a later version", read_head(data).at_ms)
            return
        self.verified.count(index, entry.kind, entry.at_ms)
        match entry:
            case OpenedEntry():
                if index or entry.origin != self.verified.log:
                    raise ProofInvalid(f"the log was opened as {entry.origin[:120]} at entry {index}")
            case IntentEntry():
                claims.begin(index, entry)
            case OutcomeEntry():
                claims.outcome(entry, row)
            case LaneStartedEntry() | LaneOperationsEntry() | LaneEndedEntry():
                self.verified.lanes.add(index, entry)
            case EndEntry():
                claims.end(index, entry, row)
            case GapEntry() | WithoutIntentEntry():
                self.verified.lose(loss_of(index, entry))
        if row is not None and not (isinstance(entry, OutcomeEntry) or entry.kind in IN_DOUBT):
            raise ProofInvalid("there are items beside it, and it is no outcome")

    def _place(self, index: int) -> str:
        return f"{self._reader.name}/{index}"


def _append_block(edge: TreeEdge, root: bytes) -> list[bytes]:
    """Append the root of 256 leaves to an edge whose size is a multiple of 256. Returns the subtree roots that became complete: this one, …"""
    upper = TreeEdge(edge.size // WIDTH, edge.subtrees)
    completed = upper.append(root)
    edge.size = upper.size * WIDTH
    return completed
