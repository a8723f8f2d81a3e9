"""Circuit breaker of one token: closed while the token is used, open for a pause, or until its PIN is replaced.

``TokenPool`` opens it where ``token_after`` (``lost_lane.py``) says so, or a lane cannot be started; ``TokenPool.tick`` closes it
when it is due. Pure, but for the modification time of the PIN's file.
"""

from __future__ import annotations

import random
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

from queueing.aio.backoff import Backoff, Randomness
from workers.config.settings import PinLogin

if TYPE_CHECKING:
    from collections.abc import Callable

    from workers.config.settings import TokenSettings
    from workers.state.refused_pins import RefusedPins

SHORTEST_PAUSE_S: Final = 0.5
LONGEST_PAUSE_S: Final = 3.0
"""Pause between attempts on a failed token; doubled each time, and shortened by up to half at random, so that the workers
of a cluster do not come back in step. An attempt is one process and one login with a PIN that was never refused; a token
that comes back is used within five seconds, however long it was away."""


DOUBT_S: Final = 60.0
"""A failed token that was not tried for so long is no longer in doubt. One that has work is tried within the longest
pause and the start of a lane, so its doubt does not end by this.
"""


class Circuit(StrEnum):
    """State of a circuit breaker: ``open`` closes after a pause, ``refused`` waits for an operator."""

    CLOSED = "closed"
    OPEN = "open"
    REFUSED = "refused"


class CircuitListener(Protocol):
    """Receiver of changes of a circuit breaker."""

    def circuit_changed(self, token: str, circuit: Circuit) -> None:
        """The circuit breaker of the token is in this state from now on."""


class CircuitBreaker:
    """Circuit breaker of one token."""

    def __init__(
        self,
        token: str,
        *,
        refused_pins: RefusedPins,
        listener: CircuitListener,
        now_s: Callable[[], float],
        randomness: Randomness = random,
    ) -> None:
        self._token = token
        self._refused_pins = refused_pins
        self._listener = listener
        self._now_s = now_s
        self._pauses = Backoff(first_s=SHORTEST_PAUSE_S, most_s=LONGEST_PAUSE_S, randomness=randomness)
        self._open_until = 0.0
        self._in_doubt_until = 0.0
        self._pin_file_time: float | None = None
        self.state = Circuit.CLOSED

    @property
    def closed(self) -> bool:
        """Whether the token is used."""
        return self.state is Circuit.CLOSED

    @property
    def in_doubt(self) -> bool:
        """Whether the token failed when it was last used, within ``DOUBT_S``; also while it is tried again."""
        return self.state is Circuit.REFUSED or self._now_s() < self._in_doubt_until

    def lane_starting(self, settings: TokenSettings) -> None:
        """Note the time of the PIN's file before a lane reads it: a file that changes while the lane logs in is tried, too."""
        self._pin_file_time = _time_of_pin_file(settings)

    def trip(self, state: Circuit, *, at_least_s: float = 0.0) -> None:
        """Open for a pause (of ``at_least_s``), or until an operator has replaced the PIN."""
        self._open_until = self._now_s() + max(self._pauses.next_s(), at_least_s)
        self._in_doubt_until = self._now_s() + at_least_s + DOUBT_S
        self._set(state)

    def close(self) -> None:
        """Use the token again, whatever its failure was."""
        self._in_doubt_until = 0.0
        if not self.closed:
            self._set(Circuit.CLOSED)

    def record_success(self) -> None:
        """The token has signed: the next pause is a short one again."""
        self._pauses.reset()
        self._in_doubt_until = 0.0

    def close_if_due(self, settings: TokenSettings) -> bool:
        """Close when the pause is over or the PIN may be another; returns whether it was closed by this call.

        A host-started lane keeps refused PINs where this process may not read them; to connect to it again does no
        harm, it tries no PIN twice.
        """
        if self.closed or not self._is_due(settings):
            return False
        self._set(Circuit.CLOSED)
        return True

    def _set(self, state: Circuit) -> None:
        self.state = state
        self._listener.circuit_changed(self._token, state)

    def _is_due(self, settings: TokenSettings) -> bool:
        if self.state is Circuit.REFUSED and not settings.socket:
            return not self._is_marked() or self._pin_changed(settings)
        return self._now_s() >= self._open_until

    def _is_marked(self) -> bool:
        try:
            return self._refused_pins.is_marked(self._token)
        except OSError:
            return True  # unreadable: not known to be resumed

    def _pin_changed(self, settings: TokenSettings) -> bool:
        """Whether the PIN's file has changed since a lane was started; the next lane decides whether the PIN has."""
        modified = _time_of_pin_file(settings)
        return modified is not None and modified != self._pin_file_time


def _time_of_pin_file(settings: TokenSettings) -> float | None:
    """Time at which the PIN's file was changed; None where there is none, or it cannot be seen."""
    if not isinstance(settings.login, PinLogin):
        return None
    try:
        return Path(settings.login.pin_file).stat().st_mtime
    except OSError:
        return None
