"""Sealing loop: the work of the sealer's process, which continues whatever the disk does.

About once a second it reads what is new in the write-ahead log, signs the checkpoints of the tenants whose logs have grown,
and tells how far it is. Once a minute, and where a segment ends, all is made durable. After an error of the disk it begins
again from what was durable. A record that is damaged or was set back, also by the worker's word (``heads.set_back``), is never signed on: it is kept as
``record.ORIGIN``, and a new one begins, whose logs say which log they follow.
"""

from __future__ import annotations

import errno
import logging
import os
import time
from collections import Counter
from typing import TYPE_CHECKING, Final

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from queueing.aio.backoff import Backoff
from workers.journal.unreadable_places import RETRY_S, SegmentUnreadable, UnreadablePlaces
from workers.record.exchange import (
    SEALER_FOLDER,
    Head,
    SealerStatus,
    StatementRequest,
    StatementRequests,
    key_name,
    write_status,
)
from workers.record.folder import FOLDER_NAME, LOGS_NAME
from workers.record.gaps.telling import GapTeller
from workers.record.heads.set_back import check_not_set_back
from workers.record.published import published_heads
from workers.record.receipts.maker import ReceiptMaker
from workers.record.replacement import finish_replacement, former_records, give_up, measured
from workers.record.retention.policy import read_policy
from workers.record.scrubbing.scrubber import RecordScrubber
from workers.record.sealer import MOST_RECORDS, Sealer
from workers.record.volumes import RecordDamaged

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable
    from pathlib import Path

    from queueing.transparency.checkpoints import Checkpoint
    from workers.record.exchange import FailureReason

log = logging.getLogger("sigmill.record")

STEP_S: Final = 1.0
"""Time between two checkpoints of a tenant whose log grows: what a client waits for its proof."""

KEEP_S: Final = 60.0
"""Time between two moments from which a restart continues: it reads a minute of the write-ahead log again."""

MEASURE_S: Final = 600.0
"""Time between two measurements of the disk space, which look at every file."""

PRUNE_S: Final = 3600.0
"""Time between two searches for volumes that are old enough to be removed."""

CERTIFY_AGAIN_S: Final = 7 * 86400.0
"""Age of a statement at which the next one is requested, so that the dates of the newest one are never old."""

REPLACE_PAUSE_S: Final = 600.0
"""Least time between two new records: a disk that loses everything at once must not fill itself with remains."""


class SealingLoop:
    """Seals one state directory, until it is told to stop. ``log_name``: name before those of the tenants."""

    def __init__(
        self,
        state_dir: Path,
        *,
        log_name: str,
        build: str,
        backoff: Backoff | None = None,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._state_dir = state_dir
        self._log_name = log_name
        self._build = build
        self._backoff = backoff or Backoff(first_s=0.5, most_s=30.0)
        self._clock_s = clock_s
        self._key = Ed25519PrivateKey.generate()
        self._public_key = self._key.public_key().public_bytes_raw()
        self._requests = StatementRequests(state_dir)
        self._status = SealerStatus(pid=os.getpid(), started_ns=_ns(clock_s()))
        self._failures: Counter[str] = Counter()
        self._asked_at: dict[str, float] = {}
        self._base: dict[str, int] = {}
        self._replaced_at = -REPLACE_PAUSE_S
        self._measured_at = -MEASURE_S
        self._pruned_at = -PRUNE_S
        self._teller = GapTeller()
        self._unreadable = UnreadablePlaces()
        self._scrubber = RecordScrubber(state_dir / FOLDER_NAME / LOGS_NAME, clock_s)

    def run(self, stop: threading.Event) -> None:
        """Seal until ``stop`` is set, and then what is there by then, once. Raises nothing that the disk may cause."""
        while not stop.is_set():
            try:
                self._requests.forget_other_keys(self._public_key)
                finish_replacement(self._state_dir)
                self._seal(self._open(), stop)
            except RecordDamaged as damaged:
                log.error("record.damaged", extra={"why": str(damaged)})
                self._failed("damaged")
                self._replace(stop)
            except OSError as error:
                _log_failed(error)
                self._failed("disk_full" if error.errno in {errno.ENOSPC, errno.EDQUOT} else "io")
                stop.wait(self._backoff.next_s())

    def _open(self) -> Sealer:
        sealer = Sealer(
            self._state_dir,
            log_name=self._log_name,
            build=self._build,
            epoch_key=self._key,
            unreadable=self._unreadable,
        )
        published = published_heads(self._state_dir / FOLDER_NAME)
        # What a former try or process has published and counted is not counted again when it is read again.
        self._base = {tenant: head.size for tenant, head in published.items()}
        self._teller.continue_log()
        self._status = msgspec.structs.replace(
            self._status, origin=sealer.origin.name, former=len(former_records(self._state_dir))
        )
        log.info(
            "record.opened",
            extra={"origin": sealer.origin.name, "segment": sealer.place.segment, "tenants": len(self._base)},
        )
        return sealer

    def _seal(self, sealer: Sealer, stop: threading.Event) -> None:
        kept_at, kept_segment = self._clock_s(), sealer.place.segment
        maker = ReceiptMaker(
            self._state_dir, self._state_dir / FOLDER_NAME / LOGS_NAME, key_name(self._public_key)
        )
        while True:
            ending = stop.is_set()
            began = self._clock_s()
            check_not_set_back(self._state_dir, sealer.origin.name)
            covered = self._read(sealer, began + STEP_S)
            signed = sealer.sign()
            self._certify(sealer, signed)
            self._make_receipts(sealer, maker)
            self._tell(sealer, signed, covered)
            ended_segment = covered is not None and sealer.place.segment != kept_segment
            if ending or ended_segment or self._clock_s() - kept_at >= KEEP_S:
                sealer.keep()
                kept_at, kept_segment = self._clock_s(), sealer.place.segment
                self._backoff.reset()
                self._prune(sealer)
            if ending:
                log.info("record.closed", extra={"origin": sealer.origin.name})
                return
            if self._unreadable.fails:
                stop.wait(RETRY_S)
            elif covered is not None:
                self._scrubber.read()
                stop.wait(max(began + STEP_S - self._clock_s(), 0.0))

    def _prune(self, sealer: Sealer) -> None:
        """Remove old entries, once an hour. To be called when all is durable. An error costs this search, and not the sealing."""
        if self._clock_s() - self._pruned_at < PRUNE_S:
            return
        self._pruned_at = self._clock_s()
        try:
            policy = read_policy(self._state_dir / SEALER_FOLDER)
            for pruned in sealer.pruning.run(sealer.entries, policy):
                extra = {"tenant": pruned.tenant, "removed": pruned.removed, "minimum": pruned.minimum}
                log.info("record.pruned", extra=extra)
                self._status = msgspec.structs.replace(
                    self._status, removed=self._status.removed + pruned.removed
                )
            for problem in sealer.pruning.problems:
                log.warning("record.not_pruned", extra={"why": problem})
            self._status = msgspec.structs.replace(self._status, oldest_ms=sealer.pruning.oldest_ms)
            write_status(self._state_dir, self._status)
        except OSError as error:
            log.warning("record.not_pruned", extra={"why": str(error)})

    def _read(self, sealer: Sealer, until: float) -> float | None:
        """Read on until the end, or until this time or what the disk does not give; returns when it was that the end was not further away, else None."""
        while True:
            began = self._clock_s()
            try:
                read = sealer.advance()
            except SegmentUnreadable as error:
                self._tell_unreadable(error)
                return None
            self._unreadable.passed(sealer.place.segment, sealer.place.offset)
            if read < MOST_RECORDS:
                return began
            if self._clock_s() >= until:
                return None

    def _tell_unreadable(self, error: SegmentUnreadable) -> None:
        """Count a try to read what the disk does not give; what is before it is sealed meanwhile."""
        if self._unreadable.failed(error, self._clock_s()):
            extra = {"segment": error.segment, "offset": error.offset, "errno": error.errno}
            log.error("record.unreadable", extra=extra)
        self._failed("io")

    def _certify(self, sealer: Sealer, signed: dict[str, Checkpoint]) -> None:
        """Request a statement for the first checkpoint of a tenant by this process, and again after a week."""
        now = self._clock_s()
        for tenant, checkpoint in signed.items():
            if now - self._asked_at.get(tenant, -CERTIFY_AGAIN_S) < CERTIFY_AGAIN_S:
                continue
            self._requests.ask(
                StatementRequest(
                    tenant=tenant,
                    epoch_key=self._public_key,
                    head=Head.of(checkpoint),
                    follows=sealer.follows.get(tenant),
                )
            )
            self._asked_at[tenant] = now

    def _make_receipts(self, sealer: Sealer, maker: ReceiptMaker) -> None:
        """Make the receipts that wait. Without room on the disk they wait on: checkpoints do not depend on them."""
        try:
            maker.make(sealer.receipts)
        except OSError as error:
            log.warning("record.receipts_failed", extra={"why": error.strerror or str(error)})
        dropped, sealer.receipts.dropped = sealer.receipts.dropped, 0
        if dropped:
            log.warning("record.receipts_dropped", extra={"receipts": dropped})
            self._failures["receipt"] += dropped
            self._status = msgspec.structs.replace(self._status, failures=dict(self._failures))

    def _tell(self, sealer: Sealer, signed: dict[str, Checkpoint], covered: float | None) -> None:
        self._teller.damage(sealer.damage)
        self._failures += self._teller.skipped(sealer.skipped) + self._teller.gaps(sealer.gaps)
        counted = dict(self._status.entries)
        sizes = sealer.entries
        for tenant in signed:
            added = sizes[tenant] - self._base.get(tenant, 0)
            self._base[tenant] = sizes[tenant]
            if added > 0:
                counted[tenant] = counted.get(tenant, 0) + added
        if self._clock_s() - self._measured_at >= MEASURE_S:
            self._measured_at = self._clock_s()
            size = measured(self._state_dir, self._status.record_bytes)
            self._status = msgspec.structs.replace(self._status, record_bytes=size)
        self._status = msgspec.structs.replace(
            self._status,
            covered_ns=self._status.covered_ns if covered is None else _ns(covered),
            entries=counted,
            checkpoints=self._status.checkpoints + len(signed),
            uncertified=len(self._requests),
            failures=dict(self._failures),
            segment=sealer.place.segment,
            damage=self._scrubber.damage,
            scrubbed=self._scrubber.entries,
        )
        write_status(self._state_dir, self._status)

    def _failed(self, reason: FailureReason) -> None:
        self._failures[reason] += 1
        self._status = msgspec.structs.replace(self._status, failures=dict(self._failures))
        try:
            write_status(self._state_dir, self._status)
        except OSError:
            log.debug("record.status_not_written")

    def _replace(self, stop: threading.Event) -> None:
        """Begin a new record, unless one was begun a moment ago; pauses after a failure."""
        if self._clock_s() - self._replaced_at < REPLACE_PAUSE_S:
            stop.wait(self._backoff.next_s())
            return
        try:
            # A statement about the former log would not certify the new one.
            self._requests.forget_other_keys(b"")
            self._asked_at.clear()
            former = give_up(self._state_dir)
        except OSError as error:
            _log_failed(error)
            stop.wait(self._backoff.next_s())
            return
        self._replaced_at = self._clock_s()
        self._teller.begin_anew()
        self._scrubber.begin_anew()
        log.error("record.replaced", extra={"former": former})


def _log_failed(error: OSError) -> None:
    extra = {"why": error.strerror or str(error), "errno": error.errno, "file": str(error.filename or "")}
    log.error("record.failed", extra=extra)


def _ns(seconds: float) -> int:
    return int(seconds * 1e9)
