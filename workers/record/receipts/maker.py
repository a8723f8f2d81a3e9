"""Making of receipts: proofs of outcomes against the newest checkpoint, once the service key has certified who signs it."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Final

from queueing.errors import ProofInvalid
from queueing.files.regular_file import read_regular, read_whole
from queueing.transparency.checkpoints import read_checkpoint
from queueing.transparency.job_proofs import JobProof
from queueing.transparency.merkle import node_hash
from queueing.transparency.notes import MAX_NOTE_BYTES, read_note
from queueing.transparency.origin_statements import read_statement
from queueing.transparency.proofs import inclusion_proof
from queueing.transparency.short_statements import shortened
from queueing.transparency.tiles import HEIGHT, WIDTH
from workers.record.exchange import statement_files
from workers.record.receipts.outbox import OutboxFull, ReceiptOutbox, SealedReceipt
from workers.record.stored_hashes import StoredHashes

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from queueing.transparency.checkpoints import Checkpoint
    from queueing.transparency.notes import Note
    from workers.record.receipts.requests import ReceiptRequest, ReceiptRequests

MOST_AT_ONCE: Final = 2_000
"""Receipts of one step: some tenths of a second, by which the next checkpoint is late."""

STATEMENT_AGE: Final = 300
"""Steps after which a newer statement about the same key is looked for: minutes, and statements live for weeks."""


class ReceiptMaker:
    """Makes the receipts that wait, with the key of one sealer. ``logs_folder``: of the tenants' logs; ``key_name``: this key in
    the names of its statements.
    """

    def __init__(self, state_dir: Path, logs_folder: Path, key_name: str) -> None:
        self._logs_folder = logs_folder
        self._key_name = key_name
        self._outbox = ReceiptOutbox(state_dir)
        self._statements: dict[str, tuple[int, bytes]] = {}
        self._step = 0

    def make(self, requests: ReceiptRequests) -> int:
        """Make receipts of those whose entry is under a certified checkpoint; returns their number.

        A log that cannot be read, or an outbox without room, costs receipts, which are counted as dropped. Raises ``OSError``
        at the end, where a tenant's files or the outbox could not be read or written: these requests wait on.
        """
        self._step += 1
        made = 0
        gone: list[ReceiptRequest] = []
        failed: OSError | None = None
        for tenant, waiting in requests.by_tenant().items():
            chosen = waiting[: MOST_AT_ONCE - made]
            if not chosen:
                break
            try:
                done = self._put(tenant, chosen)
            except (OutboxFull, ProofInvalid):
                gone += chosen
                requests.dropped += len(chosen)
            except OSError as error:
                failed = error
            else:
                gone += done
                made += len(done)
        requests.remove(gone)
        if failed is not None:
            raise failed
        return made

    def _put(self, tenant: str, requests: Sequence[ReceiptRequest]) -> list[ReceiptRequest]:
        """Put the receipts of one tenant into the outbox; returns the requests that have theirs."""
        folder = self._logs_folder / tenant
        try:
            data = read_regular(folder / "checkpoint", largest_bytes=MAX_NOTE_BYTES)
        except FileNotFoundError:
            return []
        note = read_note(data)
        checkpoint = read_checkpoint(note.text)
        statement = self._statement(tenant, note, checkpoint)
        covered = [request for request in requests if request.index < checkpoint.size]
        if not statement or not covered:
            return []
        hashes = KeptHashes(StoredHashes(folder), checkpoint.size)
        self._outbox.put(
            tenant,
            [
                SealedReceipt(
                    job_id=request.job_id,
                    at_ms=request.at_ms,
                    released=request.released,
                    proof=JobProof(
                        index=request.index,
                        proof=tuple(inclusion_proof(hashes, request.index, checkpoint.size)),
                        checkpoint=data,
                        entry=request.entry,
                        salt=request.salt,
                        statement=statement,
                    ).encode(),
                )
                for request in covered
            ],
        )
        return covered

    def _statement(self, tenant: str, note: Note, checkpoint: Checkpoint) -> bytes:
        """Short form of the newest statement about the key of this checkpoint; empty before there is one."""
        step, found = self._statements.get(tenant, (0, b""))
        if found and self._step - step < STATEMENT_AGE:
            return found
        for path in statement_files(self._logs_folder / tenant):
            if not path.name.endswith(f"-{self._key_name}"):
                continue
            data = read_whole(path)
            with suppress(ProofInvalid):  # a damaged one costs itself
                statement = read_statement(read_note(data).text)
                if statement.head.size <= checkpoint.size and statement.epoch_key.is_signed(note):
                    found = shortened(data)
        self._statements[tenant] = self._step, found
        return found


class KeptHashes:
    """``SubtreeHashes`` of a tenant's files that reads each tile and computes each node once: the receipts of a step lie
    side by side.
    """

    def __init__(self, stored: StoredHashes, size: int) -> None:
        self._stored = stored
        self._size = size
        self._tiles: dict[tuple[int, int], list[bytes]] = {}
        self._nodes: dict[tuple[int, int], bytes] = {}

    def subtree(self, level: int, index: int) -> bytes:
        """Root of a complete subtree. Raises ``ProofInvalid`` where the files are shorter, or ``OSError``."""
        if level % HEIGHT == 0:
            return self._tile(level // HEIGHT, index // WIDTH)[index % WIDTH]
        node = self._nodes.get((level, index))
        if node is None:
            left, right = self.subtree(level - 1, 2 * index), self.subtree(level - 1, 2 * index + 1)
            node = self._nodes[level, index] = node_hash(left, right)
        return node

    def _tile(self, level: int, number: int) -> list[bytes]:
        tile = self._tiles.get((level, number))
        if tile is None:
            width = min(WIDTH, (self._size >> (level * HEIGHT)) - number * WIDTH)
            tile = self._tiles[level, number] = self._stored.hashes(level, number * WIDTH, width)
        return tile
