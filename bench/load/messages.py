"""Messages between the harness and a load process: JSON, one line each."""

from __future__ import annotations

import msgspec

from bench.load.arrivals import OpenLoopResult
from bench.measurement.percentiles import Percentiles


class _Order(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """An order is answered when it is done."""


class Burst(_Order, frozen=True, kw_only=True):
    """Sign ``digests`` with ``sign_many``, ``size`` to an envelope, shared among ``clients`` connections.

    ``verify``: with the client's own verification of every signature, as users have it.
    """

    digests: int
    size: int
    clients: int = 1
    verify: bool = False


class Coalesced(_Order, frozen=True, kw_only=True):
    """``callers`` that each sign one digest after another with ``sign()`` on one shared client."""

    digests: int
    callers: int


class Paced(_Order, frozen=True, kw_only=True):
    """One digest at a time, ``pause_s`` between an answer and the next request: latency at idle."""

    digests: int
    pause_s: float


class Arrivals(_Order, frozen=True, kw_only=True):
    """Open loop: requests of ``size`` digests, in an envelope each, at random times of a mean rate."""

    requests_per_s: float
    seconds: float
    size: int
    seed: int


class Endless(_Order, frozen=True, kw_only=True):
    """Bursts of ``size`` to an envelope until the next order comes; answered at once."""

    size: int


class Flood(_Order, frozen=True, kw_only=True):
    """Rubbish of this kind (``bench.load.rubbish``) until the next order comes; for a flood process, answered at once."""

    kind: str


class Rest(_Order, frozen=True, kw_only=True):
    """End what is endless."""


Order = Burst | Coalesced | Paced | Arrivals | Endless | Flood | Rest


class Done(msgspec.Struct, frozen=True, kw_only=True):
    """Result of an order; ``seconds`` from the first request to the last answer. ``jobs``: rubbish of the flood that it ended."""

    signatures: int = 0
    seconds: float = 0.0
    failures: dict[str, int] = {}
    latency: Percentiles | None = None
    open_loop: OpenLoopResult | None = None
    jobs: int = 0
