"""Collection of receipts: proofs of jobs are polled until they come, verified, and cut into one receipt per signature.

A receipt comes a second or two after its signature, and never holds one up: what does not come in time, or is false, is an
error beside the signature (``Signature.receipt_missing``). The formats of receipts are loaded by the first one: most calls want none.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Final, Protocol

from msgspec.structs import replace

from queueing.aio.backoff import REDIS_AWAY_S, Backoff
from queueing.client.signatures import Outcome, Signature
from queueing.client.signing_request import SigningRequest
from queueing.errors import ProofInvalid, QueueUnavailable, ReceiptMissing, SigningError

if TYPE_CHECKING:
    from queueing.client.delivery.queue_access import QueueAccess
    from queueing.transparency.commitments import Item
    from queueing.transparency.job_proofs import JobProof
    from queueing.transparency.trusted_keys import TrustedKeys

POLL_S: Final = 0.25
"""Time between two questions for all receipts that are waited for: a receipt takes a second or two."""

LATE_S: Final = 2.0
"""Longest wait for a receipt while they do not come: as long as for one that does. So many signatures with receipts take no longer
beside a sealer that hangs than beside one that works, but for the first time-out."""

MOST_JOBS: Final = 128
"""Jobs per question: answers of some 150 kB."""

_MADE_AT_ONCE: Final = 64
"""Receipts made before the loop may turn: 64 x 15..75 us."""


class Runner(Protocol):
    """The part of ``queueing.client.request_runner.RequestRunner`` that is needed here."""

    async def run(self, request: SigningRequest, deadline_s: float | None) -> list[Outcome]:
        """One outcome per digest, in order. Raises nothing."""


class ReceiptCollector:
    """Collects the receipts of one client's jobs. ``timeout_s``: longest wait for one after its signature.

    After one that did not come by then it is ``LATE_S`` at most, until the next one comes.
    """

    def __init__(self, access: QueueAccess, *, tenant: str, trusted: TrustedKeys, timeout_s: float) -> None:
        self._access = access
        self._tenant = tenant
        self._trusted = trusted
        self._timeout_s = timeout_s
        self._waiting: dict[str, list[_Waiter]] = {}
        self._some = asyncio.Event()
        self._trouble: QueueUnavailable | None = None
        self._late = False

    async def run(self) -> None:
        """Ask for receipts until cancelled; an idle client asks nothing."""
        backoff = Backoff(first_s=POLL_S, most_s=REDIS_AWAY_S)
        while True:
            await self._some.wait()
            try:
                await self._ask()
            except QueueUnavailable as error:
                self._trouble = error
                await asyncio.sleep(backoff.next_s())
            except ReceiptMissing as error:
                self._refuse(error)
            else:
                self._trouble = None
                backoff.reset()
                await asyncio.sleep(POLL_S)

    async def attach(
        self, digests: Sequence[bytes], outcomes: Sequence[Outcome], *, deadline_s: float | None
    ) -> list[Outcome]:
        """The outcomes of one job, whose signatures have their receipts, or say why not. Raises nothing.

        ``digests``: of the whole job, in order. Waits until ``deadline_s`` (of the loop's clock), or the time-out.
        """
        announced = next(filter(_is_announced, outcomes), None)
        if announced is None:
            return list(outcomes)
        assert isinstance(announced, Signature)
        timeout_s = min(self._timeout_s, LATE_S) if self._late else self._timeout_s
        until_s = asyncio.get_running_loop().time() + timeout_s
        items = [
            _item(number, digest, outcome)
            for number, (digest, outcome) in enumerate(zip(digests, outcomes, strict=True))
        ]
        try:
            until_s = until_s if deadline_s is None else min(until_s, deadline_s)
            proof = await self._proof_of(announced.job_id, items, until_s)
            return await _with_receipts(proof, items, outcomes)
        except SigningError as error:
            return [_lacking(outcome, error) for outcome in outcomes]

    async def _proof_of(self, job_id: str, items: Sequence[Item], until_s: float) -> JobProof:
        """Verified proof of these items. Raises ``ReceiptMissing`` where it does not come, or ``ProofInvalid``.

        A job that was signed on two hosts, because the lease of the first one ran out, has two outcomes on record. The proof of
        the one that was not released is true and of other signatures: it may come first, and the right one replaces it.
        """
        from queueing.transparency.job_proofs import read_job_proof

        raw: bytes | None = None
        while True:
            try:
                raw = await self._stored(job_id, until_s, other_than=raw)
            except ReceiptMissing:
                if raw is None:
                    raise
                raise ProofInvalid(
                    "the only receipt that came is of other signatures of this job: another host signed it too, and the"
                    " receipt of the released result is missing"
                ) from None
            proof = read_job_proof(raw)
            if proof.outcome(self._trusted, tenant=self._tenant).digests != len(items):
                proof.verify(items, self._trusted, tenant=self._tenant)
            if proof.is_of(items):
                return proof

    async def _stored(self, job_id: str, until_s: float, *, other_than: bytes | None) -> bytes:
        """Encoded proof of a job. Raises ``ReceiptMissing`` where it does not come."""
        with self._polled(job_id, other_than) as future:
            wait_s = max(0.0, until_s - asyncio.get_running_loop().time())
            await _answer(future, wait_s)
            if future.done():
                found = future.result()
                if isinstance(found, ReceiptMissing):
                    raise copy.copy(found)
                self._late = False
                return found
            if self._trouble is not None:
                raise ReceiptMissing(f"the queue could not be asked for the receipt: {self._trouble.message}")
            self._late = self._late or wait_s >= LATE_S  # a caller without time learns nothing of the sealer
            raise ReceiptMissing(
                f"the receipt did not come within {wait_s:.3g} s after the signature: the sealer of the worker's host is"
                " behind, or does not run"
            )

    @contextlib.contextmanager
    def _polled(
        self, job_id: str, other_than: bytes | None
    ) -> Iterator[asyncio.Future[bytes | ReceiptMissing]]:
        """Ask for this job's proof within the block; ``other_than`` is none."""
        future: asyncio.Future[bytes | ReceiptMissing] = asyncio.get_running_loop().create_future()
        waiter = _Waiter(future, other_than)
        self._waiting.setdefault(job_id, []).append(waiter)
        self._some.set()
        try:
            yield future
        finally:
            left = self._waiting[job_id]
            left.remove(waiter)
            if not left:
                del self._waiting[job_id]
            if not self._waiting:
                self._some.clear()

    async def _ask(self) -> None:
        job_ids = iter(tuple(self._waiting))
        while part := list(islice(job_ids, MOST_JOBS)):
            for job_id, raw in zip(part, await self._access.receipts(part), strict=True):
                if raw is not None:
                    _settle(self._waiting.get(job_id, ()), raw)

    def _refuse(self, error: ReceiptMissing) -> None:
        """End every wait: to ask again does not help."""
        for waiters in self._waiting.values():
            _settle(waiters, error)
        self._some.clear()


class ReceiptRunner:
    """Runs requests, and collects the receipts of those that want them before their outcomes are returned."""

    def __init__(self, runner: Runner, receipts: ReceiptCollector) -> None:
        self._runner = runner
        self._receipts = receipts

    async def run(self, request: SigningRequest, deadline_s: float | None) -> list[Outcome]:
        """Outcomes as those of ``RequestRunner.run``. A receipt is waited for until the deadline at most, and past it nothing is lost."""
        outcomes = await self._runner.run(request, deadline_s)
        if not request.receipt:
            return outcomes
        return await self._receipts.attach(request.digests, outcomes, deadline_s=deadline_s)


@dataclass(slots=True, eq=False)
class _Waiter:
    """Wait for the proof of a job; ``other_than``: a proof that is not awaited."""

    future: asyncio.Future[bytes | ReceiptMissing]
    other_than: bytes | None


async def _answer(future: asyncio.Future[bytes | ReceiptMissing], wait_s: float) -> None:
    """Wait for an answer, at most so long."""
    await asyncio.wait((future,), timeout=wait_s)


def _settle(waiters: Iterable[_Waiter], found: bytes | ReceiptMissing) -> None:
    for waiter in waiters:
        if not waiter.future.done() and found != waiter.other_than:
            waiter.future.set_result(found)


async def _with_receipts(
    proof: JobProof, items: Sequence[Item], outcomes: Sequence[Outcome]
) -> list[Outcome]:
    """The outcomes with the receipts of their signatures."""
    found: list[Outcome] = []
    for number, (outcome, receipt) in enumerate(zip(outcomes, proof.receipts(items), strict=True), 1):
        found.append(_with(outcome, receipt))
        if not number % _MADE_AT_ONCE:
            await asyncio.sleep(0)
    return found


def _item(number: int, digest: bytes, outcome: Outcome) -> Item:
    """The item that the record has of a digest with this outcome."""
    from queueing.transparency.commitments import Item

    if isinstance(outcome, Signature):
        return Item(number, digest, hashlib.sha256(outcome.signature).digest())
    return Item(number, digest, b"", outcome.reason)


def _is_announced(outcome: Outcome) -> bool:
    """Whether the worker said that a receipt follows, and none was collected yet."""
    missing = outcome.receipt_missing if isinstance(outcome, Signature) else None
    return isinstance(missing, ReceiptMissing) and missing.announced


def _with(outcome: Outcome, receipt: bytes) -> Outcome:
    if isinstance(outcome, Signature):
        return replace(outcome, receipt=receipt, receipt_missing=None)
    return outcome


def _lacking(outcome: Outcome, error: SigningError) -> Outcome:
    if isinstance(outcome, Signature):
        return replace(outcome, receipt_missing=error)
    return outcome
