"""PKCS#11 sessions of one connection: logged in or not, the search and the signature that each has begun."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from itertools import count
from typing import Final

from queueing.agent.cryptoki import Rv
from queueing.agent.rpc.fields import CallFailed
from queueing.agent.signing_input import MechanismUse
from queueing.agent.token_objects import TokenKey

MAX_SESSIONS: Final = 256
"""Sessions of one connection. A JVM opens one for each of its threads."""


@dataclass(frozen=True, slots=True)
class SigningOperation:
    """A signature that C_SignInit has begun."""

    key: TokenKey
    use: MechanismUse


@dataclass(slots=True)
class Session:
    """An open session. ``last_failure``: return value of the last C_Sign, for tools that then try C_SignUpdate."""

    read_write: bool
    found: deque[int] | None = None
    operation: SigningOperation | None = None
    last_failure: Rv = Rv.FUNCTION_NOT_SUPPORTED


@dataclass(slots=True)
class Sessions:
    """Sessions by handle, and the login that they share."""

    logged_in: bool = False
    _open: dict[int, Session] = field(default_factory=dict)
    _handles: count[int] = field(default_factory=lambda: count(1))

    def open(self, *, read_write: bool) -> int:
        """Open a session and return its handle; raises ``CallFailed``."""
        if len(self._open) >= MAX_SESSIONS:
            raise CallFailed(Rv.SESSION_COUNT)
        handle = next(self._handles)
        self._open[handle] = Session(read_write)
        return handle

    def get(self, handle: int) -> Session:
        """The session; raises ``CallFailed``."""
        session = self._open.get(handle)
        if session is None:
            raise CallFailed(Rv.SESSION_HANDLE_INVALID)
        return session

    def close(self, handle: int) -> None:
        """Close a session; the login ends with the last one (PKCS#11 3.1, 5.6.8). Raises ``CallFailed``."""
        self.get(handle)
        del self._open[handle]
        if not self._open:
            self.logged_in = False

    def close_all(self) -> None:
        """Close every session."""
        self._open.clear()
        self.logged_in = False

    def __len__(self) -> int:
        return len(self._open)
