"""Help for codes of invalid input: the same request fails again."""

from __future__ import annotations

from typing import Final

from workers.error_help.page_types import Step, Text

_BUILD: Final = "A build, at `sigmill sign`, `submit` or `wait`."
_LIBRARY: Final = (
    "A program that creates envelopes itself, or an old client version; the item was not signed."
)

TEXTS: Final[dict[str, Text]] = {
    "algorithm.unknown": Text(
        "The algorithm is unknown. Sigmill uses the names of AWS KMS, such as RSASSA_PKCS1_V1_5_SHA_256,"
        " RSASSA_PSS_SHA_256, ECDSA_SHA_256, ED25519.",
        _BUILD,
        (
            Step(
                "Omit the algorithm to use the key's default:",
                "sigmill sign --config client.toml --key KEY FILE",
            ),
        ),
    ),
    "digest.length": Text(
        "The digest does not have the length that the algorithm requires: 32 bytes for SHA-256, 48 for SHA-384, 64 for"
        " SHA-512. A common cause is a digest in hex, or the file itself. Other digests of the same job are signed.",
        _BUILD,
        (
            Step("Let the command hash the file:", "sigmill sign --config client.toml --key KEY FILE"),
            Step("Or give the hash:", "sigmill sign --config client.toml --key KEY --digest sha256:HEX"),
        ),
    ),
    "envelope.malformed": Text(
        "The envelope cannot be decoded, is too large or invalid: more than 1,024 digests, unknown fields, or a job whose"
        " unsigned digest count or algorithm does not match its envelope.",
        _LIBRARY,
        (
            Step(
                "Create envelopes with queueing.SigningClient or the command line; compare versions:",
                "sigmill --version",
            ),
            Step(
                "If no program of yours did this, another one writes to Redis; show who is allowed to:",
                "sigmill tenants acl --tenant TENANT",
            ),
        ),
    ),
    "grant.malformed": Text(
        "The bytes of a grant, or of a request for one, are not in the one form that they have: cut, changed on the way, or of"
        " another program.",
        _BUILD,
        (
            Step(
                "Use the client and the issuer of supported versions, and let nothing between them change requests."
            ),
        ),
    ),
    "envelope.expired": Text(
        "The envelope's times are invalid: issued more than 60 s in the future, valid for longer than the tenant's"
        " `max_envelope_age_s`, or expired before it was issued.",
        _BUILD,
        (
            Step(
                "Set the clock that the message names: of the build host, or of the worker's host. Then run the same command"
                " again; the refusal is not kept:",
                "timedatectl",
            ),
            Step(
                "Lower `envelope_ttl_s` in client.toml; the limit is `max_envelope_age_s` in the tenant's file."
            ),
        ),
    ),
    "job.conflict": Text(
        "This request id was already used for other digests or another key. The first job is unaffected, and nothing was"
        " signed for this request.",
        _BUILD,
        (
            Step(
                "Use a new request id for new content:",
                "sigmill sign --config client.toml --key KEY --request-id NEW-ID FILE",
            ),
        ),
    ),
    "job.poisoned": Text(
        "Several lanes or workers crashed while processing this job, the last one while processing nothing else. The job"
        " became a dead letter, with the evidence; its digests may have been signed, but no signature was released.",
        "A build, for this job alone; the operator, by the alert SigmillDeadLetters.",
        (
            Step("The operator shows how the lanes exited:", "sigmill deadletter show JOB"),
            Step(
                "If the PKCS#11 module or the HSM was the cause, and is repaired:",
                "sigmill deadletter retry JOB",
            ),
        ),
    ),
    "job.unknown": Text(
        "The queue has neither a job of this id nor its result: the id is mistyped, the result has expired"
        " (`result_retention_s`), or Redis has lost it.",
        "`sigmill status` and `wait`; the operator, at `sigmill deadletter`.",
        (
            Step(
                "Submit again with the same request id; finished results are returned, and not signed twice within the retention:",
                "sigmill sign --config client.toml --key KEY --request-id ID FILE",
            ),
        ),
    ),
    "function.unknown": Text(
        "A job in a tenant's queue is not a signing job: a stock arq producer enqueued another function than `sign`, or no"
        " envelope; or a signing job was enqueued to arq's default queue.",
        "A program that uses arq directly.",
        (
            Step(
                "Enqueue `sign` with one envelope, with queueing's serializer, to the tenant's queue, as README.md shows."
            ),
        ),
    ),
    "input.unreadable": Text(
        "The file, or a line of the manifest, cannot be read; nothing was submitted for it. Other items are not affected.",
        _BUILD,
        (
            Step(
                "Check name and mode of the file; a manifest has one JSON object per line:",
                "sigmill sign --config client.toml --key KEY --manifest digests.jsonl",
            ),
        ),
    ),
    "job.cancelled": Text(
        "The client has removed the job from the queue with `sigmill cancel` before a worker claimed it. Nothing was signed.",
        "A process that still waits for the job.",
        (
            Step(
                "To have it signed after all, run the same command again with the same request id:",
                "sigmill sign --config client.toml --key KEY --request-id ID FILE",
            ),
        ),
    ),
    "output.unwritable": Text(
        "Standard output, or a signature file of `--out-dir`, could not be written: a full disk, a missing permission, or a"
        " reader that has left. Signatures that were made are not lost: a line whose file failed still has its signature,"
        " and what was not printed is collected by a rerun with the same request id within the result retention.",
        _BUILD,
        (
            Step("Free some space, or choose another place:", "df -h ."),
            Step(
                "Run the same command again with the same request id; nothing is signed twice:",
                "sigmill sign --config client.toml --key KEY --request-id ID FILE",
            ),
        ),
    ),
    "result.invalid": Text(
        "The result is not authentic: a signature does not verify with the key in the key directory, the directory is not"
        " signed by a pinned service key, or it is older than one seen before. The result was discarded. Another program"
        " may be writing to Redis, or the client pins the service key of another cluster.",
        "A build; a canary, as its outcome.",
        (
            Step(
                "Discard the result, and inform the operator at once. Show who may write to Redis:",
                "redis-cli ACL LIST",
            ),
            Step(
                "After a change of the service key, client.toml needs the new one in `service_keys`:",
                "sigmill clients create NAME --from connection.toml",
            ),
            Step("Verify existing signatures:", "sigmill verify --config client.toml RESULTS"),
        ),
    ),
    "artifact.invalid": Text(
        "The file cannot be signed as it is: it is truncated or damaged, has its certificate table at a wrong place, is too"
        " large for its format, or has no known format. The message says which. The file is as it was; the others are signed.",
        "`sigmill sign-file`.",
        (
            Step("Build or copy the file again."),
            Step(
                "If the format was not recognised, name it:",
                "sigmill sign-file --config client.toml --key KEY --format pe FILE",
            ),
        ),
    ),
    "artifact.signed": Text(
        "The file has a signature by another certificate, over other content, or without the time-stamp that was asked for."
        " Nothing was changed: another vendor's signature is not replaced by accident.",
        "`sigmill sign-file`.",
        (
            Step(
                "Sign the file as it was built, or replace the signature:",
                "sigmill sign-file --config client.toml --key KEY --replace FILE",
            ),
            Step(
                "Or add a second signature to a PE file:",
                "sigmill sign-file --config client.toml --key KEY --append FILE",
            ),
        ),
    ),
    "proof.invalid": Text(
        "A proof, a checkpoint, a receipt or another part of the tamper-evident log is damaged, or does not belong to what"
        " it is said to prove. The message names the part and the place.",
        "A verification of the record.",
        (
            Step("Copy or export the file again, and verify it again."),
            Step(
                "If it fails again, keep it unchanged: it is evidence. Ask the operator for an explanation."
            ),
        ),
    ),
}
