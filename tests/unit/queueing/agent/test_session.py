"""Sessions have a number, share a login, and end."""

from __future__ import annotations

import pytest

from queueing.agent.cryptoki import Rv
from queueing.agent.rpc.fields import CallFailed
from queueing.agent.session import MAX_SESSIONS, Sessions


def test_sessions_are_capped() -> None:
    """A tool that opens without end is told so, and its other sessions stay."""
    sessions = Sessions()
    handles = {sessions.open(read_write=False) for _ in range(MAX_SESSIONS)}
    with pytest.raises(CallFailed) as failed:
        sessions.open(read_write=False)
    assert failed.value.rv is Rv.SESSION_COUNT
    assert len(handles) == len(sessions) == MAX_SESSIONS


def test_a_closed_session_is_unknown_and_its_handle_is_not_reused() -> None:
    """A tool that still has the handle gets an error, and never another tool's session."""
    sessions = Sessions()
    first = sessions.open(read_write=False)
    sessions.close(first)
    assert sessions.open(read_write=True) != first
    for use in (sessions.get, sessions.close):
        with pytest.raises(CallFailed) as failed:
            use(first)
        assert failed.value.rv is Rv.SESSION_HANDLE_INVALID


def test_the_login_ends_with_the_last_session() -> None:
    """PKCS#11 3.1, 5.6.8."""
    sessions = Sessions()
    handles = [sessions.open(read_write=False) for _ in range(2)]
    sessions.logged_in = True
    sessions.close(handles[0])
    assert sessions.logged_in
    sessions.close(handles[1])
    assert not sessions.logged_in
