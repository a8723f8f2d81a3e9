"""Checks of expiries: what expires soon fails, and revoked clients are left out."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.fakes.config_files import Site
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
