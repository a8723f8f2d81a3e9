"""Errors of the branch ``Invalid``: the input is wrong, and the same input fails again."""

from __future__ import annotations

from queueing.errors.root import Invalid


class AlgorithmUnknown(Invalid):
    """No such signing algorithm."""

    reason = "algorithm.unknown"
    hint = "Use an AWS KMS algorithm name, such as RSASSA_PKCS1_V1_5_SHA_256 or ECDSA_SHA_256."


class DigestLength(Invalid):
    """The digest does not have the length that the algorithm signs."""

    reason = "digest.length"
    hint = "A digest has 32 bytes for SHA-256, 48 for SHA-384, 64 for SHA-512: the library takes the bytes, the command line twice as many hex digits."


class EnvelopeMalformed(Invalid):
    """The envelope cannot be read."""

    reason = "envelope.malformed"
    hint = "Make envelopes with queueing.SigningClient or `sigmill sign` of a supported version."


class GrantMalformed(Invalid):
    """The grant, or the request for one, cannot be read."""

    reason = "grant.malformed"
    hint = "Use queueing.SigningClient or `sigmill sign`, and an issuer, of supported versions."


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


class ArtifactInvalid(Invalid):
    """The file is damaged, or of no format that can be signed; it is as it was."""

    reason = "artifact.invalid"
    hint = "Build or copy the file again, or name its format by --format."


class ArtifactSigned(Invalid):
    """The file has another signature, or an incomplete one; it is unchanged."""

    reason = "artifact.signed"
    hint = "Sign the file as it was built, or choose --replace or --append."
