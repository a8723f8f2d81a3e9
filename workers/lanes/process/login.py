"""Login of a lane: finds and claims its token, logs in with its PIN, and opens its sessions, each within a time limit."""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NoReturn, Protocol

from queueing.config.secrets import Secret
from queueing.errors import TokenUnavailable
from workers.config.service_file import SERVICE
from workers.config.settings import PinLogin
from workers.hsm import module
from workers.hsm.faults import NO_CODE, Action, HsmFailure
from workers.hsm.native.loop import choose_loop
from workers.hsm.pin_guard import guarded_login
from workers.hsm.process_hardening import each_call_within, one_start_at_a_time
from workers.hsm.sessions import open_pool
from workers.hsm.tokens import TokenSelect, properties_of, select_token
from workers.lanes.exit_codes import LOGIN_TIMED_OUT
from workers.state.token_claims import TokenTaken, claim_token

if TYPE_CHECKING:
    from pathlib import Path

    from workers.config.settings import TokenSettings
    from workers.hsm.native.loop import LoopChoice
    from workers.hsm.sessions import SessionPool
    from workers.state.token_claims import TokenProperties

LOGIN_GRACE_S: Final = 5.0
"""Time for the lane to end itself after a login that timed out; then the kernel ends it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneRole:
    """Token of a lane, and its tenant; tenant None is the service's own token.

    ``state_dir``: folder where the worker keeps the configuration in force; None for a host-started lane. ``own_state``:
    folder where such a lane keeps refused PINs, since it may not write the worker's; None: the service's `state_dir`.
    """

    file: Path
    token: str
    tenant: str | None
    sessions: int | None = None
    state_dir: Path | None = None
    own_state: Path | None = None


@dataclass(frozen=True, slots=True)
class LoggedIn:
    """Sessions of a token that is logged in; the module's description, and the token's properties.

    ``loop``: that by which the lane signs its runs.
    """

    pool: SessionPool
    module_description: str
    token: TokenProperties
    loop: LoopChoice


class EndableLane(Protocol):
    """Lane that a login may end."""

    def end(self, failure: HsmFailure) -> NoReturn:
        """Report the failure, then exit at once."""


class LaneLogin:
    """Login of one lane. ``state_dir``: folder of refused PINs, of claims of tokens, and of the locks between lanes."""

    def __init__(self, role: LaneRole, settings: TokenSettings, state_dir: Path, lane: EndableLane) -> None:
        self._role = role
        self._settings = settings
        self._state_dir = state_dir
        self._lane = lane

    def run(self) -> LoggedIn:
        """Log in. Raises ``HsmFailure``, or ``TokenUnavailable`` where the token is another owner's.

        A login that does not return within its time limit ends the process.
        """
        token, settings, state_dir = self._role.token, self._settings, self._state_dir
        os.environ.update(settings.environment)
        pin = Secret.from_file(settings.login.pin_file) if isinstance(settings.login, PinLogin) else None
        select = settings.select
        call_s = settings.call_timeout_s
        # The refused PINs are read under the lock: a lane that waited for it knows what the one before it recorded.
        with guarded_login(state_dir, token, pin):
            with one_start_at_a_time(state_dir, settings.module), each_call_within(call_s) as next_call:
                loaded = module.load(settings.module)
                next_call(call_s)
                found = select_token(
                    loaded, TokenSelect(slot=select.slot, label=select.label, serial=select.serial)
                )
                properties = properties_of(found)
                self._claim(properties)  # before the PIN is tried: it may be that of another token
            with each_call_within(settings.login_timeout_s + LOGIN_GRACE_S) as next_call:
                watch = threading.Timer(settings.login_timeout_s, self._timed_out)
                watch.daemon = True
                watch.start()

                def begin_session() -> None:
                    watch.cancel()
                    next_call(call_s)

                try:
                    pool = open_pool(
                        found,
                        pin=pin,
                        count=(self._role.sessions or settings.sessions) if loaded.threads_allowed else 1,
                        protected_path=settings.login == "protected-path",
                        next_call=begin_session,
                    )
                finally:
                    watch.cancel()  # a refused PIN is recorded next, however long the disk takes
        return LoggedIn(pool, loaded.description, properties, choose_loop(loaded))

    def _claim(self, found: TokenProperties) -> None:
        """Claim the token for its owner; raises ``TokenUnavailable`` where it is another owner's."""
        token = self._role.token
        try:
            identity = found.identity(self._settings.module)
            claim_token(self._state_dir, identity, table=token, owner=self._role.tenant or SERVICE)
        except TokenTaken as taken:
            raise TokenUnavailable(
                f"tokens.{token} finds the token of {taken.holder}: select another one by its serial and label"
            ) from None

    def _timed_out(self) -> NoReturn:
        """End by ourselves, so that the worker knows which call it was: the login may still run in the HSM."""
        waited_s = self._settings.login_timeout_s
        detail = f"the login did not return within {waited_s:g} s (`login_timeout_s`)"
        self._lane.end(HsmFailure(LOGIN_TIMED_OUT, NO_CODE, Action.OPEN_CIRCUIT, detail=detail))
