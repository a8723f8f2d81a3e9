"""Receipts are collected beside the signatures: what does not come, or is false, is an error that fails none of them."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import cast

import pytest
from msgspec.structs import replace

from queueing.aio.owned_tasks import OwnedTasks
from queueing.client import receipts as module
from queueing.client.delivery.queue_access import QueueAccess
from queueing.client.receipts import ReceiptCollector, ReceiptRunner
from queueing.client.sign_stream import SLICES_WITH_RECEIPTS, DigestStream, RequestSlices
from queueing.client.signatures import Outcome, Signature
from queueing.client.signing_request import SigningRequest, Target
from queueing.errors import DigestLength, ProofInvalid, QueueUnavailable, ReceiptMissing
from queueing.protocol.algorithms import Algorithm
from queueing.protocol.priorities import Priority
from queueing.transparency.commitments import Item
from queueing.transparency.receipts import verify_receipt
from tests.support.farm.job_proofs import Log
from tests.support.waiting import turn

DIGESTS = [hashlib.sha256(b"%d" % number).digest() for number in range(3)]
LOG = Log(size=9)
COMING = ReceiptMissing("not collected", announced=True)


def signature(number: int, missing: ReceiptMissing | None = COMING, *, job_id: str = "job") -> Signature:
    return Signature(
        signature=b"signature %d" % number,
        algorithm=Algorithm.ECDSA_SHA_256,
        key="release",
        key_version=1,
        public_key_sha256=bytes(32),
        job_id=job_id,
        verified=True,
        receipt_missing=missing,
    )


OUTCOMES: list[Outcome] = [signature(0), DigestLength("too short"), signature(2)]
ITEMS = [
    Item(0, DIGESTS[0], hashlib.sha256(b"signature 0").digest()),
    Item(1, DIGESTS[1], b"", "digest.length"),
    Item(2, DIGESTS[2], hashlib.sha256(b"signature 2").digest()),
]
PROOF = LOG.proof(ITEMS, index=5).encode()


@dataclass
class Place:
    """Receipts in Redis, by job. ``refuses``: what it answers instead. ``release`` lets an answer come."""

    stored: dict[str, bytes] = field(default_factory=dict)
    refuses: QueueUnavailable | ReceiptMissing | None = None
    asked: list[list[str]] = field(default_factory=list)
    release: asyncio.Event = field(default_factory=asyncio.Event)

    async def receipts(self, job_ids: Sequence[str]) -> list[bytes | None]:
        self.asked.append(list(job_ids))
        if self.refuses is not None:
            raise self.refuses
        await self.release.wait()
        return [self.stored.get(job_id) for job_id in job_ids]


@dataclass
class ReceiptSetup:
    place: Place
    collector: ReceiptCollector

    async def attach(self, outcomes: Sequence[Outcome], deadline_s: float | None = None) -> list[Outcome]:
        return await self.collector.attach(DIGESTS, outcomes, deadline_s=deadline_s)


@pytest.fixture
async def setup(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[ReceiptSetup]:
    """A collector whose questions follow each other at once, and which waits for an hour."""
    place = Place({"job": PROOF})
    monkeypatch.setattr(module, "POLL_S", 0.0)
    collector = ReceiptCollector(
        cast("QueueAccess", place), tenant="acme", trusted=LOG.trusted, timeout_s=3600.0
    )
    running = asyncio.create_task(collector.run())
    place.release.set()
    yield ReceiptSetup(place, collector)
    running.cancel()
    await asyncio.wait((running,))


def missing(outcome: Outcome) -> str:
    assert isinstance(outcome, Signature)
    assert outcome.receipt is None
    return str(outcome.receipt_missing)


async def test_each_signature_of_a_job_gets_its_receipt_and_an_error_stays_one(setup: ReceiptSetup) -> None:
    """The receipts verify alone."""
    found = await setup.attach(OUTCOMES)
    assert found[1] is OUTCOMES[1]
    for number in (0, 2):
        made = found[number]
        assert isinstance(made, Signature)
        assert made.receipt is not None
        assert made.receipt_missing is None
        verify_receipt(made.receipt, LOG.trusted, digest=DIGESTS[number], signature=made.signature)


@pytest.mark.parametrize(
    "outcomes",
    [[signature(0, ReceiptMissing("no record"))], [DigestLength("too short")], []],
    ids=["not announced", "nothing signed", "empty"],
)
async def test_what_was_not_announced_is_not_waited_for(setup: ReceiptSetup, outcomes: list[Outcome]) -> None:
    assert await setup.attach(outcomes) == outcomes
    assert setup.place.asked == []


async def test_many_jobs_share_questions(setup: ReceiptSetup) -> None:
    """At most 128 in each, and an idle collector asks once more at most."""
    setup.place.release.clear()
    setup.place.stored = {f"job{number}": PROOF for number in range(300)}
    waiting = [
        asyncio.create_task(
            setup.attach([replace(o, job_id=f"job{n}") if isinstance(o, Signature) else o for o in OUTCOMES])
        )
        for n in range(300)
    ]
    await turn()
    setup.place.release.set()
    assert all(
        isinstance(found[0], Signature) and found[0].receipt for found in await asyncio.gather(*waiting)
    )
    assert max(map(len, setup.place.asked)) == module.MOST_JOBS
    asked = len(setup.place.asked)
    await turn(50)
    assert len(setup.place.asked) <= asked + 1


async def test_a_receipt_that_does_not_come_by_the_deadline_is_told_with_its_cause(
    setup: ReceiptSetup,
) -> None:
    setup.place.stored = {}
    found = await setup.attach(OUTCOMES, deadline_s=0.0)
    assert "the sealer of the worker's host is behind" in missing(found[0])
    assert isinstance(found[1], DigestLength)


async def test_redis_that_is_away_is_asked_again_and_told(setup: ReceiptSetup) -> None:
    """A call without time is told the reason, which is Redis and not the sealer; one that waits gets its receipts from a later answer."""
    setup.place.refuses = QueueUnavailable("cannot read receipts: refused")
    waiting = asyncio.create_task(setup.attach(OUTCOMES))
    await turn()
    assert "could not be asked" in missing((await setup.attach(OUTCOMES, deadline_s=0.0))[0])
    setup.place.refuses = None
    (first, *_) = await waiting
    assert isinstance(first, Signature)
    assert first.receipt is not None


async def test_a_user_without_the_right_is_told_at_once(setup: ReceiptSetup) -> None:
    """And the next call asks again: the operator may have set it."""
    setup.place.refuses = ReceiptMissing("may not read receipts: `sigmill tenants acl`")
    assert "sigmill tenants acl" in missing((await setup.attach(OUTCOMES))[0])
    setup.place.refuses = None
    (first, *_) = await setup.attach(OUTCOMES)
    assert isinstance(first, Signature)
    assert first.receipt


@pytest.mark.parametrize(
    "value",
    [b"", b"nonsense", bytes(200_000), LOG.proof(ITEMS[:2]).encode(), Log().proof(ITEMS).encode()],
    ids=["empty", "nonsense", "too long", "of another job", "of another service"],
)
async def test_a_false_receipt_is_no_receipt(setup: ReceiptSetup, value: bytes) -> None:
    """A writer of Redis takes a receipt away, and nothing else."""
    setup.place.stored = {"job": value}
    first = (await setup.attach(OUTCOMES))[0]
    assert isinstance(first, Signature)
    assert first.signature == b"signature 0"
    assert isinstance(first.receipt_missing, ProofInvalid)


FENCED = LOG.proof(
    [replace(item, signature_sha256=hashlib.sha256(b"of another host").digest()) for item in ITEMS], index=3
).encode()
"""Proof of the same job by a host whose result was not released: its lease had run out."""


async def test_a_true_receipt_of_a_result_that_was_not_released_does_not_end_the_wait(
    setup: ReceiptSetup,
) -> None:
    """The host that lost the job published first; the other host's receipt replaces it a moment later."""
    setup.place.stored = {"job": FENCED}
    waiting = [asyncio.create_task(setup.attach(OUTCOMES)) for _ in range(2)]
    await turn(50)
    assert not any(task.done() for task in waiting)
    setup.place.stored = {"job": PROOF}
    for found in await asyncio.gather(*waiting):
        assert isinstance(found[0], Signature)
        assert found[0].receipt
    assert setup.place.asked


async def test_where_only_that_receipt_comes_the_client_is_told_so(setup: ReceiptSetup) -> None:
    """The signature is returned once the client waits no longer."""
    setup.place.stored = {"job": FENCED}
    waiting = asyncio.create_task(setup.attach(OUTCOMES))
    await turn(50)
    setup.place.refuses = ReceiptMissing("not any more")
    first = (await waiting)[0]
    assert isinstance(first, Signature)
    assert isinstance(first.receipt_missing, ProofInvalid)
    assert "another host signed it too" in str(first.receipt_missing)


async def test_only_requests_that_want_receipts_are_held_up(setup: ReceiptSetup) -> None:
    class Runner:
        async def run(self, request: SigningRequest, deadline_s: float | None) -> list[Outcome]:
            return OUTCOMES

    runner = ReceiptRunner(Runner(), setup.collector)
    request = SigningRequest.of(Target("release", 1, Algorithm.ECDSA_SHA_256), DIGESTS, "run")
    assert await runner.run(request, None) is OUTCOMES
    (first, *_) = await runner.run(replace(request, receipt=True), None)
    assert isinstance(first, Signature)
    assert first.receipt


class Waits(list[float]):
    """Longest waits for answers, in order; none is waited for longer than some turns of the loop."""

    async def answer(self, future: asyncio.Future[bytes | ReceiptMissing], wait_s: float) -> None:
        self.append(wait_s)
        await turn()


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> Waits:
    made = Waits()
    monkeypatch.setattr(module, "_answer", made.answer)
    return made


async def test_after_a_time_out_the_next_receipts_are_waited_for_as_long_as_they_take(
    setup: ReceiptSetup, waits: Waits
) -> None:
    """Until one comes: then the sealer is there again. A caller whose own time was short says nothing of it."""
    setup.place.stored = {}
    now_s = asyncio.get_running_loop().time()
    await setup.attach(OUTCOMES, deadline_s=now_s + 1.0)
    for _ in range(3):
        await setup.attach(OUTCOMES)
    setup.place.stored = {"job": PROOF}
    (first, *_) = await setup.attach(OUTCOMES)
    assert isinstance(first, Signature)
    assert first.receipt is not None
    setup.place.stored = {}
    await setup.attach(OUTCOMES)
    assert [wait_s > module.LATE_S for wait_s in waits] == [False, True, False, False, False, True]


async def test_beside_a_sealer_that_hangs_many_signatures_come_all_and_after_one_time_out(
    setup: ReceiptSetup, waits: Waits
) -> None:
    """In their order, each with the reason; those that begin after the first time-out wait no longer than for a receipt that comes."""

    class Signer:
        async def run(self, request: SigningRequest, deadline_s: float | None) -> list[Outcome]:
            assert request.receipt
            return [signature(DIGESTS.index(each)) for each in request.digests]

    setup.place.stored = {}
    slices = RequestSlices(
        runner=ReceiptRunner(Signer(), setup.collector),
        target=Target("release", 1, Algorithm.ECDSA_SHA_256),
        request_id=None,
        priority=Priority.NORMAL,
        deadline_s=None,
        receipt=True,
    )
    digests = DIGESTS * (2 * SLICES_WITH_RECEIPTS)
    tasks = OwnedTasks()
    await tasks.open()
    stream = DigestStream(slices, tasks, digests, len(DIGESTS), under_way=slices.under_way)
    found = [outcome async for part in stream.outcomes() for outcome in part]
    await tasks.close()
    assert [signature_bytes(each) for each in found] == [b"signature 0", b"signature 1", b"signature 2"] * (
        2 * SLICES_WITH_RECEIPTS
    )
    assert all("is behind" in missing(each) for each in found)
    assert len(waits) == 2 * SLICES_WITH_RECEIPTS
    assert sum(wait_s > module.LATE_S for wait_s in waits) <= SLICES_WITH_RECEIPTS


def signature_bytes(outcome: Outcome) -> bytes:
    assert isinstance(outcome, Signature)
    return outcome.signature
