"""Every event that a process of ours logs, by name: what it means, and which fields it has.

``docs/reference/events.md`` is written from here (``make generate``). A test reads the code: what it logs stands here,
at this level and with these fields, and what stands here is logged.
"""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

Level = Literal["debug", "info", "warning", "error"]


class LogEvent(NamedTuple):
    """``fields`` beside time, level, logger and event; not each line has all of them."""

    level: Level
    meaning: str
    fields: tuple[str, ...] = ()


NOTE: Final = "note"
"""What a library, or our own client code in a process of ours, says in a sentence: it stands in ``message``."""

EVENTS: Final[dict[str, LogEvent]] = {
    NOTE: LogEvent("warning", "A library says something, in a sentence.", ("message",)),
    # The process
    "service.started": LogEvent("info", "The worker claims from now on, as `owner`.", ("owner", "tenants")),
    "service.stopped": LogEvent("info", "The worker has ended in order.", ("owner",)),
    "service.draining": LogEvent("info", "SIGTERM: nothing more is claimed.", ("in_work",)),
    "service.drain_deadline": LogEvent(
        "warning", "Jobs were not finished in time; they go back to the queue, as perhaps signed.", ("left",)
    ),
    "service.ended_by_deadline": LogEvent(
        "error", "Something hung at the end, and the process was ended at `worker.drain_s`."
    ),
    "service.not_marked": LogEvent("error", "`sigmill tenants reload` will not find this worker.", ("why",)),
    "arq.interrupted": LogEvent(
        "warning", "Redis broke arq's own loop, which begins anew.", ("why", "error")
    ),
    "arq.close_failed": LogEvent("warning", "Redis was away when arq's worker was closed.", ("why",)),
    # Redis and the queue
    "redis.failed": LogEvent(
        "warning",
        "A round trip failed; it is tried again. At debug where that is every second.",
        ("operation", "why"),
    ),
    "claim.failed": LogEvent(
        "warning", "Redis does not answer claims; said once per outage.", ("why", "error")
    ),
    "claim.refused": LogEvent(
        "error", "One tenant's keys cannot be claimed from; others go on.", ("tenant", "why")
    ),
    "keys.replaced": LogEvent(
        "warning",
        "Somebody had put foreign values under this tenant's keys; they were removed.",
        ("tenant", "keys"),
    ),
    "lease.lost": LogEvent(
        "warning", "Jobs of ours are another worker's now, or nobody's.", ("jobs", "job_ids")
    ),
    "lease.loop_hangs": LogEvent(
        "error",
        "The loop does not turn; leases are not extended any more, so that others take over.",
        ("unseen_s",),
    ),
    "directory.failed": LogEvent("warning", "A tenant's key directory was not published.", ("tenant", "why")),
    # Jobs
    "jobs.claimed": LogEvent("info", "A claim brought these jobs (`[logging] jobs`).", ("tenant", "jobs")),
    "jobs.released": LogEvent(
        "info",
        "A round was published (`[logging] jobs`); `outcome` is committed, repeated or fenced.",
        ("tenant", "outcome", "jobs"),
    ),
    "jobs.returned": LogEvent(
        "info", "These jobs went back to the queue unsigned (`[logging] jobs`).", ("tenant", "reason", "jobs")
    ),
    "commit.fenced": LogEvent(
        "warning", "A result was not published: another worker had the job by then.", ("tenant", "job_id")
    ),
    "job.dead": LogEvent(
        "error",
        "A job was set aside: `sigmill deadletter show`.",
        ("tenant", "job_id", "lane_ends", "crashes"),
    ),
    # The write-ahead log
    "log.failed": LogEvent("error", "It cannot be written: nothing is signed or released.", ("why", "errno")),
    "log.broke": LogEvent("error", "A mistake of ours in writing it; with a traceback.", ()),
    "log.notes_lost": LogEvent("warning", "Records that nobody waited for were not written.", ("count",)),
    "log.not_closed": LogEvent("warning", "It was not closed in time; nothing durable is lost."),
    "log.removed": LogEvent("info", "Segments whose time is over were removed.", ("segments",)),
    "log.not_tidied": LogEvent("warning", "Segments whose time is over cannot be removed.", ("why",)),
    "recovery.found": LogEvent(
        "warning",
        "The process before left intents without outcome, or outcomes to publish.",
        ("unknown", "unreleased"),
    ),
    "recovery.failed": LogEvent("error", "The log cannot be read, or closed; it is tried again.", ("why",)),
    "recovery.published": LogEvent("info", "Outcomes of the process before were published.", ("jobs",)),
    # Lanes and tokens
    "lane.ready": LogEvent("info", "A lane has logged in.", ("token", "sessions")),
    "lane.ended": LogEvent(
        "warning",
        "A lane ended without being asked; it is replaced.",
        ("token", "reason", "cause", "exit_code"),
    ),
    "lane.ending": LogEvent("error", "A lane's own last word: why it ends.", ("token", "code", "why")),
    "lane.unreachable": LogEvent("warning", "A lane cannot be started, or connected to.", ("token", "why")),
    "lane.silent": LogEvent("error", "A lane did not answer and is killed.", ("token",)),
    "lane.config": LogEvent("error", "A lane cannot use its files.", ("token", "why", "hint")),
    "lane.stranger": LogEvent("warning", "A process of another user asked a host's lane.", ("uid",)),
    "lane.reloaded": LogEvent("info", "A lane has read its files again.", ("token", "epochs")),
    "lane.reload_refused": LogEvent("error", "A lane keeps its old files.", ("token", "why")),
    "lane.reload_overdue": LogEvent(
        "error", "A lane did not read its files in time and is killed.", ("token",)
    ),
    "lane.order_adopted": LogEvent("warning", "A lane obeys stop orders.", ("token", "orders")),
    "lane.order_refused": LogEvent("warning", "A lane does not believe a stop order.", ("token", "why")),
    "circuit.opened": LogEvent(
        "error",
        "A token is left alone: for a while (open), or until its PIN is seen to (refused).",
        ("token", "circuit"),
    ),
    "token.drained": LogEvent(
        "warning", "An operator had this host take no more work for a token.", ("token",)
    ),
    "token.resumed": LogEvent("warning", "A drain was ended.", ("token",)),
    "token.drains_unreadable": LogEvent("error", "Which tokens are drained cannot be read.", ("why",)),
    "pins.heard": LogEvent(
        "warning", "Another host says that a token refused its PIN; it is not tried here.", ("token",)
    ),
    "pins.not_heard": LogEvent(
        "warning", "Refused PINs of other hosts are not known at the start.", ("why",)
    ),
    "pins.not_noted": LogEvent(
        "error", "What other hosts say of refused PINs cannot be kept; lanes try none.", ("why",)
    ),
    "canary.failed": LogEvent(
        "error", "A key did not sign its canary, or wrongly.", ("token", "tenant", "key", "code", "why")
    ),
    # Configuration and orders
    "config.adopted": LogEvent("info", "A reload: what changed, and what waits for a restart.", ("report",)),
    "config.refused": LogEvent(
        "error", "A reload: the files are wrong, the old ones stay.", ("why", "remedy")
    ),
    "config.not_reported": LogEvent(
        "error", "The command that asked for a reload is not answered.", ("why",)
    ),
    "config.not_remembered": LogEvent(
        "error", "An older file would not be noticed after a restart.", ("file", "why")
    ),
    "order.adopted": LogEvent(
        "warning",
        "A stop order is in force on this worker.",
        ("order", "operator", "scope", "tenant", "target", "reason"),
    ),
    "order.refused": LogEvent(
        "warning", "Somebody published a stop order that no operator of ours signed.", ("why",)
    ),
    "order.unreadable": LogEvent(
        "error", "A stop order on this host's disk cannot be read.", ("file", "why")
    ),
    "order.not_kept": LogEvent(
        "error", "A stop order would be forgotten at a restart without Redis.", ("order", "why")
    ),
}
"""In the order of the page."""
