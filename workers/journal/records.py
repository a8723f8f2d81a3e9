"""The records of the write-ahead log (msgpack arrays, tagged). Times are Unix ms of the host's clock.

Every HSM operation is covered by an ``IntentRecord``; every release by an ``OutcomeRecord`` that was durable before it.
An intent without an outcome after a crash is closed by ``UnknownRecord``: it may have been signed, nobody has seen it.
"""

from __future__ import annotations

import msgspec


class OpenedRecord(msgspec.Struct, frozen=True, array_like=True, tag="Opened"):
    """The first record of a segment: whatever stands before segment ``first_open`` has come to its end."""

    at_ms: int
    first_open: int


class IntentRecord(msgspec.Struct, frozen=True, array_like=True, tag="Intent"):
    """About to be signed. ``sealed`` is the whole envelope: who authorised which digests, by their signature."""

    at_ms: int
    tenant: str
    job_id: bytes
    lease: bytes
    attempt: int
    sealed: bytes


class OutcomeRecord(msgspec.Struct, frozen=True, array_like=True, tag="Outcome"):
    """Signed and verified, or refused: ``result`` is what will be published, with the signature bytes.

    ``dead_letter`` is kept beside it where the service gives the job up (``queueing.broker.dead_letters``).
    """

    at_ms: int
    tenant: str
    job_id: bytes
    lease: bytes
    reply_id: str
    result: bytes
    dead_letter: bytes = b""


class ReleasedRecord(msgspec.Struct, frozen=True, array_like=True, tag="Released"):
    """Redis took the outcome (``committed``), or refused it because another owner had the job (``fenced``)."""

    at_ms: int
    tenant: str
    job_id: bytes
    lease: bytes
    how: str


class ReturnedRecord(msgspec.Struct, frozen=True, array_like=True, tag="Returned"):
    """Given back to the queue with no outcome; ``maybe_signed`` when a lane may have signed some of it."""

    at_ms: int
    tenant: str
    job_id: bytes
    lease: bytes
    maybe_signed: bool


class UnknownRecord(msgspec.Struct, frozen=True, array_like=True, tag="Unknown"):
    """Closes an intent that had no outcome when its process ended."""

    at_ms: int
    tenant: str
    job_id: bytes
    lease: bytes


class CanaryIntentRecord(msgspec.Struct, frozen=True, array_like=True, tag="CanaryIntent"):
    """About to sign the constant of ``workers.lanes.canary``: nobody's job, so ``job_id`` is the canary's own id.

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


class CanaryOutcomeRecord(msgspec.Struct, frozen=True, array_like=True, tag="CanaryOutcome"):
    """What became of a canary: ``outcome`` is ``ok`` or the reason of an error; the signature is released to nobody."""

    at_ms: int
    tenant: str
    job_id: bytes
    lease: bytes
    outcome: str
    signature: bytes


Record = (
    OpenedRecord
    | IntentRecord
    | OutcomeRecord
    | ReleasedRecord
    | ReturnedRecord
    | UnknownRecord
    | CanaryIntentRecord
    | CanaryOutcomeRecord
)

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Record)


def encode_record(record: Record) -> bytes:
    """The bytes of one record."""
    return _encoder.encode(record)


def decode_record(raw: bytes) -> Record:
    """The record in these bytes; ``msgspec.MsgspecError`` when there is none."""
    record: Record = _decoder.decode(raw)
    return record
