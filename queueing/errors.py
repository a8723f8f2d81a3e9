"""Errors of signing, as one closed tree.

SigningError                      reason, retryable, denied, hint
├── Denied                        the caller may not; a retry changes nothing
│   ├── KeyUnknown · KeyDisabled · KeyExpired
│   ├── AlgorithmMismatch
│   ├── EnvelopeSignature · EnvelopeAudience
│   ├── ClientUnknown · ClientRevoked · ClientExpired
│   └── PolicyDenied
├── Invalid                       the input is wrong; the same input fails again
│   ├── AlgorithmUnknown · DigestLength · EnvelopeMalformed · EnvelopeExpired
│   ├── JobCancelled · JobConflict · JobPoisoned · JobUnknown · FunctionUnknown
│   └── InputUnreadable · OutputUnwritable · ResultInvalid · ProofInvalid
└── Unavailable                   not now; the same request may succeed later (retryable)
    ├── LimitRate · LimitBacklog · LimitBudget
    ├── JobExpired · WaitTimeout
    ├── TokenUnavailable · HsmFault · ClockSetBack
    └── LogUnavailable · QueueUnavailable · QueueUnconfirmed

``ConfigError`` is separate: an operator gets it at start-up or reload, a job never does.

``reason`` is at once the metric label, the code in JSON and the dead letter's reason. No message carries
a PIN, a key, a digest or a payload.
"""

from __future__ import annotations

from typing import ClassVar, Final


class SigningError(Exception):
    """Root of the tree.

    ``retry_after_s`` is None where the service has no better advice than the client's own backoff. ``hint``: what to do,
    where it is other than for most errors of the class.
    """

    reason: ClassVar[str] = "signing.failed"
    retryable: ClassVar[bool] = False
    denied: ClassVar[bool] = False
    hint: str = "See the worker's log for the event of this job."

    def __init__(
        self, message: str = "", *, retry_after_s: float | None = None, hint: str | None = None
    ) -> None:
        super().__init__(message or self.__class__.__doc__ or self.reason)
        self.message: str = str(self.args[0])
        self.retry_after_s = retry_after_s
        if hint is not None:
            self.hint = hint


class Denied(SigningError):
    """The caller may not do this."""

    reason = "policy.denied"
    denied = True


class Invalid(SigningError):
    """The input is wrong and stays wrong."""

    reason = "envelope.malformed"


class Unavailable(SigningError):
    """The service cannot do this now."""

    reason = "queue.unavailable"
    retryable = True


class KeyUnknown(Denied):
    """The tenant has no such key or version."""

    reason = "key.unknown"
    hint = "A version is written KEY/VERSION; the operator's `sigmill keys list` lists them."


class KeyDisabled(Denied):
    """The key version is not active."""

    reason = "key.disabled"
    hint = "Sign with an active version, or ask the operator to activate this one."


class KeyExpired(Denied):
    """The key version's time is over."""

    reason = "key.expired"
    hint = "Ask the operator to rotate the key; clients that name no version use the new one automatically."


class AlgorithmUnknown(Invalid):
    """No such signing algorithm."""

    reason = "algorithm.unknown"
    hint = "Use an AWS KMS algorithm name, such as RSASSA_PKCS1_V1_5_SHA_256 or ECDSA_SHA_256."


class AlgorithmMismatch(Denied):
    """The key does not sign with this algorithm."""

    reason = "algorithm.mismatch"
    hint = (
        "Leave the algorithm out for the key's default; the operator's `sigmill keys show` lists the others."
    )


class EnvelopeSignature(Denied):
    """The envelope's signature does not verify under the client's key."""

    reason = "envelope.signature"
    hint = (
        "Check that client.toml and the private key belong together and that the operator has the public key."
    )


class EnvelopeAudience(Denied):
    """The envelope was made for another cluster."""

    reason = "envelope.audience"
    hint = "Use the client.toml of this cluster: its `audience` must equal the service's."


class ClientUnknown(Denied):
    """The tenant has no such client key."""

    reason = "client.unknown"
    hint = "Ask the operator to add the lines that `sigmill clients create` printed to the tenant's file, and to reload it."


class ClientRevoked(Denied):
    """The client key was revoked."""

    reason = "client.revoked"
    hint = "Create a new client key; a revoked one never comes back."


class ClientExpired(Denied):
    """The client key's time is over."""

    reason = "client.expired"
    hint = "Create a new client key before the old one expires; both may be listed at once."


class PolicyDenied(Denied):
    """A rule of the key's policy forbids this."""

    reason = "policy.denied"
    hint = "The message names the rule; the operator owns it."


class DigestLength(Invalid):
    """The digest does not have the length that the algorithm signs."""

    reason = "digest.length"
    hint = "A digest has 32 bytes for SHA-256, 48 for SHA-384, 64 for SHA-512: the library takes the bytes, the command line twice as many hex digits."


class EnvelopeMalformed(Invalid):
    """The envelope cannot be read."""

    reason = "envelope.malformed"
    hint = "Make envelopes with queueing.SigningClient or `sigmill sign` of a supported version."


class EnvelopeExpired(Invalid):
    """The envelope's dates are out of range: made in the future, or valid for too long."""

    reason = "envelope.expired"
    hint = "Set the clock that the message names (60 s of skew are allowed), or check the client's `envelope_ttl_s`; then run it again."


class JobConflict(Invalid):
    """This request id was already used for other digests, or another key."""

    reason = "job.conflict"
    hint = "Use a new request id for new content; nothing was signed."


class JobPoisoned(Invalid):
    """The job crashed its lane repeatedly and was moved to the dead letters."""

    reason = "job.poisoned"
    hint = "Check the lane's exits in the log before you submit the same content again."


class JobCancelled(Invalid):
    """The job's client has cancelled it; nothing was signed."""

    reason = "job.cancelled"
    hint = "Submit again under the same request id to have it signed after all."


class JobUnknown(Invalid):
    """The queue has neither this job nor its result."""

    reason = "job.unknown"
    hint = "Check the job id; results are kept for the result retention only. Submitting again is safe."


class FunctionUnknown(Invalid):
    """The queue was given a job that is not a signing job."""

    reason = "function.unknown"
    hint = "Tenant queues take the function `sign` with one envelope as its argument."


class InputUnreadable(Invalid):
    """The file or line that was to be signed cannot be read; nothing was sent for it."""

    reason = "input.unreadable"
    hint = "Correct the file or the line; the other items are not affected."


class OutputUnwritable(Invalid):
    """The output of a command cannot be written."""

    reason = "output.unwritable"
    hint = (
        "Make room, or choose another place. A rerun with the same request id gets the existing signatures."
    )


class ResultInvalid(Invalid):
    """The result does not verify: a signature in it, or the result itself, is false."""

    reason = "result.invalid"
    hint = "Do not use it. Redis may have another writer: tell the operator."


class ProofInvalid(Invalid):
    """A proof, checkpoint or part of the tamper-evident log is damaged or false."""

    reason = "proof.invalid"
    hint = (
        "Fetch it again. If it fails again, keep the file: it is evidence, and the operator must explain it."
    )


class LimitRate(Unavailable):
    """The tenant's rate is used up for now."""

    reason = "limit.rate"
    hint = "Wait for retry_after_s; the client does so until its deadline."


class LimitBacklog(Unavailable):
    """The tenant's backlog is full; nothing was accepted."""

    reason = "limit.backlog"
    hint = "Wait for retry_after_s; the client does so until its deadline."


class LimitBudget(Unavailable):
    """The tenant's budget is used up until it is renewed."""

    reason = "limit.budget"
    hint = "Ask the operator for a larger budget, or wait for the next period."


class JobExpired(Unavailable):
    """The envelope expired before all of it was signed; no signature was returned."""

    reason = "job.expired"
    hint = "Submit again under the same request id; a waiting client does so automatically."


class WaitTimeout(Unavailable):
    """The deadline passed before the result came; the job is still processed."""

    reason = "wait.timeout"
    hint = "Nothing is lost: wait again with the job id."

    def __init__(
        self, message: str = "", *, retry_after_s: float | None = None, job_ids: tuple[str, ...] = ()
    ) -> None:
        super().__init__(message, retry_after_s=retry_after_s)
        self.job_ids = job_ids


class TokenUnavailable(Unavailable):
    """The token that holds the key cannot be used now."""

    reason = "token.unavailable"
    hint = "The operator sees it in `sigmill tokens list`; accepted jobs stay queued."


class HsmFault(Unavailable):
    """The HSM failed in the middle of the operation."""

    reason = "hsm.fault"
    hint = "The lane is replaced and the job retried; check sigmill_lane_restarts_total if it persists."


class ClockSetBack(Unavailable):
    """The host's clock was set: it cannot be told whether the envelope has expired."""

    reason = "clock.set_back"
    hint = "The operator corrects the host's clock, or has its lanes forget the time that it showed before; accepted jobs stay queued."


class LogUnavailable(Unavailable):
    """The write-ahead log cannot be written, so nothing is signed or released."""

    reason = "log.unavailable"
    hint = "Check the disk of the worker's state directory; work resumes automatically."


class QueueUnavailable(Unavailable):
    """Redis cannot be reached, or refuses."""

    reason = "queue.unavailable"
    hint = "Check Redis; submitting again under the same request id is safe."

    def __init__(
        self,
        message: str = "",
        *,
        retry_after_s: float | None = None,
        perhaps_done: bool = False,
        server_wide: bool = False,
    ) -> None:
        """``perhaps_done``: the commands were sent, once (``queueing.redis.send_once``), and their answer was lost.

        ``server_wide``: Redis refuses for a cause that lies in the server or in the rights of its user, not in a key.
        """
        super().__init__(message, retry_after_s=retry_after_s)
        self.perhaps_done = perhaps_done
        self.server_wide = server_wide


class QueueUnconfirmed(Unavailable):
    """Redis has it, but too few replicas confirmed it in time; a failover may lose it."""

    reason = "queue.unconfirmed"
    hint = "Check the replicas of Redis; submitting again under the same request id is safe, and the client does so."


class ConfigError(Exception):
    """An error in the configuration: the file, the key, the problem, and the remedy.

    ``value`` is shown to people: never pass a secret.
    """

    def __init__(self, file: str, key: str, problem: str, remedy: str) -> None:
        super().__init__(f"{file}: {key}: {problem}" if key else f"{file}: {problem}")
        self.file = file
        self.key = key
        self.problem = problem
        self.remedy = remedy


def _leaves(cls: type[SigningError]) -> list[type[SigningError]]:
    children = cls.__subclasses__()
    return [cls] if not children else [leaf for child in children for leaf in _leaves(child)]


BY_REASON: Final[dict[str, type[SigningError]]] = {cls.reason: cls for cls in _leaves(SigningError)}
"""The closed set of reasons: code -> class. Sent over the wire as the code alone."""

RESULT_REASONS: Final = frozenset(BY_REASON) - {
    cls.reason for cls in (InputUnreadable, OutputUnwritable, ProofInvalid)
}
"""Reasons that a job's result can carry; the others occur in commands only."""


def from_reason(reason: str, message: str = "", *, retry_after_s: float | None = None) -> SigningError:
    """The error for a code read from the wire; an unknown code becomes ``ResultInvalid``."""
    cls = BY_REASON.get(reason)
    if cls is None:
        return ResultInvalid("the result carries an unknown error code")
    return cls(message, retry_after_s=retry_after_s)
