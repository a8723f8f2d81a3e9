"""Checks of tokens: expected keys, obstacles to a login, and the findings for each report."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest
from msgspec.structs import replace

from tests.support.fakes.config_files import Site
from workers.config.loading import load_configuration
from workers.config.settings import PinLogin, SelectSettings, TokenSettings
from workers.doctor.findings import Finding, State
from workers.doctor.tokens import ExpectedKeys, check_host_lane, check_token, expected_keys, login_obstacle
from workers.token_admin.messages import Found, TokenFacts, TokenReport

TOKEN = TokenSettings(module="/m.so", select=SelectSettings(label="a"), login=PinLogin(pin_file="/pins/a"))
FACTS = TokenFacts(
    module="m", slot=0, label="a", serial="1", manufacturer="m", model="m", firmware="1.0",
    most_sessions=0, threads=True, pin_warnings=(),
)  # fmt: skip


def test_active_versions_are_expected_in_their_tokens(tmp_path: Path) -> None:
    """The service's key is expected in its token; a retired version is not expected."""
    site = Site(tmp_path)
    wanted = expected_keys(load_configuration(site.write().config))
    assert {name: [key for key, _ in each.keys] for name, each in wanted.items()} == {
        "service": ["the service key"],
        "acme": ["release/1"],
        "globex": [],
    }
    site.tenants["acme"] = site.tenants["acme"].replace('state = "active"', 'state = "retired"')
    assert expected_keys(load_configuration(site.write().config))["acme"].keys == []


def test_no_login_where_the_pin_or_its_record_is_anothers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Obstacles are a keypad, a unit's credential, and another user's state directory, but no missing one."""
    assert login_obstacle(TOKEN, tmp_path) == ""
    assert login_obstacle(TOKEN, tmp_path / "none") == ""
    assert "keypad" in login_obstacle(replace(TOKEN, login="protected-path"), tmp_path)
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    of_unit = replace(TOKEN, login=PinLogin(pin_file="$CREDENTIALS_DIRECTORY/a"))
    assert "credential" in login_obstacle(of_unit, tmp_path)
    owner = tmp_path.stat().st_uid
    monkeypatch.setattr(os, "geteuid", lambda: owner + 1)
    assert f"uid {owner}," in login_obstacle(TOKEN, tmp_path)


def test_a_host_started_lane_is_checked_by_its_socket(tmp_path: Path) -> None:
    """A missing socket fails; a listening one is a warning that its keys are not checked."""
    place = tmp_path / "lane.sock"
    assert check_host_lane("acme", str(place)).state is State.FAIL
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(place))
        assert check_host_lane("acme", str(place)).state is State.WARNING


def of_token(
    report: TokenReport, settings: TokenSettings = TOKEN, skip_reason: str = ""
) -> dict[str, Finding]:
    wanted = ExpectedKeys()
    wanted.keys = [("release/1", b"spki")]
    return {finding.check: finding for finding in check_token("a", settings, wanted, report, skip_reason)}


def test_a_token_is_checked_against_its_configuration() -> None:
    """A complete report passes; missing threads warn; a last PIN try and a missing key fail."""
    fine = TokenReport(facts=FACTS, unable=(), keys=(Found(),))
    assert {finding.state for finding in of_token(fine).values()} == {State.OK}
    single = replace(fine, facts=replace(FACTS, threads=False))
    assert of_token(single)["token.module"].state is State.WARNING
    low = replace(fine, facts=replace(FACTS, pin_warnings=("USER_PIN_FINAL_TRY",)))
    assert of_token(low)["token.pin"].state is State.FAIL
    lost = replace(fine, keys=(Found(problem="no such key", code="token.unavailable"),))
    assert of_token(lost)["token.keys"].state is State.FAIL


@pytest.mark.parametrize(
    "sessions, lanes, most, remedy",
    [
        (3, 1, 4, ""),
        (4, 1, 4, "sessions = 3"),
        (4, 2, 6, ""),
        (4, 2, 5, "sessions = 2"),
        (3, 2, 5, "sessions = 2"),
        (2, 2, 3, "sessions = 2 and lanes = 1"),
        (4, 4, 8, ""),
        (5, 4, 11, "sessions = 4"),
    ],
)
def test_each_lane_of_a_token_needs_a_session_for_its_login(
    sessions: int, lanes: int, most: int, remedy: str
) -> None:
    """The share of each lane is rounded up, plus one for the login; the fix fits the token."""
    report = TokenReport(facts=replace(FACTS, most_sessions=most), unable=(), keys=(Found(),))
    finding = of_token(report, replace(TOKEN, sessions=sessions, lanes=lanes))["token.sessions"]
    assert finding.fix == (f"{remedy}   # in [tokens.a]" if remedy else "")


def test_a_failed_login_says_nothing_about_keys() -> None:
    """A rejected PIN, a failed login and a skipped login each have their own finding."""
    refused = TokenReport(facts=FACTS, unable=(), problem="CKR_PIN_INCORRECT", pin_refused=True)
    assert "token.keys" not in of_token(refused)
    assert of_token(refused)["token.pin"].fix.endswith("sigmill tokens resume a")
    failed = TokenReport(facts=FACTS, unable=(), problem="CKR_DEVICE_ERROR")
    assert of_token(failed)["token.login"].state is State.FAIL
    assert "token.keys" not in of_token(failed)
    assert of_token(TokenReport(facts=FACTS, unable=()), skip_reason="x")["token.keys"].state is State.SKIPPED
