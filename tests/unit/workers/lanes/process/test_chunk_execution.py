"""A chunk in the lane: cut into runs for the threads, and put together with every outcome in its place."""

from __future__ import annotations

import os

import pytest

from queueing.errors import ClientRevoked, DigestLength, HsmFault
from queueing.protocol.algorithms import Algorithm
from tests.support.fakes.config_files import p256_key
from workers.config.tenants import KeyVersion
from workers.journal.event_records import KeyOperations
from workers.lanes.authorisation import Authorised
from workers.lanes.process.chunk_execution import MOST_PER_RUN, RUN_TARGET_S, ChunkExecution, Run, RunLength
from workers.lanes.protocol import Outcomes

ECDSA = Algorithm.ECDSA_SHA_256


def version(number: int = 1) -> KeyVersion:
    return KeyVersion(
        key="release",
        version=number,
        state="active",
        public_key=p256_key(number),
        tokens=("acme",),
        expires_at_ms=None,
        certificates=(),
    )


def authorised(count: int, number: int = 1) -> Authorised:
    """So many digests, authorised for this version of the key."""
    digests = tuple(os.urandom(32) for _ in range(count))
    return Authorised(digests=digests, key_version=version(number), algorithm=ECDSA)


class Lane:
    """Collects the answers of chunks."""

    def __init__(self) -> None:
        self.answers: list[Outcomes] = []

    def send(self, outcomes: Outcomes) -> None:
        self.answers.append(outcomes)

    def chunk(self, *items: tuple[Authorised | None, int, int]) -> ChunkExecution:
        """A chunk of these items; None is refused."""
        chunk = ChunkExecution(7, self)
        for what, first, count in items:
            slice_ = chunk.add_slice(first, count)
            if what is None:
                slice_.error = ClientRevoked()
            slice_.authorised = what
        return chunk


def length(threads: int = 1, each_s: float | None = None) -> RunLength:
    measured = RunLength(threads)
    if each_s is not None:
        measured.measured(ECDSA, 1, each_s)
    return measured


def sign(run: Run) -> None:
    """Sign a run as a session thread does, with the digest itself as its signature."""
    run.done.extend(bytes(digest) for digest in run.left)
    run.finish()


def test_every_outcome_is_at_its_digests_place_whatever_the_order_of_threads() -> None:
    """Runs that finish in any order give signatures in the order of the digests."""
    lane = Lane()
    job = authorised(100)
    runs = lane.chunk((job, 10, 50), (job, 60, 5)).cut(length(4))
    for run in reversed(runs):
        assert not lane.answers
        sign(run)
    (answer,) = lane.answers
    assert answer.id == 7
    assert [len(item.signatures) for item in answer.items] == [50, 5]
    assert answer.items[0].signatures == job.digests[10:60]
    assert answer.items[1].signatures == job.digests[60:65]


def test_what_the_runs_took_is_added_up_in_the_answer() -> None:
    """The answer has the sums of the times of signing and of verifying over all runs."""
    lane = Lane()
    runs = lane.chunk((authorised(100), 0, 100)).cut(length(4))
    for run in runs:
        run.sign_s, run.verify_s = 0.5, 0.25
        sign(run)
    assert (lane.answers[0].sign_s, lane.answers[0].verify_s) == (0.5 * len(runs), 0.25 * len(runs))


def test_calls_of_all_runs_are_summed_by_key_version() -> None:
    """The number of calls is the one that each run has counted, not its number of digests."""
    lane = Lane()
    runs = lane.chunk((authorised(100), 0, 100)).cut(length(4))
    for calls, run in enumerate(runs, start=1):
        run.calls = calls
        sign(run)
    version = runs[0].key_version
    total = sum(range(1, len(runs) + 1))
    assert lane.answers[0].operations == (KeyOperations(version.key, version.version, total),)


def test_a_chunk_that_is_refused_took_no_call() -> None:
    lane = Lane()
    chunk = lane.chunk()
    chunk.add_slice(0, 1).error = DigestLength("short")
    assert chunk.cut(length(4)) == []
    assert lane.answers[0].operations == ()


def test_an_error_has_its_index_in_the_item() -> None:
    """The index counts from the item's first digest, and the signature there is None."""
    lane = Lane()
    runs = lane.chunk((authorised(3), 0, 3), (authorised(20), 10, 6)).cut(length(1, each_s=0.001))
    position = 0
    for run in runs:
        for _ in range(len(run.digests)):
            run.done.append(DigestLength("short") if position == 3 + 4 else b"signature")
            position += 1
        run.finish()
    first, second = lane.answers[0].items
    assert (first.errors, set(second.errors)) == ({}, {4})
    assert [s is None for s in second.signatures] == [i == 4 for i in range(6)]
    assert second.errors[4].code == "digest.length"


def test_refused_items_are_answered_together_with_signed_ones() -> None:
    """They make no run."""
    lane = Lane()
    runs = lane.chunk((None, 0, 5), (authorised(2), 0, 2), (None, 0, 1)).cut(length())
    assert sum(len(run.digests) for run in runs) == 2
    for run in runs:
        sign(run)
    assert [item.error.code if item.error else None for item in lane.answers[0].items] == [
        "client.revoked",
        None,
        "client.revoked",
    ]


def test_a_chunk_that_is_refused_whole_is_answered_at_once() -> None:
    """No thread has anything to do with it."""
    lane = Lane()
    assert lane.chunk((None, 0, 5)).cut(length()) == []
    assert len(lane.answers) == 1


def test_keys_are_never_mixed_in_a_run() -> None:
    """Items of two versions of a key: each run is of one, and each answer names its own."""
    lane = Lane()
    items = [(authorised(3, number), 0, 3) for number in (1, 2, 1, 2)]
    runs = lane.chunk(*items).cut(length(1, each_s=1e-6))
    for run in runs:
        expected = [
            digest
            for what, _, _ in items
            if what.key_version.public_key == run.key_version.public_key
            for digest in what.digests
        ]
        assert set(run.digests) <= set(expected)
        sign(run)
    assert [item.key_version for item in lane.answers[0].items] == [1, 2, 1, 2]
    assert [item.public_key_sha256 for item in lane.answers[0].items] == [
        p256_key(number).sha256 for number in (1, 2, 1, 2)
    ]


def test_what_is_left_of_a_run_can_fail_as_one() -> None:
    """Digests that were signed before the failure keep their signatures."""
    lane = Lane()
    (run,) = lane.chunk((authorised(5), 0, 5)).cut(length(1, each_s=1e-6))
    run.done += [b"one", b"two"]
    assert len(run.left) == 3
    run.fail_rest(HsmFault("gone"))
    run.finish()
    (item,) = lane.answers[0].items
    assert item.signatures == (b"one", b"two", None, None, None)
    assert set(item.errors) == {2, 3, 4}


@pytest.mark.parametrize(
    "each_s, threads, digests, expected",
    [
        (None, 1, 100, 4),
        (None, 50, 100, 2),
        (RUN_TARGET_S / 10, 1, 100, 10),
        (RUN_TARGET_S * 2, 1, 100, 1),
        (1e-7, 1, 1000, MOST_PER_RUN),
        (1e-7, 4, 8, 2),
        (0.0, 1, 1000, MOST_PER_RUN),
    ],
)
def test_a_run_is_short_and_every_thread_gets_one(
    each_s: float | None, threads: int, digests: int, expected: int
) -> None:
    """Its length follows the target time within bounds, and is small while nothing was measured."""
    assert length(threads, each_s).for_digests(ECDSA, digests) == expected
