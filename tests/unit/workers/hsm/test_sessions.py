"""Session pool: one login, opened first and closed last, and working sessions that inherit it."""

from __future__ import annotations

from typing import Any, cast

import pkcs11
import pytest
from pkcs11.exceptions import (
    DeviceError,
    DeviceRemoved,
    PinIncorrect,
    SessionCount,
    SessionHandleInvalid,
    UserAlreadyLoggedIn,
)
from pkcs11.types import PROTECTED_AUTH

from queueing.config.secrets import Secret
from workers.hsm.faults import HsmFailure
from workers.hsm.sessions import SessionPool, open_pool

PIN = Secret("1234")


class FakeSession:
    def __init__(self, token: FakeToken, name: str) -> None:
        self.token, self.name = token, name

    def close(self) -> None:
        self.token.events.append(f"close {self.name}")
        if self.name in self.token.broken:
            raise SessionHandleInvalid


class FakeToken:
    """Notes what is opened and closed; gives at most ``limit`` sessions."""

    def __init__(self, limit: int = 100) -> None:
        self.events: list[str] = []
        self.pins: list[object] = []
        self.broken: set[str] = set()
        self.opens = 0
        self.limit = limit
        self.fails: Exception | None = None
        self.logged_in_by_another = False
        self._opened = 0

    def open(self, *, rw: bool, user_pin: object = None, attribute_mapper: object = None) -> FakeSession:
        self.opens += 1
        if self.fails is not None:
            raise self.fails
        if self._opened >= self.limit:
            raise SessionCount
        if user_pin is not None and self.logged_in_by_another:
            raise UserAlreadyLoggedIn
        if user_pin is not None:
            self.pins.append(user_pin)
        name = "login" if user_pin is not None else f"s{self._opened}"
        self._opened += 1
        self.events.append(f"open {name}{' rw' if rw else ''}")
        return FakeSession(self, name)


def pool_of(token: FakeToken, **options: Any) -> SessionPool:
    return open_pool(cast("pkcs11.Token", token), **{"pin": PIN, "count": 3, **options})


def test_the_login_session_is_opened_first_and_closed_last_and_alone_has_the_pin() -> None:
    token = FakeToken()
    pool = pool_of(token)
    assert token.events == ["open login", "open s1", "open s2", "open s3"]
    assert token.pins == ["1234"]
    pool.close()
    assert token.events[4:] == ["close s1", "close s2", "close s3", "close login"]
    assert pool.sessions == ()


def test_the_login_session_is_none_of_the_working_ones() -> None:
    pool = pool_of(FakeToken())
    names = [cast("FakeSession", session).name for session in pool.sessions]
    assert names == ["s1", "s2", "s3"]


def test_without_a_login_there_is_no_login_session() -> None:
    token = FakeToken()
    pool_of(token, pin=None).close()
    assert token.pins == []
    assert "open login" not in token.events


def test_a_token_that_another_client_of_its_proxy_logged_in_is_used_and_not_logged_out() -> None:
    """pkcs11-proxy shares one login between all its clients; python-pkcs11 logs out where it was given a PIN."""
    token = FakeToken()
    token.logged_in_by_another = True
    pool = pool_of(token)
    assert len(pool.sessions) == 3
    assert token.pins == []
    pool.close()
    assert "close login" not in token.events
    assert sum(event.startswith("close") for event in token.events) == 4


def test_a_protected_path_logs_in_at_the_token() -> None:
    token = FakeToken()
    pool_of(token, pin=None, protected_path=True)
    assert token.pins == [PROTECTED_AUTH]


def test_read_write_sessions_are_asked_for_by_name() -> None:
    token = FakeToken()
    pool = pool_of(token, rw=True, count=1)
    pool.replace(0)
    assert token.events == ["open login rw", "open s1 rw", "close s1", "open s2 rw"]


def test_a_token_with_fewer_sessions_gives_what_it_has_and_the_pool_says_so() -> None:
    pool = pool_of(FakeToken(limit=3), count=5)
    assert (len(pool.sessions), pool.wanted, pool.missing) == (2, 5, 3)


def test_a_token_without_a_session_to_spare_is_a_failure_and_leaves_nothing_open() -> None:
    token = FakeToken(limit=1)
    with pytest.raises(HsmFailure) as caught:
        pool_of(token)
    assert caught.value.code_name == "CKR_SESSION_COUNT"
    assert token.events == ["open login", "close login"]


def test_a_failure_while_opening_closes_what_is_open() -> None:
    token = FakeToken()
    real_open = token.open

    def open_two(**options: Any) -> FakeSession:
        if len(token.events) == 2:
            token.fails = DeviceError()
        return real_open(**options)

    token.open = open_two  # type: ignore[method-assign]
    with pytest.raises(HsmFailure):
        pool_of(token)
    assert token.events == ["open login", "open s1", "close s1", "close login"]


def test_a_refused_pin_is_tried_once_and_marked() -> None:
    token = FakeToken()
    token.fails = PinIncorrect()
    with pytest.raises(HsmFailure) as caught:
        pool_of(token)
    assert caught.value.pin_failure
    assert "1234" not in str(caught.value)
    assert (token.opens, token.events) == (1, [])


def test_replacing_a_broken_session_leaves_the_others_and_the_login() -> None:
    token = FakeToken()
    pool = pool_of(token)
    before = pool.sessions
    token.broken.add("s2")
    fresh = pool.replace(1)
    assert pool.sessions == (before[0], fresh, before[2])
    assert token.events[4:] == ["close s2", "open s4"]
    assert token.pins == ["1234"]


def test_a_session_that_cannot_be_replaced_is_a_failure_that_may_be_tried_again() -> None:
    token = FakeToken()
    pool = pool_of(token)
    token.fails = DeviceRemoved()
    with pytest.raises(HsmFailure):
        pool.replace(0)
    token.fails = None
    token.broken.add("s1")
    assert cast("FakeSession", pool.replace(0)).name == "s4"


def test_closing_continues_after_a_broken_session() -> None:
    token = FakeToken()
    pool = pool_of(token)
    token.broken.update({"s1", "s3"})
    pool.close()
    assert token.events[4:] == ["close s1", "close s2", "close s3", "close login"]
