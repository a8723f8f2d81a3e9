"""Jobs and results as stored in Redis: arq's own dictionaries, msgpack, with typed contents.

arq's field names: ``t`` try, ``f`` function, ``a`` args, ``k`` kwargs, ``et`` enqueue time, ``s`` success,
``r`` result, ``st``/``ft`` start and finish time, ``q`` queue, ``id`` job id; times in Unix ms.
"""

from __future__ import annotations

import hashlib
import math
import re
from enum import IntEnum
from typing import Annotated, Any, Final

import msgspec

from queueing.errors import EnvelopeMalformed, FunctionUnknown, ResultInvalid, SigningError, from_reason
from queueing.protocol.envelope import Envelope
from queueing.protocol.keyspace import REPLY_ID_PATTERN

FUNCTION: Final = "sign"
"""The one function of a tenant's queue: ``sign(envelope: bytes)``."""

MAX_COUNTED: Final = 2**53
"""Highest count, or time in ms, that is unsigned: Lua reads a larger one as another number than we do."""

_JOB_DOMAIN: Final = b"sigmill-job-v1\x00"
_CONTENT_DOMAIN: Final = b"sigmill-content-v1\x00"
_JOB_ID: Final = re.compile(r"^\{([^{}]+)\}[0-9a-f]{32}\Z")


class JobHints(msgspec.Struct, frozen=True, omit_defaults=True):
    """Unsigned fields next to the envelope, for scripts and routing: hints, never authority.

    ``n`` digests in the envelope; ``alg`` its algorithm; ``h`` content hash (16 bytes); ``re`` the client's
    reply stream (32 hex digits); ``c`` the client; ``rc`` 1 where the client wants a receipt. All are absent when a stock
    arq producer made the job.
    """

    n: Annotated[int, msgspec.Meta(ge=0, le=MAX_COUNTED)] = 0
    alg: str = ""
    h: bytes = b""
    re: str = ""
    c: str = ""
    rc: Annotated[int, msgspec.Meta(ge=0, le=MAX_COUNTED)] = 0


class ReceiptNotice(IntEnum):
    """Answer of a worker to a job that wants a receipt; a worker that knows of no receipts gives none."""

    NONE = 0
    FOLLOWS = 1
    """A receipt will be published under the job's id (``queueing.broker.receipts``)."""

    NO_RECORD = 2
    """The worker keeps no record, from which receipts are made."""


class _ArqJob(msgspec.Struct, frozen=True):
    t: int | None
    f: str
    a: tuple[bytes]
    k: JobHints
    et: int


class _ArqJobShape(msgspec.Struct, frozen=True):
    f: str


class WireError(msgspec.Struct, frozen=True, omit_defaults=True):
    """An error on the wire: its code decides the class, the message is for people."""

    code: str
    message: str = ""
    retry_after_s: float | None = None

    @classmethod
    def of(cls, error: SigningError) -> WireError:
        """The note of this error."""
        return cls(code=error.reason, message=error.message, retry_after_s=error.retry_after_s)

    def error(self) -> SigningError:
        """The error of this note. A time that is none (negative, infinite, NaN) is no advice: a wait of NaN would hold up every timer."""
        wait_s = self.retry_after_s
        is_time = wait_s is not None and 0 <= wait_s < math.inf
        return from_reason(self.code, self.message, retry_after_s=wait_s if is_time else None)


class JobOutcome(msgspec.Struct, frozen=True, omit_defaults=True):
    """A job that was worked on: one outcome per digest, in the order of the envelope.

    ``signatures[i]`` is None exactly where ``errors`` has an entry ``i``.
    """

    key: str
    key_version: int
    public_key_sha256: bytes
    algorithm: str
    signatures: tuple[bytes | None, ...]
    errors: dict[int, WireError] = msgspec.field(default_factory=dict)


class ResultHints(msgspec.Struct, frozen=True, omit_defaults=True):
    """Kwargs of a result, which the submit script reads.

    ``h`` content hash of the job; ``again`` 1 when the same job may be submitted again (it expired, and nothing
    of it was released). ``rc``: a ``ReceiptNotice``; another number, of a later version, is none.
    """

    h: bytes = b""
    again: int = 0
    rc: int = 0


class ArqResult(msgspec.Struct, frozen=True, kw_only=True):
    """A result in arq's form. ``r`` is a ``JobOutcome`` when ``s``, else an ``WireError``."""

    t: int = 1
    f: str = FUNCTION
    a: tuple[()] = ()
    k: ResultHints
    et: int
    s: bool
    r: JobOutcome | WireError
    st: int
    ft: int
    q: str
    id: str


class _SuccessResult(msgspec.Struct, frozen=True):
    r: JobOutcome
    k: ResultHints


class _FailedResult(msgspec.Struct, frozen=True):
    r: WireError
    k: ResultHints


class _ResultShape(msgspec.Struct, frozen=True):
    s: bool


_encoder = msgspec.msgpack.Encoder()
_job_decoder = msgspec.msgpack.Decoder(_ArqJob)
_job_shape_decoder = msgspec.msgpack.Decoder(_ArqJobShape)
_shape_decoder = msgspec.msgpack.Decoder(_ResultShape)
_success_decoder = msgspec.msgpack.Decoder(_SuccessResult)
_failed_decoder = msgspec.msgpack.Decoder(_FailedResult)
_fields_decoder = msgspec.msgpack.Decoder(dict[str, msgspec.Raw])
_reply_id = re.compile(REPLY_ID_PATTERN)
_notices: Final = {each.value: each for each in ReceiptNotice}


class QueuedJob(msgspec.Struct, frozen=True):
    """A job read from the queue: the sealed envelope, and unchecked hints."""

    sealed: bytes
    hints: JobHints
    enqueued_at_ms: int


class JobResult(msgspec.Struct, frozen=True):
    """A result read from Redis; nothing in it is verified yet."""

    outcome: JobOutcome | SigningError
    content: bytes
    receipt: ReceiptNotice = ReceiptNotice.NONE


def job_id_of(tenant: str, idempotency_key: bytes) -> str:
    """The job id: ``{tenant}`` (the hash tag) and 32 hex digits.

    A function of tenant and idempotency key alone, so a repeated submit meets its own job.
    """
    tail = hashlib.sha256(_JOB_DOMAIN + tenant.encode() + b"\x00" + idempotency_key).hexdigest()[:32]
    return f"{{{tenant}}}{tail}"


def tenant_of_job_id(job_id: str) -> str | None:
    """The tenant in a job id of ours; None for any other id."""
    match = _JOB_ID.match(job_id)
    return match.group(1) if match else None


def content_hash(envelope: Envelope) -> bytes:
    """16 bytes over what is to be signed and with what: the same in a renewed envelope, whatever its dates."""
    body = (envelope.key, envelope.key_version, envelope.algorithm, envelope.digests)
    return hashlib.sha256(_CONTENT_DOMAIN + _encoder.encode(body)).digest()[:16]


def encode_job(sealed: bytes, hints: JobHints, enqueued_at_ms: int) -> bytes:
    """The job as ``ArqRedis.enqueue_job('sign', sealed)`` would write it, with our hints as kwargs."""
    return _encoder.encode(_ArqJob(t=None, f=FUNCTION, a=(sealed,), k=hints, et=enqueued_at_ms))


def decode_job(raw: bytes) -> QueuedJob:
    """Read a job; raises ``FunctionUnknown`` or ``EnvelopeMalformed`` (both final). Pickle is just bytes here."""
    try:
        job = _job_decoder.decode(raw)
        doubled = _has_doubles(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise _why_undecodable(raw) from None
    if job.f != FUNCTION:
        raise FunctionUnknown("this queue has the function `sign` only")
    if doubled:
        raise EnvelopeMalformed("the job has a field twice")
    hints = job.k
    if hints.re and not _reply_id.match(hints.re):
        raise EnvelopeMalformed("the job names a reply stream that is none")
    return QueuedJob(sealed=job.a[0], hints=hints, enqueued_at_ms=min(max(job.et, 0), MAX_COUNTED))


def _has_doubles(raw: bytes) -> bool:
    """Whether the job or its hints have a field twice: the claim script takes the first, msgspec the last."""
    fields = _fields_decoder.decode(raw)
    hints = bytes(fields["k"])
    return len(fields) != _map_size(raw) or len(_fields_decoder.decode(hints)) != _map_size(hints)


def _map_size(raw: bytes) -> int:
    """Number of pairs by the header of a well-formed map (fixmap, map16, map32)."""
    length = {0xDE: 2, 0xDF: 4}.get(raw[0])
    return raw[0] & 0x0F if length is None else int.from_bytes(raw[1 : 1 + length], "big")


def _why_undecodable(raw: bytes) -> SigningError:
    """A job that is not ours at all, or ours for another function, or damaged."""
    try:
        shape = _job_shape_decoder.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return EnvelopeMalformed("the job is not msgpack in arq's form")
    if shape.f != FUNCTION:
        return FunctionUnknown("this queue has the function `sign` only")
    return EnvelopeMalformed("the job does not hold one envelope")


def encode_result(result: ArqResult) -> bytes:
    """The result as arq writes it: readable by a stock ``Job.result()`` with our deserializer."""
    return _encoder.encode(result)


def decode_result(raw: bytes) -> JobResult:
    """Read a result; raises ``ResultInvalid`` (final) for anything that is not one."""
    try:
        if _shape_decoder.decode(raw).s:
            success = _success_decoder.decode(raw)
            return JobResult(
                outcome=success.r, content=success.k.h, receipt=_notices.get(success.k.rc, ReceiptNotice.NONE)
            )
        failed = _failed_decoder.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise ResultInvalid("the result cannot be read") from None
    return JobResult(outcome=failed.r.error(), content=failed.k.h)


def serialize(value: dict[str, Any]) -> bytes:
    """Arq's ``job_serializer``: msgpack. Errors travel as their code; other exceptions as their class name."""
    return msgspec.msgpack.encode(value, enc_hook=_encode_foreign)


def deserialize(raw: bytes) -> dict[str, Any]:
    """Arq's ``job_deserializer``. A failed result becomes its ``SigningError``, so ``Job.result()`` raises it."""
    value: dict[str, Any] = msgspec.msgpack.decode(raw, type=dict[Annotated[str, msgspec.Meta()], Any])
    if value.get("s") is False and isinstance(value.get("r"), dict):
        note = value["r"]
        value["r"] = from_reason(str(note.get("code", "")), str(note.get("message", "")))
    return value


def _encode_foreign(value: object) -> object:
    if isinstance(value, SigningError):
        return WireError.of(value)
    if isinstance(value, BaseException):
        return {"code": FunctionUnknown.reason, "message": type(value).__name__}
    raise TypeError(f"{type(value).__name__} cannot be stored in a job")
