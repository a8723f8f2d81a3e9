"""Sessions of one token in one process: a login session, and a working session for each thread.

Login belongs to the process and the token, not to a session (PKCS#11 3.1, 5.6.8); python-pkcs11 logs the
process out when it closes a session that was opened with a PIN, and a second open with a PIN fails and leaks a session.
So one session is opened with the PIN, first, signs nothing, and is closed last; the others inherit its login.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Final

from pkcs11.exceptions import PKCS11Error, SessionCount, UserAlreadyLoggedIn
from pkcs11.types import PROTECTED_AUTH

from workers.hsm.faults import translate, translated
from workers.hsm.objects import TolerantMapper

if TYPE_CHECKING:
    from collections.abc import Callable

    import pkcs11

    from queueing.config.secrets import Secret

_MAPPER: Final = TolerantMapper()


class SessionPool:
    """Login session and working sessions. Made by ``open_pool``.

    Each session, and each object found in it, belongs to exactly one thread. ``replace`` may be called from
    the thread of that session; ``close`` when all threads have ended.
    """

    __slots__ = ("_login", "_rw", "_sessions", "_token", "wanted")

    def __init__(
        self,
        token: pkcs11.Token,
        login: pkcs11.Session | None,
        sessions: list[pkcs11.Session],
        *,
        wanted: int,
        rw: bool,
    ) -> None:
        self._token = token
        self._login = login
        self._sessions = sessions
        self._rw = rw
        self.wanted = wanted

    @property
    def sessions(self) -> tuple[pkcs11.Session, ...]:
        """Working sessions, in the order of their index."""
        return tuple(self._sessions)

    @property
    def missing(self) -> int:
        """Number of wanted sessions that the token did not allow."""
        return self.wanted - len(self._sessions)

    def replace(self, index: int) -> pkcs11.Session:
        """Close the session at ``index`` and open another in its place.

        Objects found in the old one must be found again. Raises ``HsmFailure``; the old one is gone then,
        too, and another call is allowed.
        """
        with suppress(PKCS11Error):  # it is broken: that is why it goes
            self._sessions[index].close()
        with translated():
            session = self._token.open(rw=self._rw, attribute_mapper=_MAPPER)
        self._sessions[index] = session
        return session

    def close(self) -> None:
        """Close the working sessions, then the login session, which logs out. What fails is left behind:
        the process ends next, and the module closes what is open.
        """
        for session in (*self._sessions, self._login):
            if session is not None:
                with suppress(PKCS11Error):
                    session.close()
        self._sessions.clear()
        self._login = None


def open_pool(
    token: pkcs11.Token,
    *,
    pin: Secret | None,
    count: int,
    rw: bool = False,
    protected_path: bool = False,
    next_call: Callable[[], None] = lambda: None,
) -> SessionPool:
    """Log in (with ``pin``, or at the token's own keypad if ``protected_path``, or not at all), then open
    ``count`` sessions (at least 1); with fewer, if the token has no more: see ``SessionPool.missing``.
    ``next_call`` is called before each of these sessions, so that the time of each can be limited.

    Proxies that share one login between their clients (pkcs11-proxy) may be logged in already: then no PIN is compared, and
    ``close`` does not log out.

    Raises ``HsmFailure``: with ``pin_failure`` the PIN was refused, and must not be tried again. Once per
    process and token: after a failure the process is to end, for a session may have been leaked.
    """
    user_pin = PROTECTED_AUTH if protected_path else pin.reveal() if pin is not None else None
    with translated():
        login = _logged_in(token, user_pin, rw=rw) if user_pin is not None else None
    sessions: list[pkcs11.Session] = []
    pool = SessionPool(token, login, sessions, wanted=max(count, 1), rw=rw)
    try:
        while len(sessions) < pool.wanted:
            next_call()
            sessions.append(token.open(rw=rw, attribute_mapper=_MAPPER))
    except PKCS11Error as exc:
        if not (isinstance(exc, SessionCount) and sessions):
            pool.close()
            raise translate(exc) from exc
    return pool


def _logged_in(token: pkcs11.Token, user_pin: object, *, rw: bool) -> pkcs11.Session:
    try:
        return token.open(rw=rw, user_pin=user_pin)
    except UserAlreadyLoggedIn:
        return token.open(rw=rw)
