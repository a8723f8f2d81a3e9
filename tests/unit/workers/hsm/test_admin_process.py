"""Admin process: logins to no token of another owner, under the lock of a lane, and failures that become answers."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any, cast

import pkcs11
import pytest
from msgspec.structs import replace

from queueing.config.secrets import Secret
from queueing.errors import ConfigError, TokenUnavailable
from tests.support.file_locks import is_locked, login_lock
from workers.hsm import admin_process
from workers.hsm.admin_process import _refuse_token_of_others
from workers.hsm.faults import Action, HsmFailure
from workers.journal.event_records import LoginRecord
from workers.journal.event_spool import EventSpool
from workers.state.refused_pins import ReservedEntry
from workers.state.token_claims import TokenProperties, claim_token
from workers.token_admin.login_records import login_of_this_user, user_name
from workers.token_admin.messages import (
    Failed,
    FindKeys,
    InspectToken,
    OtherToken,
    RecordedLogin,
    Request,
    ShowToken,
    TokenAddress,
    TokenFacts,
    TokenReport,
)

FOUND = TokenProperties("maker", "model", "1234", "card", 7)


def address(state_dir: Path, *others: OtherToken, owner: str = "acme") -> TokenAddress:
    return TokenAddress(
        name="acme",
        module="/module.so",
        slot=7,
        label=None,
        serial=None,
        pin_file=None,
        protected_path=False,
        refused_pins_of=str(state_dir),
        owner=owner,
        others=others,
    )


@pytest.fixture
def with_pin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TokenAddress:
    """A token with a PIN file."""
    monkeypatch.setattr(admin_process, "properties_of", lambda _: FOUND)
    pin = tmp_path / "pin"
    pin.touch(mode=0o600)
    pin.write_text("1234\n")
    return replace(address(tmp_path), pin_file=str(pin))


def test_a_command_logs_in_under_the_lock_of_the_tokens_lanes(
    with_pin: TokenAddress, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lane that starts meanwhile waits until a refused PIN is on record, and does not try it again."""

    def refuse(*_: Any, **__: Any) -> None:
        assert is_locked(login_lock(tmp_path))
        raise HsmFailure("CKR_PIN_INCORRECT", 0xA0, Action.OPEN_CIRCUIT, pin_failure=True)

    def remember(_: ReservedEntry, pin: Secret) -> None:
        recorded_under_lock.append(is_locked(login_lock(tmp_path)))

    recorded_under_lock: list[bool] = []
    monkeypatch.setattr(admin_process, "open_pool", refuse)
    monkeypatch.setattr(ReservedEntry, "remember", remember)
    with pytest.raises(HsmFailure):
        admin_process._with_login(
            cast("Any", None), cast("pkcs11.Token", None), with_pin, FindKeys(public_keys=())
        )
    assert recorded_under_lock == [True]
    assert not is_locked(login_lock(tmp_path))


def recorded(state_dir: Path) -> list[object]:
    return [
        (record.tenant, record.token, record.outcome, record.by)
        for events in EventSpool(state_dir).waiting()
        for record in events.records
        if isinstance(record, LoginRecord)
    ]


def log_in(
    where: TokenAddress,
    monkeypatch: pytest.MonkeyPatch,
    failure: HsmFailure | None = None,
    into: list[str] | None = None,
) -> list[str]:
    """Log in for a search of keys; what was done in order: the login, the search, the logout."""
    done = list[str]() if into is None else into

    class Pool:
        sessions = (None,)

        def close(self) -> None:
            done.append("logged out")

    def open_pool(*_: Any, **__: Any) -> Pool:
        done.append("logged in")
        if failure is not None:
            raise failure
        return Pool()

    monkeypatch.setattr(admin_process, "open_pool", open_pool)
    monkeypatch.setattr(admin_process, "_ask", lambda *_: done.append("asked"))
    with suppress(HsmFailure):
        admin_process._with_login(
            cast("Any", None), cast("pkcs11.Token", None), where, FindKeys(public_keys=())
        )
    return done


def test_a_login_of_a_command_is_on_record_with_its_user(
    with_pin: TokenAddress, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The record names the tenant whose token it is; a command without ``login`` leaves none."""
    assert log_in(with_pin, monkeypatch) == ["logged in", "asked", "logged out"]
    assert recorded(tmp_path) == []
    log_in(replace(with_pin, login=login_of_this_user("acme")), monkeypatch)
    assert recorded(tmp_path) == [("acme", "acme", "accepted", f"command of {user_name()}")]


def test_a_refused_login_of_a_command_is_on_record(
    with_pin: TokenAddress, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The record has the name of the refusal; a token that is away has refused nothing."""
    where = replace(with_pin, login=RecordedLogin(tenant="", by="command of ada"))
    log_in(where, monkeypatch, HsmFailure("CKR_DEVICE_REMOVED", 0x32, Action.OPEN_CIRCUIT))
    assert recorded(tmp_path) == []
    log_in(where, monkeypatch, HsmFailure("CKR_PIN_INCORRECT", 0xA0, Action.OPEN_CIRCUIT, pin_failure=True))
    assert recorded(tmp_path) == [("", "acme", "CKR_PIN_INCORRECT", "command of ada")]


def test_a_login_that_cannot_be_recorded_is_used_for_nothing(
    with_pin: TokenAddress, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error says where room is missing, and the session is closed."""
    (tmp_path / "events").write_text("a file where the folder belongs")
    done: list[str] = []
    with pytest.raises(TokenUnavailable, match=f"cannot be recorded in {tmp_path}/events"):
        log_in(replace(with_pin, login=login_of_this_user("acme")), monkeypatch, into=done)
    assert done == ["logged in", "logged out"]


def other(
    *, slot: int | None = None, label: str | None = None, serial: str | None = None, visible: bool = True
) -> OtherToken:
    return OtherToken(table="globex", owner="globex", slot=slot, label=label, serial=serial, visible=visible)


@pytest.mark.parametrize(
    "theirs",
    [
        other(slot=7),
        other(label="card"),
        other(serial="1234", label="card"),
        other(serial="1234", slot=3, visible=False),
    ],
    ids=str,
)
def test_a_token_that_another_owners_table_selects_is_refused(
    with_pin: TokenAddress, monkeypatch: pytest.MonkeyPatch, theirs: OtherToken
) -> None:
    """The PIN, which may be that of another token, is not tried; the error names both tables."""
    monkeypatch.setattr(admin_process, "open_pool", lambda *_, **__: pytest.fail("the PIN is tried"))
    with pytest.raises(TokenUnavailable, match=r"tokens\.acme finds the token of tokens\.globex of globex"):
        admin_process._with_login(
            cast("Any", None),
            cast("pkcs11.Token", None),
            replace(with_pin, others=(theirs,)),
            FindKeys(public_keys=()),
        )


@pytest.mark.parametrize(
    "theirs",
    [
        other(slot=8),
        other(label="card", serial="9"),
        other(slot=7, visible=False),
        other(label="card", visible=False),
    ],
    ids=str,
)
def test_a_token_that_no_other_owner_selects_is_accepted(tmp_path: Path, theirs: OtherToken) -> None:
    """In another module or environment, the same slot or label may be that of another token."""
    _refuse_token_of_others(FOUND, address(tmp_path, theirs))


def test_a_token_that_another_owners_lane_uses_is_refused(tmp_path: Path) -> None:
    """Whatever the tables say; a command of the owner is not refused."""
    claim_token(tmp_path, FOUND.identity("/module.so"), table="globex", owner="globex")
    with pytest.raises(TokenUnavailable, match="globex"):
        _refuse_token_of_others(FOUND, address(tmp_path))
    _refuse_token_of_others(FOUND, address(tmp_path, owner="globex"))


@pytest.mark.parametrize(
    "error, answer",
    [
        (
            HsmFailure("CKR_DEVICE_ERROR", 0x30, Action.OPEN_CIRCUIT),
            Failed(code="token.unavailable", problem="CKR_DEVICE_ERROR"),
        ),
        (
            HsmFailure("CKR_PIN_LOCKED", 0xA4, Action.OPEN_CIRCUIT, pin_failure=True),
            Failed(code="token.unavailable", problem="CKR_PIN_LOCKED", pin_refused=True),
        ),
        (
            TokenUnavailable("no token is called card"),
            Failed(code="token.unavailable", problem="no token is called card"),
        ),
    ],
    ids=["module", "PIN", "selection"],
)
def test_a_failure_is_an_answer_with_its_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, answer: Failed
) -> None:
    """The command that asked sees a reason of the closed set, and whether the PIN was refused; no traceback."""

    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr("workers.hsm.module.load", fail)
    assert admin_process.answer(Request(token=address(tmp_path), ask=ShowToken())) == answer


def test_a_configuration_that_is_wrong_is_an_answer_that_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """File, key and remedy are in it."""

    def fail(*_: object) -> None:
        raise ConfigError("[tokens.acme]", "module", "no such file", "Install the module.")

    monkeypatch.setattr("workers.hsm.module.load", fail)
    answer = admin_process.answer(Request(token=address(tmp_path), ask=ShowToken()))
    assert isinstance(answer, Failed)
    assert answer.code == "config.invalid"
    assert "[tokens.acme]" in answer.problem


INSPECT = InspectToken(public_keys=(b"spki",), algorithms=(), log_in=True)
FACTS = TokenFacts(
    module="m", slot=7, label="card", serial="1234", manufacturer="maker", model="model", firmware="1.0",
    most_sessions=None, threads=True, pin_warnings=(),
)  # fmt: skip


@pytest.fixture
def inspected(monkeypatch: pytest.MonkeyPatch) -> None:
    """A token that is found, of which no algorithm is asked."""
    monkeypatch.setattr("workers.hsm.module.load", lambda _: None)
    monkeypatch.setattr(admin_process, "select_token", lambda *_: Slotted())
    monkeypatch.setattr(admin_process, "_token_facts", lambda *_: FACTS)
    monkeypatch.setattr(admin_process, "unable_to_sign", lambda *_: ())


class Slotted:
    """Token with a slot."""

    slot = 7


@pytest.mark.usefixtures("inspected")
@pytest.mark.parametrize(
    "error, refused",
    [
        (HsmFailure("CKR_PIN_INCORRECT", 0xA0, Action.OPEN_CIRCUIT, pin_failure=True), True),
        (HsmFailure("CKR_DEVICE_ERROR", 0x30, Action.OPEN_CIRCUIT), False),
        (TokenUnavailable("the token of globex"), False),
    ],
    ids=["PIN", "module", "owner"],
)
def test_an_inspection_without_a_login_has_the_facts_and_the_problem(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, refused: bool
) -> None:
    """What needs no login is reported all the same."""

    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(admin_process, "_with_login", fail)
    report = admin_process.answer(Request(token=address(tmp_path), ask=INSPECT))
    assert isinstance(report, TokenReport)
    assert (report.facts, report.keys, report.pin_refused) == (FACTS, (), refused)
    assert report.problem


@pytest.mark.usefixtures("inspected")
def test_an_inspection_that_may_not_log_in_tries_no_pin(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A token whose PIN was refused is inspected from outside."""
    monkeypatch.setattr(admin_process, "_with_login", lambda *_: pytest.fail("it logged in"))
    ask = replace(INSPECT, log_in=False)
    report = admin_process.answer(Request(token=address(tmp_path), ask=ask))
    assert report == TokenReport(facts=FACTS, unable=())
