"""Sealer: follows the write-ahead log of a state directory, and keeps a tamper-evident log of each tenant beside it.

``record/sealed`` says how far the write-ahead log was read, and where each tenant's log ended then. It is replaced after
everything before it is synced; after a crash the tenants' files are cut to it and the write-ahead log is read on from there,
which gives the same bytes. Nothing waits for the sealer: the write-ahead log is the truth about what was signed.

1. ``SealerProcess`` (``workers/background/record/sealer_process.py``) keeps the process of the host alive; ``SealingLoop.run``
   (``sealing.py``) calls the steps below about once a second.
2. ``Sealer.advance`` takes the next durable records from ``LogFollower.records`` (``follower.py``); ``Sequencer.add``
   (``sequencer.py``) makes entries of each, for the log of its tenant.
3. ``TenantLog.append`` (``volumes.py``) adds an entry to the tenant's files, and its hash to the Merkle tree, of which
   ``TreeEdge.append`` (``queueing/transparency/merkle.py``) has the right edge (RFC 9162 2.1).
4. ``Sealer.sign`` signs a checkpoint of each log that has grown, with the process's own key. The lane of the service key
   certifies that key: ``StatementSigner`` (``workers/background/record/statement_signer.py``).
5. ``Sealer.keep`` makes it durable. ``bundle/`` exports and verifies what was sealed, ``receipts/`` proves single jobs.
"""

from __future__ import annotations

import hmac
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from queueing.files.durable_file import make_folder, sync_folder
from queueing.files.folders import is_there
from queueing.transparency.checkpoints import Checkpoint, sign_checkpoint
from queueing.transparency.notes import Ed25519NoteKey
from workers.journal.segments import segment_number, segments_of
from workers.record.disk.misplaced import make_way
from workers.record.folder import (
    FOLDER_NAME,
    FORMAT,
    LOGS_NAME,
    Sealed,
    read_follows,
    read_origin,
    read_sealed,
    write_sealed,
)
from workers.record.follower import READERS, Gap, LogFollower, Place, other_log, segment_head
from workers.record.gaps.telling import SkippedRecord
from workers.record.pruning import Pruning
from workers.record.published import (
    checkpoint_to_continue,
    copied_logs,
    publish_checkpoint,
    tenants_of,
)
from workers.record.receipts.requests import ReceiptRequests
from workers.record.retention.clock import FILE_NAME as CLOCK
from workers.record.retention.marks import FILE_NAME as MARKS
from workers.record.sequencer import Sequencer
from workers.record.volumes import RecordDamaged, TenantLog

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from workers.journal.damage import Damage
    from workers.journal.records import Record
    from workers.journal.unreadable_places import UnreadablePlaces
    from workers.record.additions import Addition
    from workers.record.folder import Origin

MOST_RECORDS: Final = 5_000
"""Records of one step: some tens of milliseconds, after which a stop is obeyed and checkpoints can be signed."""


class Sealer:
    """Writer of the record of one state directory. There must be only one at a time. Blocks: for a process of its own.

    ``unreadable``: what was given up of the write-ahead log, as the disk does not give it.
    ``receipts``: requests for receipts in what was read, for ``workers.record.receipts.maker``. ``gaps``: gaps in it that depend on who
    reads, which its user tells the operator and removes, as those in ``skipped``.
    """

    def __init__(
        self,
        state_dir: Path,
        *,
        log_name: str,
        build: str,
        epoch_key: Ed25519PrivateKey,
        unreadable: UnreadablePlaces | None = None,
    ) -> None:
        """Read what was sealed, and cut the files to it. Raises ``RecordDamaged``, or ``OSError``."""
        self._folder = state_dir / FOLDER_NAME
        self._epoch_key = epoch_key
        self._logs_folder = self._folder / LOGS_NAME
        make_folder(self._logs_folder)
        self.follows = read_follows(self._folder)
        self.origin = read_origin(self._folder, log_name, build, self.follows)
        sealed = read_sealed(self._folder)
        self._wal = state_dir / "wal"
        place, at_ms = (Place(), 0) if sealed is None else (sealed.place, sealed.at_ms)
        self._follower = LogFollower(self._wal, place, at_ms=at_ms, unreadable=unreadable)
        self._sequencer = _sequencer(self.origin, sealed)
        if sealed is None:
            self._check_nothing_was_kept()
        self._incomplete = set() if sealed is None else set(sealed.incomplete)
        self._logs = {
            tenant: TenantLog(self._logs_folder / tenant, position)
            for tenant, position in ({} if sealed is None else sealed.logs).items()
        }
        copies = copied_logs(self._logs_folder, self.origin, self._logs.keys())  # before anything is cut
        self._known = tenants_of(self._logs_folder) - copies
        for log in self._logs.values():
            log.cut()
        for tenant in self._known - self._logs.keys():
            if is_there(self._logs_folder / tenant / MARKS):
                raise RecordDamaged(f"`sealed` says nothing of the log of {tenant}, which was durable")
            TenantLog(self._logs_folder / tenant).cut()  # it began after what was sealed
        self._unsigned: set[str] = set(self._logs)
        self._published = {
            tenant: checkpoint
            for tenant in self._known
            if (checkpoint := checkpoint_to_continue(self._logs_folder / tenant)) is not None
        }
        for tenant, published in self._published.items():
            if published.origin != self.origin.of(tenant):
                raise RecordDamaged(f"the log of {tenant} is of another name: {published.origin}")
        for tenant, log in self._logs.items():
            self._check_published(tenant, log)
        self.pruning = Pruning(self._folder)
        self.skipped: list[SkippedRecord] = []
        self.gaps: list[Gap] = []
        self._has_told_gap = False
        self.receipts = ReceiptRequests(() if sealed is None else sealed.receipts)
        self._newest = self._check_place(b"" if sealed is None else sealed.segment_head)

    @property
    def place(self) -> Place:
        """Place in the write-ahead log up to which it was read."""
        return self._follower.place

    @property
    def damage(self) -> list[Damage]:
        """Damaged places of the write-ahead log that were skipped."""
        return self._follower.damage

    @property
    def entries(self) -> dict[str, int]:
        """Entries of each tenant's log."""
        return {tenant: log.size for tenant, log in self._logs.items()}

    def advance(self) -> int:
        """Read on, at most ``MOST_RECORDS``; returns how many records were read.

        Raises ``RecordDamaged`` where a log is not the published one any more, or the write-ahead log not the one that was
        read, ``SegmentUnreadable`` behind what the disk gives, or ``OSError``.
        """
        why = other_log(self._wal, self.place, b"")
        if why:
            raise RecordDamaged(why)
        read = 0
        for record in self._follower.records(MOST_RECORDS):
            if self._published and self.place.segment > self._newest:
                tenant = min(self._published)
                raise RecordDamaged(
                    f"the write-ahead log has lost records of {tenant} that a published checkpoint covers"
                )
            read += 1
            for addition in self._additions(record):
                log = self._log_of(addition.tenant)
                log.append(addition.data, addition.row)
                if addition.receipt is not None:
                    self.receipts.add(addition.receipt)
                if self._published:
                    self._check_published(addition.tenant, log)
        return read

    def _additions(self, record: Record | Gap) -> list[Addition]:
        """Entries of a record, or of a gap; one that is wrong costs itself, each time that it is read, and its tenant is told."""
        try:
            additions = self._sequencer.add(record)
        except MemoryError:
            raise  # says nothing of the record, and would not be the same when it is read again
        except Exception as error:  # noqa: BLE001 - whatever a record holds, the ones behind it are sealed
            self._incomplete.add(self.place.segment)
            self.skipped.append(SkippedRecord(self.place, type(record).__name__, type(error).__name__))
            return self._sequencer.add_wrong(record, self._lost(record))
        if self._sequencer.left_out:
            self._incomplete.add(self.place.segment)
        if isinstance(record, Gap):
            may_be_read = record.reason in READERS  # by another build, whatever was told of it
            self._has_told_gap |= bool(additions) or not self._logs or may_be_read
            if may_be_read:
                self.gaps.append(record)
        return additions

    def _lost(self, record: Record | Gap) -> Gap:
        """The place of the last record as a gap."""
        before, behind = self._follower.before, self.place
        first = before.offset if before.segment == behind.segment else 0
        return Gap(behind.segment, first, behind.offset, record.at_ms)

    def sign(self) -> dict[str, Checkpoint]:
        """Write the logs that have grown and sign their checkpoints; returns these, by tenant. Raises ``OSError``.

        A checkpoint is no larger than what is durable in the write-ahead log, and never smaller than one published before. Where it
        covers a gap, everything is made durable first: another build, or another day, could read what is told to be lost.
        """
        if self._has_told_gap or self._follower.read_around:
            self.keep()
        signed: dict[str, Checkpoint] = {}
        for tenant in sorted(self._unsigned):
            log = self._logs[tenant]
            log.write()
            if tenant in self._published:
                continue  # still behind what was published before a crash
            origin = self.origin.of(tenant)
            checkpoint = Checkpoint(origin, log.size, log.root())
            note = sign_checkpoint(checkpoint, Ed25519NoteKey(origin, self._epoch_key))
            publish_checkpoint(log.folder, note)
            self._unsigned.discard(tenant)
            signed[tenant] = checkpoint
        return signed

    def keep(self) -> None:
        """Make everything durable, and say so in ``sealed``: a restart continues from here. Raises ``OSError``."""
        for log in self._logs.values():
            log.write()
            log.sync()
        sync_folder(self._folder)
        sealed = Sealed(
            format=FORMAT,
            place=self._follower.place,
            sequencer=self._sequencer.snapshot(),
            logs={tenant: log.position for tenant, log in self._logs.items()},
            segment_head=segment_head(self._wal, self.place.segment) or b"",
            receipts=self.receipts.kept(),
            incomplete=self._incomplete_segments(),
            at_ms=self._follower.at_ms,
        )
        write_sealed(self._folder, sealed)
        self._has_told_gap = self._follower.read_around = False

    def _incomplete_segments(self) -> list[int]:
        """Segments, of those that are there, with something of which no entry was made."""
        damaged = {segment_number(Path(damage.segment)) for damage in self.damage}
        there = {segment_number(file) for file in segments_of(self._wal)}
        self._incomplete |= self._follower.unread | damaged
        self._incomplete &= there
        return sorted(self._incomplete)

    def _check_nothing_was_kept(self) -> None:
        """Refuse to begin at the start of the write-ahead log, which may have been removed, with what was durable before."""
        if is_there(self._folder / CLOCK):
            raise RecordDamaged(f"{self._folder / 'sealed'} is missing")

    def _check_place(self, head: bytes) -> int:
        """Check that the write-ahead log is not an older one than was read; returns its newest segment. Raises ``RecordDamaged``."""
        why = other_log(self._wal, self.place, head)
        if why:
            raise RecordDamaged(why)
        return max(map(segment_number, segments_of(self._wal)), default=0)

    def _log_of(self, tenant: str) -> TenantLog:
        self._unsigned.add(tenant)
        log = self._logs.get(tenant)
        if log is None:
            folder = self._logs_folder / tenant
            if tenant not in self._known:
                make_way(folder)  # a copy of another log, or anything else that somebody has put there
            log = self._logs[tenant] = TenantLog(folder)
        return log

    def _check_published(self, tenant: str, log: TenantLog) -> None:
        """Compare with the checkpoint that was published before a crash, when the log is that long again."""
        published = self._published.get(tenant)
        if published is None or log.size < published.size:
            return
        if log.size == published.size and hmac.compare_digest(log.root(), published.root):
            del self._published[tenant]
            return
        raise RecordDamaged(
            f"the log of {tenant} at {log.size} entries is not the one whose checkpoint was published before"
        )


def _sequencer(origin: Origin, sealed: Sealed | None) -> Sequencer:
    if sealed is None:
        return Sequencer(origin)
    try:
        return Sequencer.restored(origin, sealed.sequencer)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        raise RecordDamaged("the claims in `sealed` are of a later version") from None
