"""Judging the host: limits, state directory, dates, and tokens that are not ours to log in to."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest
from msgspec.structs import replace

from tests.support.config_files import Site
from workers.config.loading import load_configuration
from workers.config.settings import PinLogin, SelectSettings, TokenSettings
from workers.doctor.expiries import SOON_S, judge_date, look_at_dates
from workers.doctor.findings import Finding, State, good, mend, note, unasked, worst
from workers.doctor.host import judge_limits, judge_state_dir
from workers.doctor.tokens import ExpectedKeys, judge_token, look_at_socket, wanted_of, why_no_login
from workers.token_admin.messages import Found, TokenFacts, TokenReport

LIMITS = """\
Limit                     Soft Limit           Hard Limit           Units
Max core file size        {core:<20} unlimited            bytes
Max open files            {files:<20} 1048576              files
"""
TOKEN = TokenSettings(module="/m.so", select=SelectSettings(label="a"), login=PinLogin(pin_file="/pins/a"))
FACTS = TokenFacts(
    module="m", slot=0, label="a", serial="1", manufacturer="m", model="m", firmware="1.0",
    most_sessions=0, threads=True, pin_warnings=(),
)  # fmt: skip


def limits(files: int | str, core: int | str, *, tokens: int = 4, is_worker: bool = True) -> dict[str, State]:
    text = LIMITS.format(files=files, core=core)
    return {f.check: f.state for f in judge_limits("worker 1", text, tokens=tokens, is_worker=is_worker)}


def test_what_is_worst_decides() -> None:
    """Something to mend before something that nobody could say; a note is nothing."""
    assert worst([]) is State.GOOD
    assert worst([good("a", "b", "c"), note("a", "b", "c")]) is State.GOOD
    assert worst([unasked("a", "b", "c"), good("a", "b", "c")]) is State.UNASKED
    assert worst([unasked("a", "b", "c"), mend("a", "b", "c", "d")]) is State.MEND


def test_descriptors_are_counted_by_tokens() -> None:
    """A thousand are enough for a few, and not for a thousand."""
    assert limits(1024, 0) == {"limits.nofile": State.GOOD, "limits.core": State.GOOD}
    assert limits(1024, 0, tokens=1000)["limits.nofile"] is State.MEND
    assert limits("unlimited", 0, tokens=1000)["limits.nofile"] is State.GOOD


def test_core_files_of_a_worker_are_to_be_mended() -> None:
    """Those of a shell are its own matter."""
    assert limits(1024, "unlimited")["limits.core"] is State.MEND
    assert "limits.core" not in limits(1024, "unlimited", is_worker=False)


def test_a_state_directory_that_is_not_there_yet_is_made(tmp_path: Path) -> None:
    """One that is there and writable is good."""
    assert judge_state_dir(tmp_path / "state").state is State.NOTE
    assert judge_state_dir(tmp_path).state in {State.GOOD, State.MEND}  # by what the disk has left


@pytest.mark.parametrize(
    "left_s, expected", [(-1, State.MEND), (SOON_S - 1, State.MEND), (SOON_S + 1, State.GOOD)]
)
def test_what_ends_soon_is_named(left_s: float, expected: State) -> None:
    """A month before, and after."""
    assert judge_date("certificate.expiry", "acme", 1e9 + left_s, 1e9, "issue one").state is expected


def test_clients_that_may_not_ask_any_more_are_passed_over(tmp_path: Path) -> None:
    """A revoked one's end is nobody's trouble."""
    site = Site(tmp_path)
    found = look_at_dates(load_configuration(site.write().config), 1.8e9)
    assert [finding.check for finding in found] == ["client.expiry"]
    site.tenants["acme"] = site.tenants["acme"].replace("expires =", 'state = "revoked"\nexpires =')
    assert look_at_dates(load_configuration(site.write().config), 1.8e9) == []


def test_versions_that_may_sign_are_looked_for_in_their_tokens(tmp_path: Path) -> None:
    """And the service's key in its own; a retired version need not be there any more."""
    site = Site(tmp_path)
    wanted = wanted_of(load_configuration(site.write().config))
    assert {name: [key for key, _ in each.keys] for name, each in wanted.items()} == {
        "service": ["the service key"],
        "acme": ["release/1"],
        "globex": [],
    }
    site.tenants["acme"] = site.tenants["acme"].replace('state = "active"', 'state = "retired"')
    assert wanted_of(load_configuration(site.write().config))["acme"].keys == []


def test_nobody_logs_in_in_somebodys_name(tmp_path: Path) -> None:
    """No keypad, no credential of another unit, no PIN whose refusal the worker could not read."""
    assert why_no_login(TOKEN, tmp_path) == ""
    assert why_no_login(TOKEN, tmp_path / "none") == ""
    assert "keypad" in why_no_login(replace(TOKEN, login="protected-path"), tmp_path)
    stat = tmp_path.stat()
    if os.geteuid() == 0:
        os.chown(tmp_path, 65534, stat.st_gid)
        assert "uid 65534" in why_no_login(TOKEN, tmp_path)


def test_a_lane_of_the_host_is_asked_for_nothing(tmp_path: Path) -> None:
    """Whether its socket is there is all that can be seen."""
    place = tmp_path / "lane.sock"
    assert look_at_socket("acme", str(place)).state is State.MEND
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(place))
        assert look_at_socket("acme", str(place)).state is State.NOTE


def of_token(exam: TokenReport, settings: TokenSettings = TOKEN, why_not: str = "") -> dict[str, Finding]:
    wanted = ExpectedKeys()
    wanted.keys = [("release/1", b"spki")]
    return {finding.check: finding for finding in judge_token("a", settings, wanted, exam, why_not)}


def test_a_token_is_judged_by_what_is_asked_of_it() -> None:
    """Sessions, threads, mechanisms, PIN and keys."""
    fine = TokenReport(facts=FACTS, unable=(), keys=(Found(),))
    assert {finding.state for finding in of_token(fine).values()} == {State.GOOD}
    single = replace(fine, facts=replace(FACTS, threads=False))
    assert of_token(single)["token.module"].state is State.NOTE
    low = replace(fine, facts=replace(FACTS, pin_warnings=("USER_PIN_FINAL_TRY",)))
    assert of_token(low)["token.pin"].state is State.MEND
    lost = replace(fine, keys=(Found(problem="no such key", code="token.unavailable"),))
    assert of_token(lost)["token.keys"].state is State.MEND


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
    """Beside its part of the sessions, which is rounded up; what is advised fits."""
    exam = TokenReport(facts=replace(FACTS, most_sessions=most), unable=(), keys=(Found(),))
    finding = of_token(exam, replace(TOKEN, sessions=sessions, lanes=lanes))["token.sessions"]
    assert finding.mend == (f"{remedy}   # in [tokens.a]" if remedy else "")


def test_a_login_that_failed_is_no_key_that_is_lost() -> None:
    """Nothing is said of keys that nobody could look for."""
    refused = TokenReport(facts=FACTS, unable=(), problem="CKR_PIN_INCORRECT", pin_refused=True)
    assert "token.keys" not in of_token(refused)
    assert of_token(refused)["token.pin"].mend.endswith("sigmill tokens resume a")
    failed = TokenReport(facts=FACTS, unable=(), problem="CKR_DEVICE_ERROR")
    assert of_token(failed)["token.login"].state is State.MEND
    assert of_token(TokenReport(facts=FACTS, unable=()), why_not="x")["token.keys"].state is State.UNASKED
