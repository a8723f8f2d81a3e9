"""What travels between worker and lane: frames of a 4-byte big-endian length and one msgpack message.

The lane trusts nothing in them: a chunk names envelopes and ranges, and the lane reads, verifies and resolves
each envelope itself. The worker learns nothing secret from the answers.
"""

from __future__ import annotations

import struct
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import msgspec

from queueing.protocol.jobs import WireError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

MAX_FRAME_BYTES: Final = 64 * 1024 * 1024
"""Far above any chunk (1,024 digests per envelope, a few hundred envelopes); below it a length is a mistake."""

_LENGTH: Final = struct.Struct(">I")


class EnvelopeSlice(msgspec.Struct, frozen=True, array_like=True):
    """``count`` digests of a sealed envelope, from index ``first`` on."""

    sealed: bytes
    first: int
    count: int


class Chunk(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Sign these; answered by one ``Outcomes`` of the same id, unless the lane ends first."""

    id: int
    items: tuple[EnvelopeSlice, ...]


class SignDirectory(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """To the service's lane: publish the directory of this tenant, as the lane's own files have it."""

    id: int
    tenant: str
    issued_at_ms: int
    expires_at_ms: int


class SignCanary(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Sign the constant of ``workers.lanes.canary`` with this version of a key; the lane knows the constant itself."""

    id: int
    key: str
    version: int


class Reload(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Judge these signed orders, and read your ``files`` again; answered by ``Reloaded`` of the same id."""

    id: int
    files: bool
    orders: tuple[bytes, ...] = ()


class Stop(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Answer what is under way, then end."""


class Ready(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Logged in: how many sessions there are of how many wanted; whether it knows what ``SignCanary`` is."""

    pid: int
    sessions: int
    wanted: int
    module: str
    canaries: bool = False


class SliceOutcome(msgspec.Struct, frozen=True, array_like=True):
    """The outcome of one item: ``error`` refuses it whole, else there is one outcome per digest of the range.

    ``signatures[i]`` is None exactly where ``errors`` has an entry ``i`` (both relative to the range).
    """

    error: WireError | None
    key_version: int = 0
    public_key_sha256: bytes = b""
    signatures: tuple[bytes | None, ...] = ()
    errors: dict[int, WireError] = {}


class Outcomes(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """The answer to a chunk, in its order; ``seconds`` is the time from its first to its last signature.

    ``sign_s`` and ``verify_s``: time in the module and in verifying, of all sessions together.
    """

    id: int
    items: tuple[SliceOutcome, ...]
    seconds: float
    sign_s: float = 0.0
    verify_s: float = 0.0


class SignedDirectory(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """The answer to ``SignDirectory``: the published bytes, or why there are none."""

    id: int
    signed: bytes
    error: WireError | None = None


class SignedCanary(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """The answer to ``SignCanary``: the signature over the constant, or why there is none."""

    id: int
    signature: bytes
    error: WireError | None = None


class Reloaded(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """What the lane obeys now: the epochs of service and tenant (-1: none), and why it kept the old files, or ''."""

    id: int
    service_epoch: int
    tenant_epoch: int
    problem: str


class Alive(msgspec.Struct, frozen=True, array_like=True, tag="Working"):
    """Sent about once a second while there is work: the lane lives, its calls come back."""


class LaneFailure(msgspec.Struct, frozen=True, array_like=True, tag="Failing"):
    """The lane's last word before it ends by itself: the PKCS#11 name of the failure and the action it takes."""

    code_name: str
    action: str
    pin_failure: bool


ToLane = Chunk | SignDirectory | SignCanary | Reload | Stop
FromLane = Ready | Outcomes | SignedDirectory | SignedCanary | Reloaded | Alive | LaneFailure

_encoder = msgspec.msgpack.Encoder()
to_lane_decoder = msgspec.msgpack.Decoder(ToLane)
from_lane_decoder = msgspec.msgpack.Decoder(FromLane)


def encode_frame(message: ToLane | FromLane) -> bytes:
    """The message with its length before it."""
    body = _encoder.encode(message)
    return _LENGTH.pack(len(body)) + body


def frame_length(head: bytes) -> int:
    """The length in a frame's 4-byte head; ``ValueError`` when no frame is that long."""
    length: int = _LENGTH.unpack(head)[0]
    if length > MAX_FRAME_BYTES:
        raise ValueError(f"a frame of {length} bytes")
    return length


def read_to_lane(stream: BinaryIO) -> Iterator[ToLane]:
    """What the worker says until it goes away: between two frames, within one, or, if it was killed before it had read
    all that it was told, by a reset.
    """
    with suppress(ConnectionError):
        while len(head := stream.read(_LENGTH.size)) == _LENGTH.size:
            body = stream.read(length := frame_length(head))
            if len(body) < length:
                return
            yield to_lane_decoder.decode(body)
