"""Records of the write-ahead log (tagged msgpack arrays). Times are Unix ms of the host's clock.

An ``IntentRecord`` is durable before a job is signed, an ``OutcomeRecord`` before its result is released; canaries have
records of their own, and so have events that are no job (``event_records``). At a start after a
crash an intent without an outcome is closed by ``UnknownRecord``: the job may have been signed, but nothing was released. A canary is
closed by its outcome ``CANARY_UNKNOWN``.
"""

from __future__ import annotations

from typing import Final

import msgspec

from workers.journal.event_records import EventRecord

SALT_BYTES: Final = 16

MAX_RECORD_BYTES: Final = 4 * 1024 * 1024
"""Far above the largest result (1,024 RSA-4096 signatures: half a MiB); a longer length is damage."""


class OpenedRecord(msgspec.Struct, frozen=True, array_like=True, tag="Opened"):
    """First record of a segment: no claim that began before segment ``first_open`` is open.

    ``previous``: number of the segment before it of the same process, and how many of its bytes were acknowledged; None at
    the start of a process. What that segment has behind them was never durable for its caller, and is not read.
    """

    at_ms: int
    first_open: int
    previous: tuple[int, int] | None = None


class IntentRecord(msgspec.Struct, frozen=True, array_like=True, tag="Intent"):
    """A job is about to be signed. ``sealed`` is its whole envelope: the client's signature over the digests.

    ``salt`` (16 random bytes; empty in logs of former versions) hides the digests in what a tree of the log publishes.
    """

    at_ms: int
    tenant: str
    job_id: bytes
    lease: bytes
    attempt: int
    sealed: bytes
    salt: bytes = b""


class OutcomeRecord(msgspec.Struct, frozen=True, array_like=True, tag="Outcome"):
    """A job was signed or refused: ``result`` will be published, with the signature bytes.

    ``dead_letter``: the dead letter of a job that the service gives up (``queueing.broker.dead_letters``), else empty.
    ``dropped``: number of signatures that lanes made, or may have made, and that are not in ``result``: a job can be refused
    after some of its digests were signed, and a lane can exit with a digest that another lane signs again.
    """

    at_ms: int
    tenant: str
    job_id: bytes
    lease: bytes
    reply_id: str
    result: bytes
    dead_letter: bytes = b""
    dropped: int = 0


class ReleasedRecord(msgspec.Struct, frozen=True, array_like=True, tag="Released"):
    """Redis committed the outcome (``committed``), or refused it because another worker owns the job (``fenced``)."""

    at_ms: int
    tenant: str
    job_id: bytes
    lease: bytes
    how: str


class ReturnedRecord(msgspec.Struct, frozen=True, array_like=True, tag="Returned"):
    """A job was requeued without an outcome; ``maybe_signed``: a lane may have signed some of its digests."""

    at_ms: int
    tenant: str
    job_id: bytes
    lease: bytes
    maybe_signed: bool


class UnknownRecord(msgspec.Struct, frozen=True, array_like=True, tag="Unknown"):
    """An intent had no outcome when its process ended; this record closes it. Former versions close a canary by it, too."""

    at_ms: int
    tenant: str
    job_id: bytes
    lease: bytes


class CanaryIntentRecord(msgspec.Struct, frozen=True, array_like=True, tag="CanaryIntent"):
    """A canary (``workers.lanes.canary``) is about to be signed: no client's job, so ``job_id`` is the canary's id.

    ``tenant`` is empty for the service's own token.
    """

    at_ms: int
    tenant: str
    job_id: bytes
    lease: bytes
    token: str
    key: str
    version: int
    public_key_sha256: bytes
    algorithm: str
    digest: bytes


CANARY_UNKNOWN: Final = "unknown"
"""Outcome of a canary whose lane or worker ended before its answer: it may have been signed."""


class CanaryOutcomeRecord(msgspec.Struct, frozen=True, array_like=True, tag="CanaryOutcome"):
    """Result of a canary: ``outcome`` is ``ok``, the reason of an error, or ``CANARY_UNKNOWN``; the signature is not released."""

    at_ms: int
    tenant: str
    job_id: bytes
    lease: bytes
    outcome: str
    signature: bytes


def unknown_canary(intent: CanaryIntentRecord, at_ms: int) -> CanaryOutcomeRecord:
    """End of a canary that may have been signed. Its tenant's record has it by that, which it has not of ``UnknownRecord``."""
    return CanaryOutcomeRecord(at_ms, intent.tenant, intent.job_id, intent.lease, CANARY_UNKNOWN, b"")


ClaimRecord = (
    IntentRecord
    | OutcomeRecord
    | ReleasedRecord
    | ReturnedRecord
    | UnknownRecord
    | CanaryIntentRecord
    | CanaryOutcomeRecord
)
"""Records of a claim: a job, or a canary, under one lease."""

Record = OpenedRecord | ClaimRecord | EventRecord

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Record)


_BESIDE_FIELDS: Final = 1024
"""Names, times and heads of a record's fields."""


def fits(record: OutcomeRecord) -> bool:
    """Whether a frame can hold the record. O(1): it is asked for each result."""
    fields = (record.job_id, record.lease, record.reply_id, record.result, record.dead_letter)
    return sum([len(field) for field in fields]) <= MAX_RECORD_BYTES - _BESIDE_FIELDS


def encode_record(record: Record) -> bytes:
    """Encode one record."""
    return _encoder.encode(record)


def decode_record(raw: bytes) -> Record:
    """Decode one record. Raises ``msgspec.MsgspecError``."""
    record: Record = _decoder.decode(raw)
    return record
