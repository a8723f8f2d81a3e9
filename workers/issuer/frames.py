"""Frames between the issuer's front and its lane: a 4-byte big-endian length and one msgpack message, as those of other lanes.

The lane trusts no message: it gets the body of a request as it came, and reads and verifies it itself. Of ``certificate`` the
front alone knows that the caller has its private key.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Annotated, Final

import msgspec

from queueing.protocol.grants.grant import MAX_GRANT_BYTES
from queueing.protocol.grants.grant_request import MAX_ANSWER_BYTES, MAX_REQUEST_BYTES
from workers.issuer.identity.certificates import MAX_CERTIFICATE_BYTES
from workers.issuer.identity.refusals import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

    from queueing.errors import SigningError

MAX_FRAME_BYTES: Final = 64 * 1024
"""The longest request with a certificate; answers are shorter."""

LENGTH: Final = struct.Struct(">I")

_Number = Annotated[int, msgspec.Meta(ge=0, le=2**53)]
_MOST_CHARACTERS: Final = 4096
_Text = Annotated[str, msgspec.Meta(max_length=_MOST_CHARACTERS)]
_Word = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_.-]{0,64}\Z")]


class RequestGrant(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Request as it came: its body, and the certificate (DER) of its TLS connection, or b''. ``check``: it wants a judgement only."""

    id: _Number
    body: Annotated[bytes, msgspec.Meta(max_length=MAX_REQUEST_BYTES)]
    certificate: Annotated[bytes, msgspec.Meta(max_length=MAX_CERTIFICATE_BYTES)] = b""
    check: bool = False


class LaneReady(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Report of a login: description of the module."""

    pid: _Number
    module: _Text


class Granted(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Answer with a grant, and the name of the provider for the metric."""

    id: _Number
    grant: Annotated[bytes, msgspec.Meta(max_length=MAX_GRANT_BYTES)]
    expires_ms: _Number
    provider: _Word


class Judged(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Answer to a check: its body as it goes to the caller, and the name of the provider for the metric."""

    id: _Number
    body: Annotated[bytes, msgspec.Meta(max_length=MAX_ANSWER_BYTES)]
    provider: _Word


class Refused(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Answer without a grant: the error, its outcome for the metric, and the provider as far as it is known."""

    id: _Number
    code: _Word
    message: _Text
    hint: _Text
    outcome: Outcome
    provider: _Word = ""
    retry_after_s: Annotated[float, msgspec.Meta(ge=0, le=86_400)] | None = None

    @classmethod
    def of(cls, number: int, error: SigningError, outcome: Outcome, provider: str) -> Refused:
        """The answer with this error. Its texts are cut: the front closes the connection after a frame that it cannot read."""
        message, hint = error.message[:_MOST_CHARACTERS], error.hint[:_MOST_CHARACTERS]
        return cls(number, error.reason, message, hint, outcome, provider, error.retry_after_s)


class LaneEnding(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Last message of a lane that exits of its own accord: name of the failure."""

    code_name: _Word


FromLane = LaneReady | Granted | Judged | Refused | LaneEnding

_encoder = msgspec.msgpack.Encoder()
_to_lane = msgspec.msgpack.Decoder(RequestGrant)
_from_lane = msgspec.msgpack.Decoder(FromLane)


def encode_frame(message: RequestGrant | FromLane) -> bytes:
    """The message with its length before it."""
    body = _encoder.encode(message)
    return LENGTH.pack(len(body)) + body


def frame_length(head: bytes) -> int:
    """Length in a frame's head. Raises ``ValueError`` where it is too long."""
    length: int = LENGTH.unpack(head)[0]
    if length > MAX_FRAME_BYTES:
        raise ValueError(f"a frame of {length} bytes")
    return length


def read_requests(stream: BinaryIO) -> Iterator[RequestGrant]:
    """Requests of the front until it hangs up. Raises ``ValueError`` for what is no request."""
    try:
        while len(head := stream.read(LENGTH.size)) == LENGTH.size:
            body = stream.read(length := frame_length(head))
            if len(body) < length:
                return
            yield _to_lane.decode(body)
    except ConnectionError:
        return


def decode_answer(body: bytes) -> FromLane:
    """Message of the lane. Raises ``ValueError`` for what is none."""
    message: FromLane = _from_lane.decode(body)
    return message
