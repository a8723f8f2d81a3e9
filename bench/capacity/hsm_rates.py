"""Published signing rates of HSMs, with where each was read and how far to trust it.

A published rate is a peak: one key, looked up once, many sessions, nothing else on the device. Plan with a
utilisation below 1 and measure the device you buy.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

import msgspec

from queueing.protocol.algorithms import KeyKind


class Trust(StrEnum):
    """Source of a published rate, and how far it can be trusted."""

    VENDOR = "vendor"  # read in the vendor's own public documentation
    UNVERIFIED = "unverified"  # quoted from product briefs from memory: no copy of the page was at hand
    ESTIMATED = "estimated"  # scaled from another kind of key of the same device


class HsmModel(msgspec.Struct, frozen=True, kw_only=True):
    """Signatures a second of one device, by kind of key."""

    name: str
    per_s: Mapping[KeyKind, float]
    trust: Trust
    source: str
    note: str = ""


class HsmRate(msgspec.Struct, frozen=True, kw_only=True):
    """One device's rate for one kind of key."""

    model: str
    per_s: float
    trust: Trust
    source: str


MODELS: Final[Mapping[str, HsmModel]] = {
    model.name: model
    for model in (
        HsmModel(
            name="aws-cloudhsm-hsm2m.medium",
            # the page gives clusters of two HSMs: 2,000 RSA-2048 and 3,000 P-256 signatures a second
            per_s={KeyKind.RSA_2048: 1_000.0, KeyKind.P256: 1_500.0},
            trust=Trust.VENDOR,
            source="AWS CloudHSM User Guide, 'AWS CloudHSM performance information'",
            note="per HSM of a cluster of two; six HSMs reach 5,000 and 7,000 in all, so it flattens",
        ),
        HsmModel(
            name="azure-managed-hsm",
            per_s={
                KeyKind.RSA_2048: 900.0,
                KeyKind.RSA_3072: 340.0,
                KeyKind.RSA_4096: 150.0,
                KeyKind.P256: 330.0,
                KeyKind.P384: 160.0,
            },
            trust=Trust.VENDOR,
            source="Microsoft Learn, 'Azure Managed HSM scaling guidance'",
            note="per partition, best case with one key; many keys reach less",
        ),
        HsmModel(
            name="thales-luna-sa-7000",
            per_s={KeyKind.RSA_2048: 1_200.0, KeyKind.RSA_4096: 160.0, KeyKind.P256: 1_000.0},
            trust=Trust.VENDOR,
            source="Thales Docs, Luna SA 5.3, Administration, 'Frequently Asked Questions'",
            note="a generation behind; kept because its figures are in the documentation",
        ),
        HsmModel(
            name="thales-luna-7-a790",
            per_s={KeyKind.RSA_2048: 10_000.0, KeyKind.P256: 22_000.0},
            trust=Trust.UNVERIFIED,
            source="Thales Luna Network HSM 7 product brief (not at hand when this table was made)",
            note="documentation names about 30 threads per HSM as the best load",
        ),
    )
}

# Cost relative to RSA-2048 where a device publishes no rate: the private operation grows with the third power
# of the modulus (3072: 3.4, 4096: 8), which is near Azure's 900:340:150.
RSA_WEIGHT: Final[Mapping[KeyKind, float]] = {
    KeyKind.RSA_2048: 1.0,
    KeyKind.RSA_3072: 3.4,
    KeyKind.RSA_4096: 8.0,
}
# Relative to P-256, by the same rule for the field: (384/256)^3, (521/256)^3; near Azure's 330:160 at worst.
EC_WEIGHT: Final[Mapping[KeyKind, float]] = {KeyKind.P256: 1.0, KeyKind.P384: 3.4, KeyKind.P521: 8.4}


def hsm_rate(model: HsmModel, kind: KeyKind) -> HsmRate:
    """The device's rate, scaled from a smaller key of its family where none is published.

    Raises ``LookupError`` where nothing of the family is known (Ed25519 is never guessed).
    """
    if kind in model.per_s:
        return HsmRate(model=model.name, per_s=model.per_s[kind], trust=model.trust, source=model.source)
    for weights in (RSA_WEIGHT, EC_WEIGHT):
        base = next(iter(weights))
        if kind in weights and base in model.per_s:
            return HsmRate(
                model=model.name,
                per_s=model.per_s[base] / weights[kind],
                trust=Trust.ESTIMATED,
                source=f"scaled from {base} by the third power of the size; {model.source}",
            )
    raise LookupError(f"no rate of {model.name} for {kind} is known: give one with per_s")
