"""Help for retryable codes: the same request may succeed later, and clients retry automatically."""

from __future__ import annotations

from typing import Final

from workers.error_help.page_types import Step, Text

_WAITS: Final = "A build whose deadline has passed; until then the client waits and retries."
_LIMITS: Final = Step("The operator shows the tenant's remaining limits:", "sigmill top --once")
_AGAIN: Final = Step(
    "Run the same command again: with the same request id finished results are returned, and nothing is signed twice.",
    "sigmill sign --config client.toml --key KEY --request-id ID FILE",
)
_AGAIN_WITH_RECEIPTS: Final = Step(
    "Run the same command again later, with the same request id: nothing is signed twice.",
    "sigmill sign --config client.toml --key KEY --request-id ID --receipts DIR FILE",
)
_ALIVE: Final = Step("Check that a worker is running and ready:", "sigmill workers list")

_DOCTOR: Final = Step("Diagnose the worker's host, with a fix for each problem:", "sigmill doctor")

TEXTS: Final[dict[str, Text]] = {
    "limit.rate": Text(
        "The tenant has reached its rate limit (`rate_per_s`, over all workers, weighted by the cost of a signature). The"
        " jobs wait in the queue.",
        _WAITS + " Also a canary that is requested more than once a second.",
        (
            _LIMITS,
            Step(
                "The operator raises `rate_per_s` or `burst` in the tenant's file, then:",
                "sigmill tenants reload",
            ),
        ),
    ),
    "limit.backlog": Text(
        "The tenant's backlog is full (`backlog_digests`, `backlog_bytes`); nothing was queued for this submit.",
        _WAITS,
        (
            Step("The operator checks that jobs are being signed:", "sigmill top --once"),
            _ALIVE,
            Step(
                "Use a longer deadline, or a lower priority for jobs that can wait:",
                "sigmill sign --config client.toml --key KEY --deadline 4h FILE",
            ),
        ),
    ),
    "limit.budget": Text(
        "The budget of the tenant (`digests_per_day`) or of the key (`budget`) is exhausted until the next period, which"
        " begins in `retry_after_s`.",
        "A build; at once if the next period begins after its deadline.",
        (_LIMITS, Step("The operator shows the key's budget:", "sigmill keys show KEY")),
    ),
    "job.expired": Text(
        "Its lane was too late, or a clock is wrong. A waiting client renews the envelope automatically, and the job"
        " continues.",
        "A build that submitted without waiting; `sigmill status`.",
        (
            _AGAIN,
            Step("If this happens often, check the age of the backlog:", "sigmill top --once"),
            Step("For a build that collects its results much later, raise `envelope_ttl_s` in client.toml."),
        ),
    ),
    "wait.timeout": Text(
        "The deadline passed before the result arrived. The job continues, and its signatures can be collected later.",
        "A build, at `sigmill sign` or `wait`.",
        (
            Step("Wait again:", "sigmill wait --config client.toml JOB"),
            Step("Show the state of the job:", "sigmill status --config client.toml JOB"),
            _ALIVE,
        ),
    ),
    "token.unavailable": Text(
        "No token that holds the key is usable: the token is not found, its login fails, its PIN was rejected, it lacks"
        " the key, or an operator drained it. Accepted jobs stay queued while their envelopes are valid.",
        "A build whose deadline has passed; `sigmill keys list` and `tokens list`; the canary; alerts SigmillCircuitOpen and"
        " SigmillPinRefused.",
        (
            Step("Check whether the token is found, drained, or its PIN rejected:", "sigmill tokens list"),
            Step("Check that the token has the keys:", "sigmill keys list"),
            _DOCTOR,
            Step("After a rejected PIN, once the PIN file is correct:", "sigmill tokens resume TOKEN"),
        ),
    ),
    "identity.unavailable": Text(
        "The build has no token to show to the issuer: the provider's variables or its file are missing, its request failed, or"
        " the command that prints it failed. Nothing was sent.",
        "A build whose client.toml has `identity`.",
        (
            Step(
                "GitHub: give the job `permissions: id-token: write`. GitLab: name the variable under `id_tokens`."
            ),
            Step("See that the file or the command of `identity` gives a token in the build's own shell."),
        ),
    ),
    "issuer.unavailable": Text(
        "The issuer of grants did not answer, or answered that it cannot decide now. The grant in use serves until it expires.",
        "A build whose client.toml has `issuer`.",
        (
            Step("Check `url` and `ca_file` of `issuer` in client.toml, and that the host answers."),
            Step("The operator sees the issuer's log and its units:", "journalctl -u sigmill-issuer"),
        ),
    ),
    "timestamp.unavailable": Text(
        "None of the time-stamp servers answered with a valid time-stamp within the attempts. The file is as it was; a rerun"
        " signs only what is not done.",
        "`sigmill sign-file` with `--timestamp-url`.",
        (
            Step("Run the same command again later, with a second server:"),
            Step("If the server limits requests, let more time pass between them: `--timestamp-pause 1s`."),
            Step("If a signature without a time-stamp will do: `--timestamp-optional`."),
        ),
    ),
    "hsm.fault": Text(
        "The HSM failed to sign the digest at every attempt of the worker. The job was requeued and is retried, also by"
        " other hosts.",
        "A build whose deadline has passed; canaries; `sigmill_lane_restarts_total` has the PKCS#11 error as its reason.",
        (
            Step("Find the token, and the reasons of its lane restarts:", "sigmill top --once"),
            Step(
                "Check the vendor's log, then drain the token on this host:",
                "sigmill tokens drain TOKEN",
            ),
            _DOCTOR,
        ),
    ),
    "clock.set_back": Text(
        "A host's clock was set. Either it was set back, and the envelope had expired by the time that it showed before: it was"
        " ahead and is right now, or a person set it back to have an old envelope signed. Or it was set ahead or far back, and"
        " the envelope is valid by the time since boot and not by the clock. The host cannot tell which is right, and neither"
        " signs nor ends such a job: it is requeued with a growing delay, and other hosts may sign it.",
        "The operator, by the alert SigmillClockSetBack and the log events `clock.set_back`, `clock.set_ahead` and"
        " `clock.far_back`, which say by how much; a build"
        " whose deadline has passed.",
        (
            Step("Check the clock of each worker host:", "timedatectl"),
            Step(
                "If the clock was ahead and is right now, on that host, without worker and lanes running:",
                "rm STATE_DIR/latest-time",
            ),
        ),
    ),
    "config.behind": Text(
        "A worker has an older file of the tenant than another host: the service key has signed a key directory of a newer epoch. Or"
        " a lane has an older file than its worker; the log event `lane.reload_refused` may have the reason. By the older file the"
        " job would be refused, and the newer one may permit it. It is requeued for a worker that has the newer file, for a minute"
        " or two; after that it is refused as the older file says.",
        "The operator, by the log event `config.behind`, `sigmill_config_behind` and the alert SigmillConfigBehind; a build"
        " whose deadline has passed.",
        (
            Step(
                "Bring the newest file to the host that the log names, then on that host:",
                "sigmill tenants reload",
            ),
            Step("See whether its files are those of the cluster:", "sigmill doctor"),
        ),
    ),
    "log.unavailable": Text(
        "A worker cannot write its write-ahead log, so it signs and releases nothing: the disk is full, read-only or"
        " missing. It continues automatically when the disk works again.",
        "The operator, by the alert SigmillLogFailing and by /readyz; canaries. Builds are signed by other hosts meanwhile.",
        (
            Step("Check the free space of the state directory:", "df -h STATE_DIR"),
            Step(
                "Old segments are kept for `[log] keep_days`; after a change:",
                "systemctl restart sigmill-worker",
            ),
        ),
    ),
    "queue.unavailable": Text(
        "Redis is unreachable or refuses the command: it is down, failing over, full (`noeviction`), or the user lacks a"
        " right. Submitting again is safe: the same request id is the same job.",
        "A build, after its retries; workers, which retry automatically (`sigmill_redis_errors_total`).",
        (
            Step("Check that Redis answers:", "redis-cli -h HOST ping"),
            _DOCTOR,
            Step(
                "If the tenant's Redis user is wrong, set it again, as a Redis user with that right:",
                "sigmill tenants acl --config ADMIN.toml --tenant TENANT --password-file FILE --apply",
            ),
            _AGAIN,
        ),
    ),
    "queue.unconfirmed": Text(
        "Redis has accepted the job, but fewer replicas than `replicas` confirmed it in time: a failover now could lose it."
        " The client sends it again until its deadline.",
        'A build with `accept = "replicated"`; a worker with this setting claims nothing meanwhile and is not ready.',
        (
            Step(
                "Check the connection and the lag of the replicas:",
                "redis-cli -h HOST info replication",
            ),
            Step(
                "To accept jobs without replicas:",
                "sigmill sign --config client.toml --key KEY --accept local FILE",
            ),
        ),
    ),
    "creation.busy": Text(
        "One command at a time makes a key, or the statement of a key, on a host: two would give their keys one version and one"
        " label, or write one statement. The lock is of the folder with the tenants' files, and of the service's file. It ends with"
        " the command that has it, also if that was killed.",
        "`sigmill keys create`, `rotate` and `origin create`; nothing was made.",
        (
            Step("Wait for the other command, and look at what it has made:", "sigmill keys list"),
            Step("Then run this one again, if it is still needed."),
        ),
    ),
    "receipt.missing": Text(
        "The signature was made, and no receipt for it has come: the service keeps no record, the sealer of the worker's host is"
        " behind or does not run, the job was first submitted without asking for receipts, or Redis could not be asked."
        " Receipts are kept as long as results.",
        "A build that asked for receipts; the signature is good and was returned.",
        (
            _AGAIN_WITH_RECEIPTS,
            Step(
                "The operator checks the sealer (alert SigmillRecordLagging), and that `[record]` is enabled:",
                "sigmill doctor",
            ),
            Step(
                "At any later time the operator makes the receipt from the record:",
                "sigmill audit receipt --help",
            ),
        ),
    ),
}
