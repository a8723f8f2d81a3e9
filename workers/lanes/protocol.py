"""Frames between worker and lane: a 4-byte big-endian length and one msgpack message.

The lane trusts no message: a chunk names envelopes and ranges, and the lane reads, verifies and resolves each envelope
itself. The answers contain no secret. The worker trusts no answer: the types here bound sizes and ranges, and
``supervisor.answer_reader`` checks the rest.
"""

from __future__ import annotations

import struct
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated, Final

import msgspec

from queueing.protocol.envelope import MAX_DIGESTS
from queueing.protocol.jobs import WireError
from queueing.protocol.names import Name
from workers.journal.event_records import KeyOperations
from workers.state.token_claims import TokenProperties

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

MAX_FRAME_BYTES: Final = 64 * 1024 * 1024
"""Far above any chunk (1,024 digests per envelope, a few hundred envelopes); a longer frame is invalid."""

MAX_ANSWER_BYTES: Final = 8 * 1024 * 1024
"""Far above any answer of a lane (1,024 signatures or errors, or a key directory)."""

MAX_SIGNATURE_BYTES: Final = 1024
"""Twice a signature of RSA 4096."""

MAX_DIRECTORY_BYTES: Final = 4 * 1024 * 1024
"""Some thousand key versions with their public keys."""

MAX_STATEMENT_BYTES: Final = 16 * 1024
"""An origin statement has about 700 bytes."""

KEY_NOT_FOUND: Final = "the key was found 0 times in the token"
"""Message of an error (``token.unavailable``) that says that the lane does not see the key. The code is that of every token
that cannot be used, since older workers and clients know no other.
"""

OPEN_CIRCUIT: Final = "open_circuit"
"""``Action.OPEN_CIRCUIT`` of ``workers.hsm.faults``, as a lane sends it: the worker imports no PKCS#11."""

_LENGTH: Final = struct.Struct(">I")

_Number = Annotated[int, msgspec.Meta(ge=0, le=2**31)]
_Epoch = Annotated[int, msgspec.Meta(ge=-1, le=2**63 - 1)]
_Seconds = Annotated[float, msgspec.Meta(ge=0.0, le=86_400_000.0)]
"""No NaN, no infinity; above any time that a chunk can take with all sessions together."""
_Signature = Annotated[bytes, msgspec.Meta(max_length=MAX_SIGNATURE_BYTES)]
_Fingerprint = Annotated[bytes, msgspec.Meta(max_length=64)]
_Text = Annotated[str, msgspec.Meta(max_length=4096)]
_Hash = Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]
_Size = Annotated[int, msgspec.Meta(ge=0, le=2**62)]
_Origin = Annotated[str, msgspec.Meta(pattern=r"^[!-~]{1,512}\Z")]
_Operations = Annotated[tuple[KeyOperations, ...], msgspec.Meta(max_length=1025)] | None
"""Calls of C_Sign that the answer took, by key version; None from a lane of a former version, which does not count them."""

_Word = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_.-]{1,64}\Z")]
"""Names of failures: they become labels of metrics, and words in log lines."""


class EnvelopeSlice(msgspec.Struct, frozen=True, array_like=True):
    """Slice: ``count`` digests of a sealed envelope, from index ``first`` on."""

    sealed: bytes
    first: int
    count: int


class Chunk(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Slices to be signed; answered by one ``Outcomes`` of the same id, unless the lane exits first."""

    id: int
    items: tuple[EnvelopeSlice, ...]


class SignDirectory(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Request to the service's lane for the signed directory of a tenant, as the lane's own files have it."""

    id: int
    tenant: str
    issued_at_ms: int
    expires_at_ms: int


class FormerHead(msgspec.Struct, frozen=True, array_like=True):
    """Newest head of the origin that a log follows: its name, number of entries, and root."""

    origin: _Origin
    size: _Size
    root: _Hash


class SignStatement(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Request to the service's lane for an origin statement, of which the lane writes every line itself.

    ``origin``: the 16 hex digits of the host's record; ``epoch_key``: Ed25519; ``size`` and ``root``: head of the tenant's log.
    """

    id: int
    tenant: Name
    origin: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{16}\Z")]
    epoch_key: _Hash
    size: _Size
    root: _Hash
    follows: FormerHead | None = None


class SignCanary(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Request for a canary: sign the constant of ``workers.lanes.canary``, which the lane has, with a key version."""

    id: int
    key: str
    version: int


class Reload(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Request to apply these stop orders, and to read the ``files`` again; answered by ``Reloaded`` of the same id."""

    id: int
    files: bool
    orders: tuple[bytes, ...] = ()


class Stop(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Command to answer what is under way, then exit."""


class Ready(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Report of a login: number of sessions, and of those wanted; whether the lane knows ``SignCanary`` and
    ``SignStatement``.

    ``token``: the one that it logged in to; None from an older lane. ``loop``: ``native``, or ``python:`` and the reason; empty from an
    older lane. ``tenant_epoch``: of the tenant's file in force in the lane (-1: none); None from an older lane.
    """

    pid: _Number
    sessions: Annotated[int, msgspec.Meta(ge=1, le=4096)]
    wanted: _Number
    module: _Text
    canaries: bool = False
    token: TokenProperties | None = None
    statements: bool = False
    loop: _Text = ""
    tenant_epoch: _Epoch | None = None


class SliceOutcome(msgspec.Struct, frozen=True, array_like=True):
    """Outcome of one slice: ``error`` refuses it whole, else there is one outcome per digest of the slice.

    ``signatures[i]`` is None exactly where ``errors`` has an entry ``i`` (both relative to the slice).
    """

    error: WireError | None
    key_version: _Number = 0
    public_key_sha256: _Fingerprint = b""
    signatures: Annotated[tuple[_Signature | None, ...], msgspec.Meta(max_length=MAX_DIGESTS)] = ()
    errors: Annotated[dict[int, WireError], msgspec.Meta(max_length=MAX_DIGESTS)] = {}


class Outcomes(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Answer to a chunk, in its order; ``seconds`` is the time from its first to its last signature.

    ``sign_s`` and ``verify_s``: time in the module and in verifying, of all sessions together.
    """

    id: int
    items: tuple[SliceOutcome, ...]
    seconds: _Seconds
    sign_s: _Seconds = 0.0
    verify_s: _Seconds = 0.0
    operations: _Operations = None


class SignedDirectory(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Answer to ``SignDirectory``: the bytes to publish, or an error."""

    id: int
    signed: Annotated[bytes, msgspec.Meta(max_length=MAX_DIRECTORY_BYTES)]
    error: WireError | None = None
    operations: _Operations = None


class SignedStatement(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Answer to ``SignStatement``: the signed note, or an error."""

    id: int
    note: Annotated[bytes, msgspec.Meta(max_length=MAX_STATEMENT_BYTES)]
    error: WireError | None = None
    operations: _Operations = None


class SignedCanary(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Answer to ``SignCanary``: the signature over the constant, or an error."""

    id: int
    signature: _Signature
    error: WireError | None = None
    operations: _Operations = None


class Reloaded(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Answer to ``Reload``: epochs of service and tenant in force (-1: none), and the problem with refused files, or ''."""

    id: int
    service_epoch: _Epoch
    tenant_epoch: _Epoch
    problem: str


class Alive(msgspec.Struct, frozen=True, array_like=True, tag="Working"):
    """Sign of life, sent about once a second while there is work."""


class LaneFailure(msgspec.Struct, frozen=True, array_like=True, tag="Failing"):
    """Last message of a lane that exits of its own accord: PKCS#11 name of the failure, and the action of the fault table."""

    code_name: _Word
    action: Annotated[str, msgspec.Meta(max_length=64)]
    pin_failure: bool


ToLane = Chunk | SignDirectory | SignStatement | SignCanary | Reload | Stop
FromLane = (
    Ready | Outcomes | SignedDirectory | SignedStatement | SignedCanary | Reloaded | Alive | LaneFailure
)

_encoder = msgspec.msgpack.Encoder()
to_lane_decoder = msgspec.msgpack.Decoder(ToLane)
from_lane_decoder = msgspec.msgpack.Decoder(FromLane)


def encode_frame(message: ToLane | FromLane) -> bytes:
    """Encode a message with its length before it."""
    body = _encoder.encode(message)
    return _LENGTH.pack(len(body)) + body


def frame_length(head: bytes, most_bytes: int = MAX_FRAME_BYTES) -> int:
    """Length in a frame's 4-byte head; ``ValueError`` when it is too long."""
    length: int = _LENGTH.unpack(head)[0]
    if length > most_bytes:
        raise ValueError(f"a frame of {length} bytes")
    return length


def read_to_lane(stream: BinaryIO) -> Iterator[ToLane]:
    """Messages of the worker until it hangs up: between two frames, within one, or, if it was killed before it had read
    all answers, by a reset.
    """
    with suppress(ConnectionError):
        while len(head := stream.read(_LENGTH.size)) == _LENGTH.size:
            body = stream.read(length := frame_length(head))
            if len(body) < length:
                return
            yield to_lane_decoder.decode(body)
