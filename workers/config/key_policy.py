"""Policy of a key: clients, time windows and budget. Whatever it does not allow is denied, and the rule named."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from queueing.errors import PolicyDenied

if TYPE_CHECKING:
    from datetime import tzinfo

DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")

EVERY_CLIENT: Final = "*"
"""In a key's ``clients``: all present and future clients of the tenant."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """Days of the week (Monday is 0) and seconds of the day by the clocks of ``zone``: from ``start_s`` until before ``end_s``.

    Where the end is earlier than the start, the window ends on the day after. It begins and ends at the same time of the
    clock all year, so it is an hour longer or shorter when the clocks change within it.
    """

    days: frozenset[int]
    start_s: int
    end_s: int
    zone: tzinfo = UTC

    def contains(self, now_ms: int) -> bool:
        """Whether the time (Unix ms) is in the window."""
        now = datetime.fromtimestamp(now_ms // 1000, self.zone)
        second = now.hour * 3600 + now.minute * 60 + now.second
        today = now.weekday() in self.days
        if self.start_s < self.end_s:
            return today and self.start_s <= second < self.end_s
        yesterday = (now.weekday() - 1) % 7 in self.days
        return (today and second >= self.start_s) or (yesterday and second < self.end_s)

    def __str__(self) -> str:
        days = ",".join(DAYS[day] for day in sorted(self.days)) if len(self.days) < 7 else "daily"
        return f"{days} {_clock(self.start_s)}-{_clock(self.end_s)} {self.zone}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """Budget of a key: at most ``digests`` signatures in each period of ``period_s``, which begins at a multiple of it (Unix time)."""

    digests: int
    period_s: int

    def period(self, now_ms: int) -> int:
        """Number of the period that contains the time (Unix ms)."""
        return now_ms // (self.period_s * 1000)

    def left_s(self, now_ms: int) -> float:
        """Seconds until the next period begins."""
        return self.period_s - (now_ms / 1000) % self.period_s


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyPolicy:
    """Rules of one key. ``clients`` None: every client; no windows: any time; no budget: unlimited. ``issuers`` may grant it."""

    clients: frozenset[str] | None = frozenset()
    issuers: frozenset[str] = frozenset()
    windows: tuple[Window, ...] = ()
    budget: Budget | None = None

    def __str__(self) -> str:
        who = "every client" if self.clients is None else ", ".join(sorted(self.clients)) or "none"
        rules = [f"clients: {who}"]
        rules += [f"issuers: {', '.join(sorted(self.issuers))}"] if self.issuers else []
        rules += [f"windows: {'; '.join(map(str, self.windows))}"] if self.windows else []
        rules += [f"budget: {self.budget.digests} in {self.budget.period_s} s"] if self.budget else []
        return "; ".join(rules)

    def check(self, client: str, now_ms: int) -> None:
        """Raise ``PolicyDenied`` (final), which names the failed rule."""
        if self.clients is not None and client not in self.clients:
            raise PolicyDenied("rule `clients`: the key does not list this client")
        self.check_time(now_ms)

    def check_issuer(self, issuer: str, now_ms: int) -> None:
        """Raise ``PolicyDenied`` (final) where the issuer may not grant the key, or not now."""
        if issuer not in self.issuers:
            raise PolicyDenied("rule `issuers`: the key does not list this issuer")
        self.check_time(now_ms)

    def check_time(self, now_ms: int) -> None:
        """Raise ``PolicyDenied`` (final) outside the key's windows."""
        if self.windows and not any(window.contains(now_ms) for window in self.windows):
            allowed = "; ".join(map(str, self.windows))
            raise PolicyDenied(f"rule `windows`: the key signs only {allowed}")


def _clock(seconds: int) -> str:
    hours, rest = divmod(seconds, 3600)
    return f"{hours:02}:{rest // 60:02}" + (f":{rest % 60:02}" if rest % 60 else "")
