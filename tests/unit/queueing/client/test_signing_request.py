"""Signing requests: the cut of a job's digests."""

from __future__ import annotations

from queueing.client.signing_request import DIGESTS_PER_SLICE, Target, cut_requests
from queueing.protocol.algorithms import Algorithm
from queueing.protocol.priorities import Priority

TARGET = Target("release", 1, Algorithm.ECDSA_SHA_256)


def test_a_refused_digest_leaves_the_other_requests_as_they_are() -> None:
    """Requests are cut at fixed positions, so that a run after its correction finds the other jobs again."""
    digests: list[object] = [i.to_bytes(32) for i in range(2 * DIGESTS_PER_SLICE + 1)]
    whole = cut_requests(TARGET, digests, "build-1", Priority.NORMAL)
    digests[1] = "hex"
    damaged = cut_requests(TARGET, digests, "build-1", Priority.NORMAL)
    assert [len(request.digests) for request in whole.requests] == [64, 64, 1]
    assert damaged.requests[1:] == whole.requests[1:]
    assert damaged.refused == {1: "a digest is bytes, this is str"}
    assert damaged.count == whole.count == len(digests)


def test_a_slice_of_refused_digests_alone_makes_no_request() -> None:
    """An empty envelope is none; positions of later refusals count from the start of the job."""
    digests = ["hex"] * DIGESTS_PER_SLICE + [bytes(32), None]
    cut = cut_requests(TARGET, digests, None, Priority.NORMAL)
    assert [request.digests for request in cut.requests] == [(bytes(32),)]
    assert list(cut.refused) == [*range(DIGESTS_PER_SLICE), DIGESTS_PER_SLICE + 1]
