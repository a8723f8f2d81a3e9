"""Backoff between retries: growing waits with jitter, so that many clients do not come back at the same moment."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from queueing.errors import SigningError

_USUAL_WAIT_S: Final = 5.0
_LEAST_WAIT_S: Final = 0.1
_MOST_WAIT_S: Final = 300.0
"""Bounds of the advice of a service: no wait would be a busy loop, and capacity may be free earlier than advised."""


REDIS_AWAY_S: Final = 1.5
"""Longest wait for a Redis that does not answer: work is to continue within 2 s of its return. A farm of 3,000 clients
then tries some 2,700 times a second, which even a Redis with TLS can refuse."""


class Randomness(Protocol):
    """Source of random numbers, such as the module ``random`` or a ``random.Random``."""

    def random(self) -> float:
        """A number from 0 up to 1."""


def wait_after(error: SigningError, randomness: Randomness = random) -> float:
    """Wait after a refusal, in seconds: the advised time and up to half as much again."""
    advised_s = _USUAL_WAIT_S if error.retry_after_s is None else error.retry_after_s
    # In this order NaN, which is greater than nothing, is the least wait.
    return min(max(_LEAST_WAIT_S, advised_s), _MOST_WAIT_S) * (1.0 + 0.5 * randomness.random())


def backoff_s(failures: int, *, first_s: float, most_s: float, at_random: float) -> float:
    """Wait after so many failures in a row, in seconds: doubled from ``first_s`` to ``most_s``, and shortened by up to half.

    ``at_random``: a number from 0 (by half) to 1 (not at all).
    """
    doublings = min(failures - 1, 32)  # 2**32 is above any most_s, and no float overflows
    whole_s = min(first_s * 2.0**doublings, most_s)
    return whole_s * (0.5 + 0.5 * at_random)


@dataclass(slots=True, kw_only=True)
class Backoff:
    """Waits that double from ``first_s`` to ``most_s``, each shortened by up to half at random."""

    first_s: float = 0.1
    most_s: float = 5.0
    randomness: Randomness = random
    _failures: int = 0

    def next_s(self) -> float:
        """The next wait, in seconds."""
        self._failures += 1
        return backoff_s(
            self._failures, first_s=self.first_s, most_s=self.most_s, at_random=self.randomness.random()
        )

    def after_s(self, error: SigningError) -> float:
        """The next wait, or the time that the error advises, where it is longer; the advice counts up to 300 s."""
        return max(self.next_s(), min(error.retry_after_s or 0.0, _MOST_WAIT_S))

    def reset(self) -> None:
        """Start over after a success."""
        self._failures = 0
