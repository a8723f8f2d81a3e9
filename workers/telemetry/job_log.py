"""Log lines of claimed, released and returned jobs, where ``[logging] jobs`` is on: one per claim and per round.

A line per job would cost a third of the job itself, a line per group a thirtieth (ADR 0034). Each line lists the job
ids. Failures have lines of their own, always.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from typing import TYPE_CHECKING, Final

from workers.telemetry.json_logs import JOBS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from queueing.broker.claims import ClaimedJob, CommitStatus
    from workers.active_job import ActiveJob
    from workers.journal.records import OutcomeRecord

log = logging.getLogger(JOBS)

MOST_NAME: Final = 256
"""Bytes of a job id in a log line; ids of ours have far fewer."""


def name_of(job_id: bytes) -> str:
    """Job id as text, cut to ``MOST_NAME``; ids of stock producers may have any bytes, up to 16 KiB."""
    return job_id[:MOST_NAME].decode("ascii", "replace")


def claimed(tenant: str, jobs: Sequence[ClaimedJob]) -> None:
    """Log the jobs of a claim."""
    if jobs and log.isEnabledFor(logging.INFO):
        log.info("jobs.claimed", extra={"tenant": tenant, "jobs": [name_of(job.job_id) for job in jobs]})


def released(outcomes: Iterable[OutcomeRecord], committed: Iterable[CommitStatus]) -> None:
    """Log the results of a round; ``outcome``: committed, repeated or fenced."""
    if not log.isEnabledFor(logging.INFO):
        return
    groups: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
    for outcome, how in zip(outcomes, committed, strict=True):
        groups[outcome.tenant, how.name.lower()].append(name_of(outcome.job_id))
    for (tenant, how_name), jobs in groups.items():
        log.info("jobs.released", extra={"tenant": tenant, "outcome": how_name, "jobs": jobs})


def returned(jobs: Iterable[tuple[ActiveJob, str]]) -> None:
    """Log jobs that were returned to the queue unsigned, each with its reason."""
    if not log.isEnabledFor(logging.INFO):
        return
    groups: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
    for job, reason in jobs:
        groups[job.claimed.tenant, reason].append(name_of(job.claimed.job_id))
    for (tenant, reason), names in groups.items():
        log.info("jobs.returned", extra={"tenant": tenant, "reason": reason, "jobs": names})
