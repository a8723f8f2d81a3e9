"""Refresh of providers' keys: at most one fetch in ten seconds, however often it is asked for; a provider that hangs delays no other."""

from __future__ import annotations

import itertools
import threading
from typing import TYPE_CHECKING, Never

import pytest

from tests.support.issuer.provider import TokenProvider
from tests.support.issuer.site import TOKEN_AUDIENCE, IssuerSite
from workers.issuer import refreshing
from workers.issuer.fetching import FetchFailed, KeySource
from workers.issuer.refreshing import KeyRefresher

if TYPE_CHECKING:
    from pathlib import Path

CI = TokenProvider("https://127.0.0.1:1", TOKEN_AUDIENCE)
GITLAB = '[providers.gitlab]\nissuer_url = "https://gitlab"\n'
HANG_S = 20.0
"""Reached by a hang only."""


class HangingNeighbour:
    """Provider GitHub, which hangs until the keys of GitLab were fetched twice: at the start, and when they are asked for.

    It is the listener, too, which has requests for both by turns.
    """

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.once, self.stop = threading.Event(), threading.Event()
        self._wanted = itertools.cycle(("github", "gitlab"))

    def fetch(self, source: KeySource, _now_s: float) -> Never:
        self.asked.append(source.issuer_url)
        if self.asked.count(CI.issuer_url) == 2:
            self.stop.set()
        elif source.issuer_url == CI.issuer_url:
            assert self.stop.wait(HANG_S), "GitLab waits for GitHub"
        elif self.asked.count(source.issuer_url) == 1:
            self.once.set()
        else:
            self.stop.set()
        raise FetchFailed("it is away")

    def wait(self, timeout_s: float) -> str | None:
        return next(self._wanted) if self.once.wait(timeout_s) else None


def two_providers(folder: Path) -> KeyRefresher:
    site = IssuerSite(folder, CI)
    site.write(tables=GITLAB)
    return KeyRefresher(site.configuration())


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


def test_a_provider_that_hangs_delays_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the first keys of another one, nor those that are asked for; and it is asked once only."""
    neighbour = HangingNeighbour()
    monkeypatch.setattr(refreshing, "fetch_keys", neighbour.fetch)
    monkeypatch.setattr(refreshing, "REFRESH_S", 0.0)
    two_providers(tmp_path).watch(neighbour, neighbour.stop)  # type: ignore[arg-type]
    assert sorted(neighbour.asked) == [CI.issuer_url, "https://gitlab", "https://gitlab"]


def test_all_are_fetched_at_the_same_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the command that fetches once, too."""
    together = threading.Barrier(2)

    def fetch(*_: object) -> Never:
        together.wait(HANG_S)
        raise FetchFailed("it is away")

    monkeypatch.setattr(refreshing, "fetch_keys", fetch)
    assert two_providers(tmp_path).refresh_all() == {"github": "it is away", "gitlab": "it is away"}


def test_a_defect_in_a_fetch_ends_the_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise the provider would never be fetched again; systemd starts it once more."""

    def fetch(*_: object) -> Never:
        raise ZeroDivisionError

    monkeypatch.setattr(refreshing, "fetch_keys", fetch)
    with pytest.raises(ZeroDivisionError):
        two_providers(tmp_path).watch(None, threading.Event())
