"""Frames: what goes in comes out, and what is no frame is refused before it is read."""

from __future__ import annotations

import io

import msgspec
import pytest

from queueing.protocol.jobs import WireError
from workers.journal.event_records import KeyOperations
from workers.lanes.protocol import (
    MAX_FRAME_BYTES,
    Alive,
    Chunk,
    EnvelopeSlice,
    FromLane,
    LaneFailure,
    Outcomes,
    Ready,
    SignDirectory,
    SignedDirectory,
    SliceOutcome,
    Stop,
    ToLane,
    encode_frame,
    frame_length,
    from_lane_decoder,
    read_to_lane,
    to_lane_decoder,
)
from workers.state.token_claims import TokenProperties

REFUSED = WireError(code="digest.length", message="too short")
TO_LANE: list[ToLane] = [
    Chunk(7, (EnvelopeSlice(b"sealed", 3, 9), EnvelopeSlice(b"", 0, 1))),
    SignDirectory(1, "acme", 10, 20),
    Stop(),
]
FROM_LANE: list[FromLane] = [
    Ready(123, 2, 4, "SoftHSM"),
    Ready(
        123, 2, 4, "SoftHSM", True, TokenProperties("SoftHSM project", "SoftHSM v2", "0123", "acme", 2**63)
    ),
    Outcomes(7, (SliceOutcome(None, 2, b"f" * 32, (b"s", None), {1: REFUSED}), SliceOutcome(REFUSED)), 0.5),
    SignedDirectory(1, b"signed"),
    Outcomes(7, (), 0.5, 0.1, 0.2, (KeyOperations("release", 1, 3),)),
    SignedDirectory(1, b"signed", None, (KeyOperations("service", 1, 1),)),
    SignedDirectory(1, b"", REFUSED),
    Alive(),
    LaneFailure("CKR_DEVICE_ERROR", "replace_lane", False),
]


def body_of(frame: bytes) -> bytes:
    assert frame_length(frame[:4]) == len(frame) - 4
    return frame[4:]


@pytest.mark.parametrize("message", TO_LANE, ids=lambda m: type(m).__name__)
def test_messages_of_the_worker_are_decoded_as_sent(message: ToLane) -> None:
    """Every type of message is decoded with all its fields."""
    assert to_lane_decoder.decode(body_of(encode_frame(message))) == message


@pytest.mark.parametrize("message", FROM_LANE, ids=lambda m: type(m).__name__)
def test_messages_of_the_lane_are_decoded_as_sent(message: FromLane) -> None:
    """Every type of message is decoded with all its fields."""
    assert from_lane_decoder.decode(body_of(encode_frame(message))) == message


@pytest.mark.parametrize("message", FROM_LANE, ids=lambda m: type(m).__name__)
def test_the_lane_takes_no_message_of_its_own_kind(message: FromLane) -> None:
    """A lane cannot be made to take its own answer for a request."""
    with pytest.raises(msgspec.ValidationError):
        to_lane_decoder.decode(body_of(encode_frame(message)))


class FormerOutcomes(msgspec.Struct, frozen=True, array_like=True, tag="Outcomes"):
    """Answer as workers of the former version read it."""

    id: int
    items: tuple[SliceOutcome, ...]
    seconds: float
    sign_s: float = 0.0
    verify_s: float = 0.0


def test_workers_and_lanes_of_two_versions_understand_each_other() -> None:
    """A worker skips the numbers that it does not know, and knows none of a lane that sends none."""
    new = Outcomes(7, (), 0.5, 0.1, 0.2, (KeyOperations("release", 1, 3),))
    former = FormerOutcomes(7, (), 0.5, 0.1, 0.2)
    read = msgspec.msgpack.decode(body_of(encode_frame(new)), type=FormerOutcomes)
    assert read == former
    answer = from_lane_decoder.decode(msgspec.msgpack.encode(former))
    assert isinstance(answer, Outcomes)
    assert answer.operations is None


def test_a_length_beyond_any_frame_is_refused() -> None:
    """The first four bytes of a frame are enough to refuse it."""
    assert frame_length(MAX_FRAME_BYTES.to_bytes(4, "big")) == MAX_FRAME_BYTES
    with pytest.raises(ValueError, match="frame"):
        frame_length((MAX_FRAME_BYTES + 1).to_bytes(4, "big"))


class Killed(io.BytesIO):
    """A worker that was killed before it had read everything: the kernel resets what it leaves."""

    def read(self, size: int | None = -1) -> bytes:
        found = super().read(size)
        if not found:
            raise ConnectionResetError
        return found


WHOLE = b"".join(map(encode_frame, TO_LANE))


@pytest.mark.parametrize(
    "stream",
    [
        io.BytesIO(WHOLE),
        Killed(WHOLE),
        io.BytesIO(WHOLE + b"\0\0"),
        io.BytesIO(WHOLE + encode_frame(Stop())[:-1]),
    ],
    ids=["ended", "reset", "torn head", "torn body"],
)
def test_a_worker_that_goes_away_says_no_more(stream: io.BytesIO) -> None:
    """The messages before its end are read; the end itself, in whatever form, is no error of the lane."""
    assert list(read_to_lane(stream)) == TO_LANE
