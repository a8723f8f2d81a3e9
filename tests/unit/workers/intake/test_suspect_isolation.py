"""Isolation of suspect jobs: their tenants wait until they have no other job here."""

from __future__ import annotations

from workers.intake.suspect_isolation import SuspectIsolation


def test_a_tenant_waits_until_its_last_job_is_settled() -> None:
    """Then a suspect of the tenant may be claimed."""
    isolation = SuspectIsolation()
    isolation.began("acme")
    isolation.began("acme")
    isolation.wait("acme")
    isolation.settled("acme")
    assert isolation.is_waiting("acme")
    assert not isolation.is_idle("acme")
    isolation.settled("acme")
    assert not isolation.is_waiting("acme")
    assert isolation.is_idle("acme")


def test_other_tenants_do_not_wait() -> None:
    """A tenant that plants suspects delays only its own jobs."""
    isolation = SuspectIsolation()
    for tenant in ("acme", "globex"):
        isolation.began(tenant)
    isolation.wait("acme")
    assert not isolation.is_waiting("globex")


def test_a_tenant_without_a_job_does_not_wait() -> None:
    """Its jobs were settled before the reply came: no job is left whose end would end the wait."""
    isolation = SuspectIsolation()
    isolation.wait("acme")
    assert not isolation.is_waiting("acme")
