"""Logins of commands: to no token of another owner, under the lock of a lane, and never with a refused PIN."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import Any, cast

import pkcs11
import pytest
from msgspec.structs import replace

from queueing.config.secrets import Secret
from queueing.errors import TokenUnavailable
from workers.hsm import admin_process
from workers.hsm.admin_process import _refuse_token_of_others
from workers.hsm.faults import Action, HsmFailure
from workers.state.refused_pins import ReservedEntry
from workers.state.token_claims import TokenProperties, claim_token
from workers.token_admin.messages import FindKeys, OtherToken, TokenAddress

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


def is_locked(state_dir: Path) -> bool:
    """Whether somebody holds the lock of acme's logins."""
    descriptor = os.open(state_dir / "lane-login.acme.lock", os.O_RDWR | os.O_CREAT)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


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
    """A lane that starts meanwhile waits until a refused PIN is on record, and tries it not again."""

    def refuse(*_: Any, **__: Any) -> None:
        assert is_locked(tmp_path)
        raise HsmFailure("CKR_PIN_INCORRECT", 0xA0, Action.OPEN_CIRCUIT, pin_failure=True)

    def remember(_: ReservedEntry, pin: Secret) -> None:
        recorded_under_lock.append(is_locked(tmp_path))

    recorded_under_lock: list[bool] = []
    monkeypatch.setattr(admin_process, "open_pool", refuse)
    monkeypatch.setattr(ReservedEntry, "remember", remember)
    with pytest.raises(HsmFailure):
        admin_process._with_login(
            cast("Any", None), cast("pkcs11.Token", None), with_pin, FindKeys(public_keys=())
        )
    assert recorded_under_lock == [True]
    assert not is_locked(tmp_path)


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
def test_a_token_that_another_owners_table_selects_is_refused(tmp_path: Path, theirs: OtherToken) -> None:
    """Before its PIN is tried: it may be that of another token."""
    with pytest.raises(TokenUnavailable, match=r"tokens\.acme finds the token of tokens\.globex of globex"):
        _refuse_token_of_others(FOUND, address(tmp_path, theirs))


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
    """By another module, or in another environment, a slot and a label may be those of another token."""
    _refuse_token_of_others(FOUND, address(tmp_path, theirs))


def test_a_token_that_another_owners_lane_uses_is_refused(tmp_path: Path) -> None:
    """Whatever the tables say; the owner's own lanes go on beside it."""
    claim_token(tmp_path, FOUND.identity("/module.so"), table="globex", owner="globex")
    with pytest.raises(TokenUnavailable, match="globex"):
        _refuse_token_of_others(FOUND, address(tmp_path))
    _refuse_token_of_others(FOUND, address(tmp_path, owner="globex"))
