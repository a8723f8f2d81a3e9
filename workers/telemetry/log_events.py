"""Catalogue of all log events: level, meaning and fields.

``docs/reference/events.md`` is written from here (``make generate``). A test compares it with the code: every logged
event is listed, with its level and fields, and every listed event is logged. It is one table and stays in one file, however
long: an event is looked up by its name, and those of one part of the service are together.
"""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

Level = Literal["debug", "info", "warning", "error"]


class LogEvent(NamedTuple):
    """Log event; ``fields`` are those besides time, level, logger and event, and some may be absent from a line."""

    level: Level
    meaning: str
    fields: tuple[str, ...] = ()


NOTE: Final = "note"
"""Event of a sentence that a library, or the client code, logs in ``message``."""

EVENTS: Final[dict[str, LogEvent]] = {
    NOTE: LogEvent("warning", "A sentence logged by a library, in `message`.", ("message",)),
    # The process
    "service.started": LogEvent(
        "info", "The worker has started and claims jobs, as `owner`.", ("owner", "tenants")
    ),
    "service.stopped": LogEvent("info", "The worker has shut down cleanly.", ("owner",)),
    "service.draining": LogEvent(
        "info", "Shutdown requested (SIGTERM): the worker claims no more jobs.", ("in_work",)
    ),
    "service.drain_deadline": LogEvent(
        "warning", "Jobs were not finished in time; they are requeued as possibly signed.", ("left",)
    ),
    "service.ended_by_deadline": LogEvent(
        "error", "Shutdown hung; the process was ended at `worker.drain_s`."
    ),
    "service.not_marked": LogEvent(
        "error",
        "The lock file of the worker could not be written; `sigmill tenants reload` will not find this worker.",
        ("why",),
    ),
    "logs.dropped": LogEvent(
        "warning",
        "Log lines were dropped because stderr was not read or could not be written; `lines`: since the last such line.",
        ("lines",),
    ),
    "metrics.failed": LogEvent(
        "warning", "A scrape of /metrics or a probe failed inside this process.", ("why",)
    ),
    "arq.interrupted": LogEvent(
        "warning", "An error interrupted arq's main loop, which restarts.", ("why", "error")
    ),
    "arq.job_failed": LogEvent(
        "error",
        "A stock job on arq's own queue ended in an error outside its function, for example by a value that arq cannot"
        " read. The job has failed and was removed.",
        ("job", "why", "error"),
    ),
    "arq.close_failed": LogEvent("warning", "Redis was unreachable while arq's worker was closed.", ("why",)),
    # Redis and the queue
    "redis.failed": LogEvent(
        "warning",
        "A round trip to Redis failed and is retried. Logged at debug where it is retried every second.",
        ("operation", "why"),
    ),
    "claim.failed": LogEvent(
        "warning", "Redis does not answer claims; logged once per outage.", ("why", "error")
    ),
    "claim.refused": LogEvent(
        "error",
        "Redis refuses to have jobs claimed, of one tenant or (no rights, no memory, a replica) of all; logged once per reason, and of a tenant at most once a minute for each.",
        ("tenant", "why"),
    ),
    "keys.replaced": LogEvent(
        "warning",
        "Redis keys of this tenant had foreign types or values and were deleted; logged once a minute, with all since the line before.",
        ("tenant", "keys"),
    ),
    "value.damaged": LogEvent(
        "warning",
        "Values in Redis could not be read, and were skipped or removed: another program has written there.",
        ("source", "items", "why"),
    ),
    "lease.lost": LogEvent(
        "warning", "Leases of this worker were lost to another worker, or expired.", ("jobs", "job_ids")
    ),
    "lease.loop_hangs": LogEvent(
        "error",
        "The event loop is blocked; leases are no longer extended, so that other workers take over.",
        ("unseen_s",),
    ),
    "directory.failed": LogEvent(
        "warning", "A tenant's key directory could not be published.", ("tenant", "why")
    ),
    # Jobs
    "jobs.claimed": LogEvent("info", "Jobs claimed by this worker (`[logging] jobs`).", ("tenant", "jobs")),
    "jobs.unauthenticated": LogEvent(
        "warning",
        "Jobs refused before a client of the tenant was established: counts by reason since the last such line of this "
        "tenant (one a minute at most), and one job as an example.",
        ("tenant", "reasons", "job_id"),
    ),
    "jobs.forgeries_not_kept": LogEvent(
        "warning",
        "Tenants in whose name envelopes are forged could not be kept for the next start of the worker.",
        ("why",),
    ),
    "jobs.released": LogEvent(
        "info",
        "Published results (`[logging] jobs`); `outcome` is committed, repeated or fenced.",
        ("tenant", "outcome", "jobs"),
    ),
    "jobs.returned": LogEvent(
        "info", "Jobs returned to the queue unsigned (`[logging] jobs`).", ("tenant", "reason", "jobs")
    ),
    "commit.fenced": LogEvent(
        "warning",
        "A result was not published: another worker holds the lease of the job.",
        ("tenant", "job_id"),
    ),
    "job.dead": LogEvent(
        "error",
        "A job became a dead letter: see `sigmill deadletter show`.",
        ("tenant", "job_id", "lane_ends", "crashes"),
    ),
    # The write-ahead log
    "log.failed": LogEvent(
        "error", "The write-ahead log cannot be written: nothing is signed or released.", ("why", "errno")
    ),
    "log.broke": LogEvent(
        "error",
        "Unexpected error (a defect of Sigmill) while writing the write-ahead log, with a traceback.",
        (),
    ),
    "log.damaged": LogEvent(
        "error",
        "A segment of the write-ahead log is damaged before its end: records at this place are lost, unless `recovered`.",
        ("segment", "offset", "size_bytes", "recovered", "places"),
    ),
    "log.not_scrubbed": LogEvent(
        "error", "The scrubber could not list the segments of the log, or keep its report.", ("why",)
    ),
    "log.notes_lost": LogEvent(
        "warning", "Records that no caller waited for were not written at shutdown.", ("count",)
    ),
    "log.not_closed": LogEvent(
        "warning",
        "The write-ahead log was not closed, in time or at all; no acknowledged record is lost.",
        ("why",),
    ),
    "log.removed": LogEvent("info", "Segments older than `[log] keep_days` were removed.", ("segments",)),
    "log.kept_longer": LogEvent(
        "warning",
        "Segments are older than `[log] keep_days` by the clock and are kept: between two segments, or the newest and now, "
        "`gap_days` passed. Either the clock is ahead, or the host was off or idle.",
        ("segments", "gap_days"),
    ),
    "log.share_used": LogEvent(
        "error",
        "Records of the tenant have filled its share of the log's disk on this day of UTC (`[log] tenant_share`): no job of it is "
        "claimed here until the next day, or until there is more space. Other tenants are served.",
        ("tenant", "written_bytes", "free_bytes"),
    ),
    "log.share_free": LogEvent(
        "info", "The tenant's share of the log's disk has space again: its jobs are claimed.", ("tenant",)
    ),
    "log.usage_not_kept": LogEvent(
        "warning",
        "What each tenant has written to the log on this day could not be kept for the next start of the worker.",
        ("why",),
    ),
    "events.not_collected": LogEvent(
        "error",
        "Events of commands, which wait in `state_dir/events`, could not be taken into the write-ahead log; it is tried again.",
        ("why",),
    ),
    "events.not_kept": LogEvent(
        "error",
        "A new configuration is in force, and the disk took no event of it; it is tried again every few seconds. A worker that ends before that loses it.",
        ("why", "events"),
    ),
    "events.unreadable": LogEvent(
        "error", "A file in `state_dir/events` is no event; it is kept as `*.unreadable`.", ("file",)
    ),
    "log.not_tidied": LogEvent("warning", "Old segments could not be removed.", ("why",)),
    # The record
    "record.opened": LogEvent(
        "info",
        "The sealer continues from `segment` of the write-ahead log.",
        ("origin", "segment", "tenants"),
    ),
    "record.closed": LogEvent("info", "The sealer has made all durable, and ends.", ("origin",)),
    "record.misplaced": LogEvent(
        "error",
        "Something that is no file was in the place of a file or folder of the record: it is now called `kept_as`, beside it, or was removed where it was a pipe, a"
        " socket or a device. Sealing continues. Find out what put it there.",
        ("file", "kept_as"),
    ),
    "record.failed": LogEvent(
        "error",
        "The record cannot be written or the write-ahead log not be read; sealing begins again from what was durable. Signing"
        " continues.",
        ("why", "errno", "file"),
    ),
    "record.damaged": LogEvent(
        "error",
        "The record, or the write-ahead log behind it, is damaged or was set back: it is not signed on.",
        ("why",),
    ),
    "record.replaced": LogEvent(
        "error",
        "A new record was begun, which follows the damaged one; that is kept in `former`, in `state_dir`.",
        ("former",),
    ),
    "record.lost": LogEvent(
        "error",
        "This host has published a record `origin` to Redis, with so many `entries` of so many `tenants`, which is neither in `state_dir` nor followed by"
        " one that is: its state directory was lost or replaced. Looked for at the start, an hour later, and once a day.",
        ("origin", "entries", "tenants"),
    ),
    "record.not_looked_for": LogEvent(
        "warning",
        "Redis or `state_dir` does not say now which records of this host are lost; it is tried again.",
        ("why",),
    ),
    "record.gap": LogEvent(
        "warning",
        "The sealer skipped a damaged place in the write-ahead log; the record lacks what was there, and each log that it has by then says so (`gap`).",
        ("segment", "offset"),
    ),
    "record.skipped": LogEvent(
        "error",
        "The sealer skipped records of the write-ahead log of which it can make no entry; `records`: how many since the last such line, with the place and the kind of the first. They stay in the write-ahead log.",
        ("records", "segment", "offset", "kind", "why"),
    ),
    "record.unreadable": LogEvent(
        "error",
        "The disk does not give a place of the write-ahead log. What is before it is sealed, and it is tried again; after ten minutes it is given up.",
        ("segment", "offset", "errno"),
    ),
    "record.given_up": LogEvent(
        "error",
        "The disk has not given this stretch of the write-ahead log for ten minutes: it is a gap in every log of the host (`gap`, reason `unreadable`), and sealing continues behind it. Its segment is kept.",
        ("segment", "offset", "size_bytes"),
    ),
    "record.later": LogEvent(
        "error",
        "The write-ahead log has records of a later version of Sigmill, as after a downgrade: the sealer cannot read them, each is a gap in every log of the host (`gap`, reason `later`), and their segments are kept. `records`: how many since the last such line, with the place of the first.",
        ("records", "segment", "offset"),
    ),
    "record.pruned": LogEvent(
        "info",
        "Entries that are older than `[record] retain_days` were removed from the record of a tenant; those from number `minimum` on are there.",
        ("tenant", "removed", "minimum"),
    ),
    "record.rotten": LogEvent(
        "error",
        "The scrubber found a file of the record damaged: an entry, an item row or a hash is not what was sealed; or a copy of a log beside the logs, or what is no file in a log's folder.",
        ("tenant", "place"),
    ),
    "record.not_scrubbed": LogEvent(
        "error", "The scrubber could not list the logs of the record; it tries again in a day.", ("why",)
    ),
    "record.not_pruned": LogEvent(
        "warning", "Old entries of the record could not be removed; it is tried again in an hour.", ("why",)
    ),
    "record.not_measured": LogEvent(
        "warning",
        "The disk space of the record could not be measured: a folder in it cannot be read. The last number stays; it is tried again in"
        " ten minutes.",
        ("why",),
    ),
    "record.retention_not_told": LogEvent(
        "warning",
        "The worker could not write for the sealer how long entries are kept; it tries again. The sealer uses what it was told before, and removes nothing where that file (`sealer/retention`) is damaged.",
        ("why",),
    ),
    "record.status_not_written": LogEvent("debug", "The sealer could not write its status."),
    "record.sealer_ended": LogEvent(
        "error", "The sealer ended or could not be started; the worker starts it again.", ("why",)
    ),
    "record.sealer_left": LogEvent(
        "warning",
        "The sealer had not ended when the worker's time for its shutdown was over; the next start seals what is left.",
        ("pid",),
    ),
    "record.receipts_failed": LogEvent(
        "warning",
        "Receipts could not be made or handed to the worker; they wait. Sealing continues.",
        ("why",),
    ),
    "record.receipts_dropped": LogEvent(
        "warning",
        "Receipts that clients asked for are not made: there is no room for more, or their log could not be read. `sigmill audit receipt` makes them.",
        ("receipts",),
    ),
    "record.receipts_unread": LogEvent(
        "warning",
        "The receipts of the sealer could not be listed, or a file of them not be read or removed; the worker tries again.",
        ("why",),
    ),
    "record.receipts_invalid": LogEvent(
        "warning", "A file of receipts could not be read, and was removed.", ("file", "why")
    ),
    "record.receipts_unpublished": LogEvent(
        "warning",
        "Receipts could not be published for the tenant; the worker tries again. Signatures do not wait for them.",
        ("tenant", "why"),
    ),
    "record.set_back": LogEvent(
        "error",
        "A log of the record `origin` does not continue its newest head in Redis: `state_dir` is an older copy, or another host has a copy of it. Its key is not certified, and the sealer begins a new record.",
        ("origin", "tenants", "why"),
    ),
    "record.head_invalid": LogEvent(
        "warning",
        "The head of a tenant's log in Redis is none that the service key stands for; it counts as missing, and is replaced.",
        ("tenant", "why"),
    ),
    "record.heads_unpublished": LogEvent(
        "warning",
        "Heads of the record could not be published to Redis, or not be read from the disk; the worker tries again. Signing and sealing do not wait.",
        ("why",),
    ),
    "record.not_certified": LogEvent(
        "warning",
        "The service key has not certified the key of the record's checkpoints; sealing continues, and the certification is retried.",
        ("why",),
    ),
    "recovery.found": LogEvent(
        "warning",
        "The previous process left intents without an outcome, or unpublished outcomes.",
        ("unknown", "unreleased"),
    ),
    "recovery.unreadable": LogEvent(
        "error",
        "The disk does not give a place of the former process's write-ahead log: the worker claims nothing and tries it again. After ten minutes it is damage (`log.damaged`), and the worker continues behind it.",
        ("segment", "offset", "errno"),
    ),
    "recovery.failed": LogEvent("error", "Recovery of the write-ahead log failed and is retried.", ("why",)),
    "grants.uncounted": LogEvent(
        "error",
        "The write-ahead log could not be read whole at the start: grants from before it are refused on this host until they have ended.",
        ("why",),
    ),
    "recovery.published": LogEvent("info", "Outcomes of the previous process were published.", ("jobs",)),
    # Lanes and tokens
    "lane.ready": LogEvent("info", "A lane has logged in to its token.", ("token", "sessions", "loop")),
    "lane.ended": LogEvent(
        "warning",
        "A lane process exited unexpectedly and is restarted; `cause` says why, and what is to blame.",
        ("token", "reason", "cause", "exit_code"),
    ),
    "lane.ending": LogEvent(
        "error", "Reason for which a lane exits, logged by the lane itself.", ("token", "code", "why")
    ),
    "lane.unreachable": LogEvent("warning", "A lane could not be started or connected to.", ("token", "why")),
    "lane.wrote": LogEvent(
        "warning",
        "The process of a lane wrote this line to stderr: the vendor's module in it, or Python or the C library about its end. At most 50"
        " a minute are logged; `left_out`: lines since the last such event that are in no log.",
        ("token", "text", "left_out"),
    ),
    "lane.silent": LogEvent("error", "A lane did not respond and was killed.", ("token",)),
    "lane.invalid_answer": LogEvent(
        "error",
        "A lane sent a message that no lane of Sigmill sends, and was killed; another lane signs its digests.",
        ("token", "why"),
    ),
    "lane.config": LogEvent(
        "error", "A lane cannot read or use its configuration.", ("token", "why", "hint")
    ),
    "lane.stranger": LogEvent(
        "warning", "Refused a connection to a host-started lane: the peer uid is not `worker_uid`.", ("uid",)
    ),
    "lane.reloaded": LogEvent("info", "A lane has reloaded its configuration.", ("token", "epochs")),
    "lane.reload_refused": LogEvent(
        "error", "A lane refused a reload and keeps its old configuration.", ("token", "why")
    ),
    "lane.reload_overdue": LogEvent("error", "A lane did not reload in time and was killed.", ("token",)),
    "clock.stepped": LogEvent(
        "error",
        "A clock was set by `by_s` seconds (negative: back), of this host or of Redis (`clock`). Also after a suspended host wakes "
        "up.",
        ("clock", "by_s"),
    ),
    "clock.differs": LogEvent(
        "error",
        "This host's clock is `ahead_s` seconds ahead of Redis' (negative: behind): set the one that is wrong. Lanes tolerate "
        "60 s in the dates of envelopes.",
        ("ahead_s",),
    ),
    "clock.agrees": LogEvent("info", "This host's clock agrees with Redis' again."),
    "clock.far_back": LogEvent(
        "error",
        "The host's clock is more than a day before the latest time that a lane has seen, which is disregarded: check the "
        "clock. Envelopes that had expired by that time could be signed.",
        ("latest_s", "now_s"),
    ),
    "clock.set_ahead": LogEvent(
        "warning",
        "The host's clock is `ahead_s` seconds ahead of the time since boot: it was behind and was corrected, or is ahead now. "
        "Check it. If it returns to its old course within a day, the times that it showed meanwhile are forgotten.",
        ("ahead_s",),
    ),
    "clock.set_back": LogEvent(
        "error",
        "The host's clock is `back_s` seconds before the latest time that a lane has seen: it was ahead and was corrected, or "
        "was set back. Jobs whose envelopes had expired by that time are requeued until the clock has passed it.",
        ("back_s",),
    ),
    "lane.order_adopted": LogEvent("warning", "A lane applies new stop orders.", ("token", "orders")),
    "lane.order_refused": LogEvent(
        "warning",
        "A lane refused a stop order: it is invalid, or not signed by a configured operator.",
        ("token", "why"),
    ),
    "circuit.opened": LogEvent(
        "error",
        "The circuit breaker of a token opened: until the next retry (open), or until its PIN is corrected (refused).",
        ("token", "circuit"),
    ),
    "key.missing": LogEvent(
        "error",
        "A lane does not find a key in its token: it was created as another user, not loaded, or is not in this partition. "
        "Jobs of the key wait, unless another token has it.",
        ("token", "tenant", "key", "version"),
    ),
    "key.found": LogEvent(
        "info", "A key that was missing is found in its token.", ("token", "tenant", "key", "version")
    ),
    "token.not_selected": LogEvent(
        "error",
        "A lane reports another token than its table in the configuration selects, and was ended: a host-started lane has "
        "another configuration, or lies.",
        ("token", "found"),
    ),
    "token.shared": LogEvent(
        "error",
        "A lane found a token that another owner uses under another table; the lane was ended.",
        ("token", "other"),
    ),
    "token.drained": LogEvent("warning", "An operator drained a token on this host.", ("token",)),
    "token.resumed": LogEvent("warning", "An operator ended the drain of a token.", ("token",)),
    "token.drains_unreadable": LogEvent(
        "error",
        "The list of drained tokens cannot be read; logged once, and again when the reason changes.",
        ("why",),
    ),
    "pins.heard": LogEvent(
        "warning",
        "Another host reports that a token rejected its PIN; the PIN is not tried here.",
        ("token",),
    ),
    "pins.not_heard": LogEvent("warning", "Could not load other hosts' rejected PINs at start-up.", ("why",)),
    "pins.not_noted": LogEvent(
        "error", "Rejected PINs of other hosts cannot be stored; lanes try no PIN meanwhile.", ("why",)
    ),
    "pins.not_told": LogEvent(
        "error",
        "The record of a PIN that a token rejected cannot be read, so other hosts are not told of it; logged when the reason changes.",
        ("why",),
    ),
    "canary.failed": LogEvent(
        "error",
        "A canary failed: the key did not sign, or the signature is wrong.",
        ("token", "tenant", "key", "code", "why"),
    ),
    # The issuer of grants
    "issuer.started": LogEvent(
        "info", "The issuer's front has started, with these providers of tokens.", ("providers",)
    ),
    "issuer.lane_ready": LogEvent("info", "The issuer's lane is logged in.", ("pid",)),
    "issuer.lane_ended": LogEvent(
        "error",
        "The front has lost the issuer's lane, or cannot start or reach it; it tries again.",
        ("why",),
    ),
    "issuer.frame_wrong": LogEvent(
        "error",
        "The front sent the lane a message that no front of Sigmill sends; its connection was closed.",
        ("why",),
    ),
    "issuer.granted": LogEvent(
        "info",
        "A grant was signed. `evidence`: SHA-256 of the token or certificate that was shown; `grant`: the client's name in the"
        " log of jobs.",
        ("tenant", "provider", "subject", "evidence", "grant", "keys", "expires_ms"),
    ),
    "issuer.refused": LogEvent(
        "info",
        "A request for a grant was refused, as `outcome`.",
        ("provider", "outcome", "why"),
    ),
    "issuer.replayed": LogEvent(
        "warning",
        "A token was shown that another key had used before: it was stolen, or a build used it twice.",
        ("provider", "why"),
    ),
    "issuer.file_wrong": LogEvent(
        "error", "A file by which the issuer judges is wrong; its callers come back.", ("why", "hint")
    ),
    "issuer.request_failed": LogEvent(
        "error", "A request failed inside the front; the caller got 500. This is a defect.", ("why",)
    ),
    "issuer.keys_fetched": LogEvent(
        "info", "The public keys of a provider were fetched.", ("provider", "keys")
    ),
    "issuer.keys_failed": LogEvent(
        "warning",
        "The public keys of a provider could not be fetched; those in the file stay in use.",
        ("provider", "why"),
    ),
    # The relay
    "relay.started": LogEvent("info", "The relay takes requests.", ("port", "tenants", "metrics")),
    "relay.draining": LogEvent(
        "info",
        "The relay is being stopped: waiting clients are answered, and nothing new is taken.",
        ("waiting",),
    ),
    "relay.stopped": LogEvent("info", "The relay has ended."),
    "relay.close_failed": LogEvent(
        "error",
        "A defect: the queue of a tenant was not closed in order at the relay's end. The others were.",
        ("tenant",),
    ),
    "relay.shedding": LogEvent(
        "warning",
        "The relay has too much in hand (`cause`; `tenant`: of this one, or of others of its Redis) and tells clients to come later;"
        " logged once a minute.",
        ("cause", "tenant", "waiting"),
    ),
    "relay.redis_failed": LogEvent(
        "warning",
        "Redis cannot be asked for the results of a tenant's waiting clients; logged once, until it answers again.",
        ("tenant", "why"),
    ),
    "relay.redis_refuses": LogEvent(
        "error",
        "Redis refuses the tenant's user, or its certificate is refused: correct relay.toml.",
        ("why",),
    ),
    "relay.request_failed": LogEvent(
        "error", "A defect: a request ended in an unexpected error.", ("endpoint",)
    ),
    # HTTPS of relay and issuer
    "https.certificate_adopted": LogEvent("info", "A changed certificate is used for new connections."),
    "https.certificate_refused": LogEvent(
        "error",
        "Changed certificate files cannot be used; the old certificate stays until they change again.",
        ("why",),
    ),
    # Configuration and orders
    "config.adopted": LogEvent(
        "info", "A reload succeeded: what changed, and what takes effect only after a restart.", ("report",)
    ),
    "config.refused": LogEvent(
        "error",
        "A reload was refused: the files are invalid, the old configuration stays in force.",
        ("why", "remedy"),
    ),
    "config.behind": LogEvent(
        "warning",
        "Another host has a newer file of a tenant (epoch `published`) than this worker: for up to ten minutes it returns"
        " jobs that its older file refuses. Once for each newer epoch.",
        ("tenant", "epoch", "published"),
    ),
    "config.not_reported": LogEvent(
        "error", "The result of a reload could not be written for the command that requested it.", ("why",)
    ),
    "config.not_remembered": LogEvent(
        "error",
        "The adopted copy of a file could not be written. It is in force and tried again every five seconds; until then"
        " a restart knows its epoch at best.",
        ("file", "why"),
    ),
    "config.remembered": LogEvent("info", "All adopted copies are on disk again."),
    "order.adopted": LogEvent(
        "warning",
        "A stop order is in force on this worker.",
        ("order", "operator", "scope", "tenant", "target", "reason"),
    ),
    "order.refused": LogEvent(
        "warning", "A published stop order is invalid, or not signed by a configured operator.", ("why",)
    ),
    "order.unreadable": LogEvent("error", "A stop order on this host's disk is unreadable.", ("file", "why")),
    "order.not_kept": LogEvent(
        "error",
        "A stop order could not be written to disk; a restart without Redis would lose it. It is in force and tried again;"
        " logged when the reason changes.",
        ("order", "why"),
    ),
}
"""In the order of the reference page."""
