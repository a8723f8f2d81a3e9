"""Codes of what is wrong and stays wrong: the same input fails again."""

from __future__ import annotations

from typing import Final

from workers.error_help.page_types import Step, Text

_BUILD: Final = "A build, at `sigmill sign`, `submit` or `wait`."
_LIBRARY: Final = (
    "A program that makes envelopes by itself, or an old version of ours; its item was not signed."
)

TEXTS: Final[dict[str, Text]] = {
    "digest.length": Text(
        "The digest is not as long as the algorithm signs: 32 bytes for SHA-256, 48 for SHA-384, 64 for SHA-512. Often"
        " somebody sent the hex text, or the file. Other digests of the same job are signed.",
        _BUILD,
        (
            Step("Have the command hash the file:", "sigmill sign --config client.toml --key KEY FILE"),
            Step("Or name the hash:", "sigmill sign --config client.toml --key KEY --digest sha256:HEX"),
        ),
    ),
    "envelope.malformed": Text(
        "The envelope cannot be read, is too large or holds what no envelope may: more than 1,024 digests, unknown fields,"
        " counts beside it that do not fit it.",
        _LIBRARY,
        (
            Step(
                "Make envelopes with queueing.SigningClient or the command; compare the versions:",
                "sigmill --version",
            ),
            Step(
                "If nobody of yours did it, somebody writes to Redis; see who may:",
                "sigmill tenants acl --tenant TENANT",
            ),
        ),
    ),
    "envelope.expired": Text(
        "The envelope's dates are out of range: made more than 60 s in the future, valid for longer than the tenant's"
        " `max_envelope_age_s`, or expired before it began.",
        _BUILD,
        (
            Step("Check the build host's clock:", "timedatectl"),
            Step(
                "Lower `envelope_ttl_s` in client.toml; what the tenant allows, the operator sees in its file."
            ),
        ),
    ),
    "job.conflict": Text(
        "This request id was used before for other digests, or another key. The first job is as it was, and nothing was"
        " signed for this one.",
        _BUILD,
        (
            Step(
                "Give new content a new id:",
                "sigmill sign --config client.toml --key KEY --request-id NEW-ID FILE",
            ),
        ),
    ),
    "job.poisoned": Text(
        "Lane after lane, or worker after worker, ended while it had this job, the last time with nothing beside it. It is"
        " set aside with the evidence; its digests may have been signed, and nobody has the signatures.",
        "A build, for this job alone; the operator, by the alert SigmillDeadLetters.",
        (
            Step("The operator looks at how the lanes ended:", "sigmill deadletter show JOB"),
            Step("If the module or the HSM was to blame, and is mended:", "sigmill deadletter retry JOB"),
        ),
    ),
    "job.unknown": Text(
        "The queue has neither a job of this id nor its result: the id is mistyped, the result's retention"
        " (`result_retention_s`) is over, or Redis has lost it.",
        "Whoever asks at `sigmill status` or `wait`, or the operator at `sigmill deadletter`.",
        (
            Step(
                "Submit again under the same request id; what is done comes back, nothing is signed twice in the retention:",
                "sigmill sign --config client.toml --key KEY --request-id ID FILE",
            ),
        ),
    ),
    "function.unknown": Text(
        "A job in a tenant's queue is none of ours: a stock arq producer enqueued another function than `sign`, or without"
        " an envelope; or a signing job went to arq's own queue.",
        "A program that uses arq by itself.",
        (
            Step(
                "Enqueue `sign` with one envelope, with queueing's serializer, to the queue of the tenant; README.md says how."
            ),
        ),
    ),
    "input.unreadable": Text(
        "The file or the line that was to be signed cannot be read; nothing was sent for it. The other items go on.",
        _BUILD,
        (
            Step(
                "Check the file's name and mode; a manifest has one JSON object in each line:",
                "sigmill sign --config client.toml --key KEY --manifest digests.jsonl",
            ),
        ),
    ),
    "result.invalid": Text(
        "What came back is false: a signature that does not verify under the key of the signed directory, a directory that"
        " the pinned service key did not sign, or one older than was seen. Nothing was taken over. Somebody may be writing"
        " to Redis, or the client pins another cluster's service key.",
        "A build; and the canary, as its outcome.",
        (
            Step(
                "Use nothing of it, and tell the operator at once. Who may write to Redis:",
                "redis-cli ACL LIST",
            ),
            Step(
                "After the service key was changed, client.toml needs the new one in `service_keys`:",
                "sigmill clients create NAME --from connection.toml",
            ),
            Step("Check signatures that you have:", "sigmill verify --config client.toml RESULTS"),
        ),
    ),
}
