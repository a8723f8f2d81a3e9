"""Codes of what cannot be done now: the same request may succeed later, and clients of ours try again by themselves."""

from __future__ import annotations

from typing import Final

from workers.error_help.page_types import Step, Text

_WAITS: Final = (
    "A build that has waited until its deadline; before that the client waits and asks again by itself."
)
_LIMITS: Final = Step("The operator sees what is left of the tenant's limits:", "sigmill top --once")
_AGAIN: Final = Step(
    "Run the same command again: under the same request id what is done comes back, and nothing is signed twice.",
    "sigmill sign --config client.toml --key KEY --request-id ID FILE",
)
_ALIVE: Final = Step("Is there a worker, and is it ready?", "sigmill workers list")

_DOCTOR: Final = Step("On a worker's host, ask what is wrong, with the line that mends it:", "sigmill doctor")

TEXTS: Final[dict[str, Text]] = {
    "limit.rate": Text(
        "The tenant's rate (`rate_per_s`, over all workers, weighed by what a signature costs) is used up for now. The jobs"
        " wait in the queue.",
        _WAITS + " Also the canary, when it is asked for more than once in a second.",
        (
            _LIMITS,
            Step(
                "A larger `rate_per_s` or `burst` is the operator's, in the tenant's file:",
                "sigmill tenants reload",
            ),
        ),
    ),
    "limit.backlog": Text(
        "So much of this tenant waits already (`backlog_digests`, `backlog_bytes`) that no more is accepted; nothing was"
        " queued for this submit.",
        _WAITS,
        (
            Step("The operator sees whether work goes on at all:", "sigmill top --once"),
            _ALIVE,
            Step(
                "For what can wait, a lower priority; for what cannot, a longer deadline:",
                "sigmill sign --config client.toml --key KEY --deadline 4h FILE",
            ),
        ),
    ),
    "limit.budget": Text(
        "The budget of the tenant (`digests_per_day`) or of the key (`budget`) is used up until the next period begins."
        " `retry_after_s` says when.",
        "A build, at once where the budget ends later than its deadline.",
        (_LIMITS, Step("The operator sees the key's budget:", "sigmill keys show KEY")),
    ),
    "job.expired": Text(
        "The envelope's time was over before a lane had signed it; nothing was signed. A client that waits renews it by"
        " itself: the same job goes on.",
        "A build that submitted and went away; `sigmill status`.",
        (
            _AGAIN,
            Step("If it happens often, something is slow: is the backlog old?", "sigmill top --once"),
            Step("A build that comes back much later needs a larger `envelope_ttl_s` in client.toml."),
        ),
    ),
    "wait.timeout": Text(
        "The deadline passed before the result was there. The job goes on, and its signatures will be there.",
        "A build, at `sigmill sign` or `wait`.",
        (
            Step("Wait for it again:", "sigmill wait --config client.toml JOB"),
            Step("Where is it?", "sigmill status --config client.toml JOB"),
            _ALIVE,
        ),
    ),
    "token.unavailable": Text(
        "No token that holds the key can be used now: it is not found, its login fails, its PIN was refused, it lacks the"
        " key, or an operator drained it. Accepted jobs stay queued for as long as their envelopes are valid.",
        "A build that has waited; `sigmill keys list` and `tokens list`; the canary; alerts SigmillCircuitOpen and"
        " SigmillPinRefused.",
        (
            Step("Is it found, drained, or its PIN refused?", "sigmill tokens list"),
            Step("Does it have the keys?", "sigmill keys list"),
            _DOCTOR,
            Step("After a refused PIN, when its file is right:", "sigmill tokens resume TOKEN"),
        ),
    ),
    "hsm.fault": Text(
        "The HSM failed while it had the digest, as often as a worker tries it. The job goes back to the queue, and is"
        " tried again, also by other hosts.",
        "A build that has waited; the canary; `sigmill_lane_restarts_total` has the PKCS#11 name of the fault.",
        (
            Step("Which token, and how do its lanes end?", "sigmill top --once"),
            Step(
                "Look at the vendor's log, then have the token rest on this host:",
                "sigmill tokens drain TOKEN",
            ),
            _DOCTOR,
        ),
    ),
    "log.unavailable": Text(
        "A worker cannot write its write-ahead log, so it signs and releases nothing: the disk is full, read-only or gone."
        " It goes on by itself when the disk is well.",
        "The operator, by the alert SigmillLogFailing and by /readyz; the canary. Builds wait, for other hosts sign.",
        (
            Step("How full is the disk of the state directory?", "df -h STATE_DIR"),
            Step(
                "How long are old segments kept? `[log] keep_days`; adopt a change:",
                "systemctl restart sigmill-worker",
            ),
        ),
    ),
    "queue.unavailable": Text(
        "Redis cannot be reached or refuses: it is down, has failed over, is full (`noeviction`), or the user may not do"
        " this. Submitting again is safe: the request id makes it the same job.",
        "A build, after its own tries; workers, who wait and go on by themselves (`sigmill_redis_errors_total`).",
        (
            Step("Does it answer, and to whom?", "redis-cli -h HOST ping"),
            _DOCTOR,
            Step(
                "Is it the Redis user of the tenant? Set it anew, as a user in [redis] that may, with its password:",
                "sigmill tenants acl --config ADMIN.toml --tenant TENANT --password-file FILE --apply",
            ),
            _AGAIN,
        ),
    ),
    "queue.unconfirmed": Text(
        "Redis has taken it, but fewer of its replicas than `replicas` said so in time: a failover now might forget it."
        " The client sends the same again until its deadline.",
        'A build with `accept = "replicated"`; a worker with it claims nothing meanwhile and is not ready.',
        (
            Step(
                "Are the replicas connected, and how far behind are they?",
                "redis-cli -h HOST info replication",
            ),
            Step(
                "If it may be accepted without them:",
                "sigmill sign --config client.toml --key KEY --accept local FILE",
            ),
        ),
    ),
}
