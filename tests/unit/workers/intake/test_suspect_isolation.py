"""Tenants that wait until a job of theirs is done alone."""

from __future__ import annotations

from workers.intake.suspect_isolation import SuspectIsolation


def test_a_tenant_waits_until_the_last_job_in_work_is_settled() -> None:
    """And no longer."""
    isolation = SuspectIsolation()
    isolation.began("acme")
    isolation.began("acme")
    isolation.wait("acme")
    isolation.settled("acme")
    assert isolation.is_waiting("acme")
    assert not isolation.nothing_in_work("acme")
    isolation.settled("acme")
    assert not isolation.is_waiting("acme")
    assert isolation.nothing_in_work("acme")


def test_other_tenants_do_not_wait() -> None:
    """Whoever plants suspects under his own keys holds up himself."""
    isolation = SuspectIsolation()
    for tenant in ("acme", "globex"):
        isolation.began(tenant)
    isolation.wait("acme")
    assert not isolation.is_waiting("globex")


def test_nobody_waits_for_nothing() -> None:
    """All was settled while the answer was on its way: nobody would wake the tenant again."""
    isolation = SuspectIsolation()
    isolation.wait("acme")
    assert not isolation.is_waiting("acme")
