"""Login of a lane: its time limit, and what is on record before the limit could end the lane."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from queueing.config.secrets import Secret
from tests.support.fakes.config_files import Site
from tests.support.file_locks import is_locked, login_lock
from workers.hsm.faults import Action, HsmFailure
from workers.lanes.process import login as module
from workers.lanes.process.lane import Lane
from workers.lanes.process.login import LaneRole
from workers.state.refused_pins import ReservedEntry
from workers.state.token_claims import TokenProperties


class Timer:
    """Timer that does not run."""

    started: list[Timer]

    def __init__(self, _: float, __: Callable[[], None]) -> None:
        self.cancelled = False

    def start(self) -> None:
        self.started.append(self)

    def cancel(self) -> None:
        self.cancelled = True


@pytest.fixture
def lane(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lane]:
    """A lane of acme in front of a module that is not there; the login is up to the test."""
    site = Site(tmp_path).write()
    (tmp_path / "state").mkdir(exist_ok=True)
    (tmp_path / "pins").mkdir(exist_ok=True)
    pin = tmp_path / "pins" / "acme"
    pin.touch(mode=0o600)
    pin.write_text("1234\n")
    Timer.started = []
    monkeypatch.setattr(threading, "Timer", Timer)
    monkeypatch.setattr(module, "each_call_within", lambda _: contextlib.nullcontext(lambda _timeout_s: None))
    loaded = SimpleNamespace(threads_allowed=True, description="module", functions=None)
    monkeypatch.setattr("workers.hsm.module.load", lambda _: loaded)
    monkeypatch.setattr(module, "select_token", lambda *_: object())
    found = TokenProperties("maker", "model", "1234", "acme", 1)
    monkeypatch.setattr(module, "properties_of", lambda _: found)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield Lane(LaneRole(file=site.config, token="acme", tenant="acme"), ours)


def test_the_time_limit_of_a_login_ends_before_a_refusal_is_recorded(
    lane: Lane, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk may be slow: a lane that ended itself meanwhile would leave a PIN on record that the next one tries again."""
    recorded_after: list[bool] = []

    def refuse(*_: Any, **__: Any) -> None:
        (timer,) = Timer.started
        assert not timer.cancelled
        raise HsmFailure("CKR_PIN_INCORRECT", 0xA0, Action.OPEN_CIRCUIT, pin_failure=True)

    def remember(_: ReservedEntry, pin: Secret) -> None:
        recorded_after.append(Timer.started[0].cancelled)

    monkeypatch.setattr(module, "open_pool", refuse)
    monkeypatch.setattr(ReservedEntry, "remember", remember)
    with pytest.raises(HsmFailure):
        lane._login.run()
    assert recorded_after == [True]


def test_the_time_limit_of_a_login_ends_with_it(lane: Lane, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sessions behind it have the time limit of a call each."""
    cancelled: list[bool] = []

    def open_pool(*_: Any, next_call: Callable[[], None], **__: Any) -> object:
        next_call()
        cancelled.append(Timer.started[0].cancelled)
        return object()

    monkeypatch.setattr(module, "open_pool", open_pool)
    lane._login.run()
    assert cancelled == [True]


def test_a_lane_logs_in_under_the_lock_of_its_token(
    lane: Lane, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next lane waits until a refused PIN is on record."""
    monkeypatch.setattr(
        module, "open_pool", lambda *_, **__: locked.append(is_locked(login_lock(tmp_path / "state")))
    )
    locked: list[bool] = []
    lane._login.run()
    assert locked == [True]
    assert not is_locked(login_lock(tmp_path / "state"))
