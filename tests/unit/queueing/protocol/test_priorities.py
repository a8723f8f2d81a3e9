"""Priorities of a tenant's own jobs, as places in its queue."""

from __future__ import annotations

from msgspec.structs import fields

from queueing.client.config import ClientConfig
from queueing.protocol.priorities import Priority, head_start_ms

HOUR_MS = 3_600_000


def test_jobs_of_one_moment_are_ordered_by_their_priority() -> None:
    """A release comes before a normal job, and that before a nightly one."""
    assert sorted(Priority, key=head_start_ms, reverse=True) == [
        Priority.RELEASE,
        Priority.NORMAL,
        Priority.NIGHTLY,
    ]


def test_a_nightly_job_is_signed_before_it_expires_however_many_releases_follow() -> None:
    """Releases of the next three hours are before it; an envelope lives longer than that by default."""
    assert head_start_ms(Priority.RELEASE) - head_start_ms(Priority.NIGHTLY) == 3 * HOUR_MS
    lives_s = next(each.default for each in fields(ClientConfig) if each.name == "envelope_ttl_s")
    assert lives_s * 1000 > 3 * HOUR_MS
