"""Refresh of providers' keys: at most one fetch in ten seconds, however often it is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.support.issuer.provider import TokenProvider
from tests.support.issuer.site import TOKEN_AUDIENCE, IssuerSite
from workers.issuer.refreshing import KeyRefresher

if TYPE_CHECKING:
    from pathlib import Path

CI = TokenProvider("https://127.0.0.1:1", TOKEN_AUDIENCE)


def test_a_provider_that_is_asked_for_is_due_once_in_ten_seconds(tmp_path: Path) -> None:
    """Requests within ten seconds of the last try are dropped, and so are those for a name that there is not."""
    site = IssuerSite(tmp_path, CI)
    site.write()
    refresher = KeyRefresher(site.configuration())
    assert refresher.asked("github", 100.0)
    refresher._tried_s["github"] = 100.0
    assert not refresher.asked("github", 109.9)
    assert refresher.asked("github", 110.0)
    assert not refresher.asked("gitlab", 200.0)
    assert not refresher.asked("\ufffd" * 60, 200.0)


def test_a_provider_that_is_away_leaves_its_file(tmp_path: Path) -> None:
    """Old keys stay, and the reason is told."""
    site = IssuerSite(tmp_path, CI)
    site.write()
    site.write_keys()
    file = tmp_path / "keys" / "github.json"
    before = file.read_bytes()
    failed = KeyRefresher(site.configuration()).refresh_all()
    assert "cannot be reached" in failed["github"]
    assert file.read_bytes() == before
