"""Encoding of a finished job: its result in arq's form, and the dead letter of a poisoned one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from queueing.broker.dead_letters import DeadLetter, encode_letter
from queueing.errors import (
    ClientRevoked,
    EnvelopeExpired,
    GrantExhausted,
    GrantExpired,
    GrantRefused,
    JobExpired,
    JobPoisoned,
    LimitBacklog,
    LimitBudget,
    PolicyDenied,
)
from queueing.protocol import keyspace
from queueing.protocol.jobs import (
    ArqResult,
    JobOutcome,
    ReceiptNotice,
    ResultHints,
    WireError,
    encode_result,
)
from queueing.unix_time import unix_ms

if TYPE_CHECKING:
    from workers.active_job import ActiveJob

MOST_ERROR_TEXT: Final = 16_384
"""Characters of all error messages of one result together. Errors beyond have their code only: 1,024 refused digests
would otherwise fill the log and Redis with a multiple of what was submitted."""

MOST_RESULT_ID: Final = 256
"""Characters of the job's id in its result; an id of ours has far fewer. Clients find a result by its key."""

_ACCEPTED_AGAIN: Final = (
    EnvelopeExpired,
    GrantExhausted,
    GrantExpired,
    JobExpired,
    LimitBacklog,
    LimitBudget,
)
"""Failures of a whole job that end with their cause: its client may submit the same job again. Nothing of it was released; what
lanes have signed of a job that expired between two slices is signed again then, and the log counts the first signatures as
dropped."""

_ACCEPTED_UNDER_ANOTHER_GRANT: Final = (ClientRevoked, GrantRefused, PolicyDenied)
"""Refusals that need not meet the same job under another grant."""


def encode_job_result(job: ActiveJob) -> bytes:
    """Result in arq's form: the outcome of each digest, or the one error of the job."""
    now_ms = unix_ms()
    failure = job.failure
    return encode_result(
        ArqResult(
            t=job.claimed.attempt,
            k=ResultHints(
                h=job.content,
                again=int(_is_accepted_again(job)),
                rc=job.receipt if failure is None else ReceiptNotice.NONE,
            ),
            et=job.enqueued_at_ms,
            s=failure is None,
            r=_outcome(job) if failure is None else WireError.of(failure),
            st=job.started_ms,
            ft=now_ms,
            q=keyspace.queue(job.claimed.tenant),
            id=job.claimed.job_id[:MOST_RESULT_ID].decode("utf-8", "replace"),
        )
    )


def encode_dead_letter(job: ActiveJob, worker: str) -> bytes:
    """Encoded dead letter of a poisoned job; empty for any other."""
    failure, claimed, envelope = job.failure, job.claimed, job.envelope
    if not isinstance(failure, JobPoisoned) or envelope is None or claimed.payload is None:
        return b""
    return encode_letter(
        DeadLetter(
            reason=failure.reason,
            message=failure.message,
            at_ms=unix_ms(),
            worker=worker,
            attempts=claimed.attempt,
            crashes=claimed.crashes,
            lane_ends=job.lane_ends,
            key=envelope.key,
            algorithm=envelope.algorithm,
            client=envelope.client,
            digests=len(envelope.digests),
            enqueued_at_ms=job.enqueued_at_ms,
            expires_at_ms=envelope.expires_at_ms,
            payload=claimed.payload,
        )
    )


def _is_accepted_again(job: ActiveJob) -> bool:
    """Whether the queue takes the same job once more, and does not answer with this result."""
    if isinstance(job.failure, _ACCEPTED_AGAIN):
        return True
    is_granted = job.envelope is not None and job.envelope.grant is not None
    return is_granted and isinstance(job.failure, _ACCEPTED_UNDER_ANOTHER_GRANT)


def _outcome(job: ActiveJob) -> JobOutcome:
    envelope = job.envelope
    if envelope is None:
        raise RuntimeError("a job without an envelope has no outcome")
    return JobOutcome(
        key=envelope.key,
        key_version=job.key_version,
        public_key_sha256=job.public_key_sha256,
        algorithm=envelope.algorithm,
        signatures=tuple(job.signatures),
        errors=_within(MOST_ERROR_TEXT, job.errors),
    )


def _within(most: int, errors: dict[int, WireError]) -> dict[int, WireError]:
    """Errors of a bounded size: from where their messages exceed ``most`` characters, without the messages."""
    if sum([len(error.message) for error in errors.values()]) <= most:
        return errors
    kept: dict[int, WireError] = {}
    for place, error in sorted(errors.items()):
        most -= len(error.message)
        kept[place] = error if most >= 0 else msgspec.structs.replace(error, message="")
    return kept
