"""Sizes of a thousand tenants by the minutes of the CA/Browser Forum's working group (2021-10-13), and a device for each.

The minutes name three sizes: a small product signs 1,000 digests a month, a large one 500,000, the largest enterprise 120 million
a day. They do not say how many there are of each. Here nine tenants in ten are small products, one in eleven or so is a large one,
and one in a hundred is an enterprise; the enterprises' sizes fall by a power of their rank, so that all together are what was asked for.
Sizes and devices are pure functions.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from enum import StrEnum
from typing import Final

import msgspec

from bench.capacity.hsm_rates import MODELS, hsm_rate
from bench.capacity.model import SECONDS_PER_DAY, Headroom
from queueing.protocol.algorithms import KeyKind

DAYS_PER_MONTH: Final = 365.25 / 12
LARGEST_PER_DAY: Final = 120e6
LARGE_PER_DAY: Final = 500_000 / DAYS_PER_MONTH
SMALL_PER_DAY: Final = 1_000 / DAYS_PER_MONTH
MINUTES_TOTAL: Final = 500e6
"""Signatures a day of all tenants for which the sizes above stand; for another total each size is scaled."""

ENTERPRISES: Final = 0.01
LARGE_PRODUCTS: Final = 0.09

SESSIONS_PER_DEVICE: Final = 4
"""Signatures that a device has in work at once. No vendor of the table publishes it for all models: it is an assumption, and with
the published rate it gives the time of one signature (4 / 340 s = 12 ms for RSA-3072 of an Azure Managed HSM)."""

MOST_SESSIONS: Final = 1024
"""Of a token (``workers.config.settings``): a tenant that needs more gets devices that are too slow for its peak."""

KINDS: Final = (KeyKind.RSA_3072, KeyKind.P256)
"""In turn by rank."""


class Tier(StrEnum):
    """The three sizes of the minutes."""

    ENTERPRISE = "enterprise"
    LARGE = "large product"
    SMALL = "small product"


DIGESTS_PER_BUILD: Final = {Tier.ENTERPRISE: 64, Tier.LARGE: 64, Tier.SMALL: 16}
"""Digests that are asked for at once. Not in the minutes: an envelope of the client's own size, and a small product's files."""


class DayTenant(msgspec.Struct, frozen=True, kw_only=True):
    """A tenant with one key. ``devices`` HSMs of one model hold it, with ``sessions`` in all, and sign in ``sign_us`` each."""

    name: str
    tier: Tier
    kind: KeyKind
    per_day: float
    devices: int
    sessions: int
    sign_us: int

    @property
    def builds_per_s(self) -> float:
        """Requests a second, at the mean."""
        return self.per_day / SECONDS_PER_DAY / self.digests_per_build

    @property
    def digests_per_build(self) -> int:
        """Digests of a request."""
        return DIGESTS_PER_BUILD[self.tier]


def tiers(count: int) -> list[Tier]:
    """Tier of each tenant by rank, the largest first. There is at least one enterprise."""
    enterprises = max(1, round(count * ENTERPRISES))
    large = round(count * LARGE_PRODUCTS)
    small = count - enterprises - large
    return [Tier.ENTERPRISE] * enterprises + [Tier.LARGE] * large + [Tier.SMALL] * small


def sizes(count: int, per_day: float) -> list[float]:
    """Signatures a day of each tenant by rank; their sum is ``per_day``. Raises ``ValueError`` where there is nothing to share out."""
    if count < 1 or per_day <= 0:
        raise ValueError("there is a tenant at least, and it signs")
    by_rank = tiers(count)
    products = {Tier.LARGE: LARGE_PER_DAY, Tier.SMALL: SMALL_PER_DAY}
    fixed = [products[tier] for tier in by_rank if tier is not Tier.ENTERPRISE]
    enterprises = len(by_rank) - len(fixed)
    rest = MINUTES_TOTAL - sum(fixed)
    exponent = _exponent(enterprises, rest / LARGEST_PER_DAY)
    weights = [rank**-exponent for rank in range(1, enterprises + 1)]
    found = [rest * weight / sum(weights) for weight in weights] + fixed
    return [per_day / MINUTES_TOTAL * size for size in found]


def tenants_of(count: int, per_day: float, *, model: str, peak_factor: float) -> list[DayTenant]:
    """The tenants by rank, each with as many devices as its peak takes (at 70 %, as in ``bench plan``)."""
    found = []
    for rank, (tier, size) in enumerate(zip(tiers(count), sizes(count, per_day), strict=True), start=1):
        kind = KINDS[(rank - 1) % len(KINDS)]
        device_per_s = hsm_rate(MODELS[model], kind).per_s
        peak_per_s = peak_factor * size / SECONDS_PER_DAY
        devices = max(1, math.ceil(peak_per_s / (device_per_s * Headroom().hsm_utilisation)))
        found.append(
            DayTenant(
                name=f"tenant-{rank:04}",
                tier=tier,
                kind=kind,
                per_day=size,
                devices=devices,
                sessions=min(devices * SESSIONS_PER_DEVICE, MOST_SESSIONS),
                sign_us=round(1e6 * SESSIONS_PER_DEVICE / device_per_s),
            )
        )
    return found


def in_words(tenants: Sequence[DayTenant]) -> list[str]:
    """A line for each tier: tenants, signatures a day, devices."""
    lines = []
    for tier in Tier:
        of_tier = [tenant for tenant in tenants if tenant.tier is tier]
        if of_tier:
            per_day = [tenant.per_day for tenant in of_tier]
            lines.append(
                f"{len(of_tier):,} x {tier}: {min(per_day):,.0f} to {max(per_day):,.0f} signatures a day each,"
                f" {sum(per_day):,.0f} in all, {DIGESTS_PER_BUILD[tier]} digests a request,"
                f" {sum(tenant.devices for tenant in of_tier):,} devices"
            )
    return lines


def _exponent(count: int, total: float) -> float:
    """The power by which sizes fall with the rank, so that ``count`` of them are ``total`` times the first; 0 where even equal ones are less."""
    low, high = 0.0, 10.0
    for _ in range(60):
        middle = (low + high) / 2
        if sum(rank**-middle for rank in range(1, count + 1)) > total:
            low = middle
        else:
            high = middle
    return low
