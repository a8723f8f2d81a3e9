"""Checks of expiries: what expires soon fails, and revoked clients are left out."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.fakes.config_files import Site
from tests.support.fakes.grants import issuer_text
from workers.config.loading import load_configuration
from workers.doctor.expiries import SOON_S, check_expiries, check_expiry
from workers.doctor.findings import State


@pytest.mark.parametrize(
    "left_s, expected", [(-1, State.FAIL), (SOON_S - 1, State.FAIL), (SOON_S + 1, State.OK)]
)
def test_an_expiry_within_thirty_days_fails(left_s: float, expected: State) -> None:
    """Expired and soon expiring fail; one second beyond the limit passes."""
    assert check_expiry("certificate.expiry", "acme", 1e9 + left_s, 1e9, "issue one").state is expected


def test_revoked_clients_are_not_checked(tmp_path: Path) -> None:
    """An active client has a finding; the same client revoked has none."""
    site = Site(tmp_path)
    found = check_expiries(load_configuration(site.write().config), 1.8e9)
    assert [finding.check for finding in found] == ["client.expiry"]
    site.tenants["acme"] = site.tenants["acme"].replace("expires =", 'state = "revoked"\nexpires =')
    assert check_expiries(load_configuration(site.write().config), 1.8e9) == []


@pytest.mark.parametrize("state, count", [("active", 1), ("next", 1), ("verify-only", 0), ("revoked", 0)])
def test_a_version_that_waits_is_checked_like_an_active_one(tmp_path: Path, state: str, count: int) -> None:
    """The second HSM's version waits for the day when it is needed; its end would be found only then."""
    site = Site(tmp_path)
    site.tenants["acme"] = site.tenants["acme"].replace('state = "active"', f'state = "{state}"')
    site.tenants["acme"] += "expires = 2050-01-01T00:00:00Z\n"
    found = check_expiries(load_configuration(site.write().config), 1.8e9)
    assert sum(finding.check == "key.expiry" for finding in found) == count


def test_an_issuer_expires_as_a_client_does(tmp_path: Path) -> None:
    """All its builds would stop on that day; a revoked one gives no grants anyway."""
    site = Site(tmp_path)
    before = site.tenants["acme"]
    site.tenants["acme"] = before + issuer_text()
    found = check_expiries(load_configuration(site.write().config), 1.8e9)
    assert [finding.check for finding in found] == ["client.expiry", "issuer.expiry"]
    site.tenants["acme"] = before + issuer_text(more='state = "revoked"')
    assert len(check_expiries(load_configuration(site.write().config), 1.8e9)) == 1
