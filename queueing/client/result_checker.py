"""Checks of results before a caller sees them: an attacker who controls Redis can write results too."""

from __future__ import annotations

import asyncio
from typing import Final

from msgspec.structs import replace

from queueing.client.key_directory_cache import KeyDirectoryCache
from queueing.client.signatures import Outcome, Signature
from queueing.client.signing_request import SigningRequest
from queueing.errors import ReceiptMissing, ResultInvalid, SigningError
from queueing.protocol.algorithms import Algorithm
from queueing.protocol.envelope import CURRENT_VERSION
from queueing.protocol.jobs import JobOutcome, JobResult, ReceiptNotice
from queueing.protocol.public_keys import PublicKey

_VERIFIED_AT_ONCE: Final = 32
"""Signatures verified before the loop may turn: 32 x 25..140 us."""


class ResultChecker:
    """Turns a worker's result into outcomes, one per digest.

    ``verify``: each signature is verified with the key that the directory vouches for (25 to 140 us each).
    """

    def __init__(self, directory: KeyDirectoryCache, *, verify: bool) -> None:
        self._directory = directory
        self._verify = verify

    async def outcomes(
        self, request: SigningRequest, content: bytes, job_id: str, result: JobResult
    ) -> list[Outcome]:
        """One outcome per digest of the request, in order. ``content``: our own content hash.

        Raises the error of a job that failed whole, and ``ResultInvalid`` for a result that is not ours.
        """
        outcome = _succeeded(result)
        target = request.target
        version_fits = target.key_version in (CURRENT_VERSION, outcome.key_version)
        if (
            result.content != content
            or (outcome.key, outcome.algorithm) != (target.key, target.algorithm)
            or not version_fits
            or len(outcome.signatures) != len(request.digests)
        ):
            raise ResultInvalid("the result belongs to another job")
        key = await self._signed_by(outcome)
        missing = _receipt_to_come(result) if request.receipt else None
        outcomes: list[Outcome] = []
        for i, digest in enumerate(request.digests):
            if i and not i % _VERIFIED_AT_ONCE and self._verify:
                await asyncio.sleep(0)
            one = self._one(outcome, i, digest, key, target.algorithm, job_id)
            if missing is not None and isinstance(one, Signature):
                one = replace(one, receipt_missing=missing)
            outcomes.append(one)
        return outcomes

    async def unverified(self, job_id: str, result: JobResult) -> list[Outcome]:
        """The outcomes of a job whose digests are not known; only the key is checked."""
        outcome = _succeeded(result)
        try:
            algorithm = Algorithm(outcome.algorithm)
        except ValueError:
            raise ResultInvalid("the result names an unknown algorithm") from None
        await self._signed_by(outcome)
        return [
            _error(outcome, i)
            if signature is None
            else _signature(outcome, signature, algorithm, job_id, verified=False)
            for i, signature in enumerate(outcome.signatures)
        ]

    async def _signed_by(self, outcome: JobOutcome) -> PublicKey | None:
        """The key that the directory vouches for; None where nothing was signed."""
        if not any(outcome.signatures):
            return None
        return await self._directory.public_key(outcome.key, outcome.key_version, outcome.public_key_sha256)

    def _one(
        self,
        outcome: JobOutcome,
        i: int,
        digest: bytes,
        key: PublicKey | None,
        algorithm: Algorithm,
        job_id: str,
    ) -> Outcome:
        signature = outcome.signatures[i]
        if signature is None or key is None:
            return _error(outcome, i)
        if self._verify:
            try:
                key.verify(algorithm, digest, signature)
            except SigningError as error:
                return ResultInvalid(f"a signature came back that does not verify ({error.reason})")
        return _signature(outcome, signature, algorithm, job_id, verified=self._verify)


def _succeeded(result: JobResult) -> JobOutcome:
    if isinstance(result.outcome, SigningError):
        raise result.outcome
    return result.outcome


def _receipt_to_come(result: JobResult) -> ReceiptMissing:
    """Reason for which a signature of this result has no receipt yet, or gets none."""
    match result.receipt:
        case ReceiptNotice.FOLLOWS:
            return ReceiptMissing("the receipt was not collected", announced=True)
        case ReceiptNotice.NO_RECORD:
            return ReceiptMissing(
                "the service makes no receipts: its worker keeps no record (`[record]` of sigmill.toml)"
            )
        case _:
            return ReceiptMissing(
                "the worker announced no receipt: the job was submitted before without asking for one, or the worker is of a"
                " version without receipts"
            )


def _error(outcome: JobOutcome, i: int) -> SigningError:
    note = outcome.errors.get(i)
    return note.error() if note else ResultInvalid("the result has neither signature nor error for a digest")


def _signature(
    outcome: JobOutcome, signature: bytes, algorithm: Algorithm, job_id: str, *, verified: bool
) -> Signature:
    return Signature(
        signature=signature,
        algorithm=algorithm,
        key=outcome.key,
        key_version=outcome.key_version,
        public_key_sha256=outcome.public_key_sha256,
        job_id=job_id,
        verified=verified,
    )
