"""Whether a token is used, or left alone for a while. Pure but for a look at the PIN's file."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Final

from workers.config.settings import PinLogin

if TYPE_CHECKING:
    from collections.abc import Callable

    from workers.config.settings import TokenSettings
    from workers.state.refused_pins import RefusedPins

SHORTEST_PAUSE_S: Final = 0.5
LONGEST_PAUSE_S: Final = 3.0
"""Between attempts on a token in doubt; doubled each time. An attempt is one process and one login with a PIN that was
never refused; a token that comes back is used within five seconds, however long it was away."""


DOUBT_S: Final = 60.0
"""A token that nobody tried for so long since it failed may be well again. One that somebody needs is tried within the
longest pause and the start of a lane, so that its doubt does not end by this.
"""


class Circuit(StrEnum):
    """Whether the token is used: ``open`` waits and tries again, ``refused`` waits for an operator."""

    CLOSED = "closed"
    OPEN = "open"
    REFUSED = "refused"


class CircuitBreaker:
    """The circuit of one token. ``changed`` is told of each change of state."""

    def __init__(
        self,
        token: str,
        *,
        refused_pins: RefusedPins,
        changed: Callable[[Circuit], None],
        now_s: Callable[[], float],
    ) -> None:
        self._token = token
        self._refused_pins = refused_pins
        self._changed = changed
        self._now_s = now_s
        self._pause_s = SHORTEST_PAUSE_S
        self._open_until = 0.0
        self._doubted_until = 0.0
        self._pin_seen: float | None = None
        self.state = Circuit.CLOSED

    @property
    def closed(self) -> bool:
        """Whether the token is used."""
        return self.state is Circuit.CLOSED

    @property
    def in_doubt(self) -> bool:
        """Whether it failed when it was last used, a short while ago; also while it is tried again."""
        return self.state is Circuit.REFUSED or self._now_s() < self._doubted_until

    def trip(self, state: Circuit) -> None:
        """Leave the token alone: for a pause, or until an operator has seen to its PIN."""
        self._open_until = self._now_s() + self._pause_s
        self._doubted_until = self._now_s() + DOUBT_S
        self._pause_s = min(self._pause_s * 2, LONGEST_PAUSE_S)
        self._become(state)

    def close(self) -> None:
        """Use it again, whatever was wrong with it."""
        self._doubted_until = 0.0
        if not self.closed:
            self._become(Circuit.CLOSED)

    def answered(self) -> None:
        """The token signs: the next pause is a short one again."""
        self._pause_s = SHORTEST_PAUSE_S
        self._doubted_until = 0.0

    def close_if_due(self, settings: TokenSettings) -> bool:
        """Whether it was closed just now, because the pause is over or the PIN may be another.

        A lane of the host's own remembers a refused PIN where this process may not look; to ask it again is harmless.
        """
        if self.closed or not self._is_due(settings):
            return False
        self._become(Circuit.CLOSED)
        return True

    def _become(self, state: Circuit) -> None:
        self.state = state
        self._changed(state)

    def _is_due(self, settings: TokenSettings) -> bool:
        if self.state is Circuit.REFUSED and not settings.socket:
            return not self._is_marked() or self._pin_changed(settings)
        return self._now_s() >= self._open_until

    def _is_marked(self) -> bool:
        try:
            return self._refused_pins.is_marked(self._token)
        except OSError:
            return True  # nobody resumed it where nobody can say

    def _pin_changed(self, settings: TokenSettings) -> bool:
        """Whether the PIN file is another than when the PIN was refused; the lane decides if the PIN is."""
        if not isinstance(settings.login, PinLogin):
            return False
        try:
            written = Path(settings.login.pin_file).stat().st_mtime
        except OSError:
            return False
        before, self._pin_seen = self._pin_seen, written
        return before is not None and before != written
