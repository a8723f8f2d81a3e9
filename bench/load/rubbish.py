"""Kinds of rubbish: jobs that a client with write access to a tenant's queue can make, without a client key of the tenant.

They are written past our client, straight under arq's keys. Pure: nothing here speaks to Redis.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from queueing.protocol.client_keys import ClientKey
from queueing.protocol.envelope import Envelope, encode_body, seal
from queueing.unix_time import unix_ms
from workers.dev.tenants import CLIENT, KEY

DIGESTS: Final = 16
SPECIMENS: Final = 32
"""Different payloads of a kind; they are used in turn, under ever new ids."""

NESTED: Final = 100_000
OVER_LARGE_BYTES: Final = 300 * 1024
"""Above the largest payload that a claim passes on (256 KiB)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Victim:
    """Tenant in whose queue the rubbish is put; what its envelopes would name."""

    audience: str
    tenant: str
    algorithm: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Specimen:
    """One job: its payload, and a part of its id, which comes behind the tenant's tag."""

    payload: bytes
    id_prefix: bytes = b"stock-"


def envelope(victim: Victim, **changes: Any) -> Envelope:
    """A good envelope of this victim, with these fields changed."""
    now_ms = unix_ms()
    fields = {
        "audience": victim.audience,
        "tenant": victim.tenant,
        "client": CLIENT,
        "key": KEY,
        "key_version": 0,
        "algorithm": victim.algorithm,
        "issued_at_ms": now_ms,
        "expires_at_ms": now_ms + 3_600_000,
        "idempotency_key": os.urandom(16),
        "digests": tuple(os.urandom(32) for _ in range(DIGESTS)),
    }
    return Envelope(**{**fields, **changes})


def _job(sealed: bytes, hints: object = None) -> bytes:
    now_ms = unix_ms()
    return msgspec.msgpack.encode({"t": None, "f": "sign", "a": [sealed], "k": hints or {}, "et": now_ms})


def _unsigned(victim: Victim) -> Specimen:
    return Specimen(payload=_job(msgspec.msgpack.encode([encode_body(envelope(victim)), b""])))


def _forged(victim: Victim) -> Specimen:
    return Specimen(payload=_job(seal(envelope(victim), ClientKey.generate())))


def _stranger(victim: Victim) -> Specimen:
    return Specimen(payload=_job(seal(envelope(victim, client="nobody"), ClientKey.generate())))


def _over_large(victim: Victim) -> Specimen:
    return Specimen(payload=_job(seal(envelope(victim), ClientKey.generate()) + os.urandom(OVER_LARGE_BYTES)))


def _nested(victim: Victim) -> Specimen:
    sealed = seal(envelope(victim), ClientKey.generate())
    return Specimen(payload=_job(sealed, msgspec.Raw(b"\x91" * NESTED + b"\xc0")))


def _malformed_hints(victim: Victim) -> Specimen:
    return Specimen(
        payload=_job(seal(envelope(victim), ClientKey.generate()), {"n": 7, "alg": "SHA1", "re": "../queue"})
    )


def _odd_name(victim: Victim) -> Specimen:
    return Specimen(payload=_unsigned(victim).payload, id_prefix=b"\xff\xfe\x1b[31m")


KINDS: Final[Mapping[str, Callable[[Victim], Specimen]]] = {
    "unsigned envelopes": _unsigned,
    "forged signatures": _forged,
    "unknown clients": _stranger,
    "over-large payloads": _over_large,
    "nested msgpack": _nested,
    "malformed hints": _malformed_hints,
    "names that are not UTF-8": _odd_name,
}


def specimens(kind: str, victim: Victim) -> list[Specimen]:
    """Some jobs of a kind."""
    return [KINDS[kind](victim) for _ in range(SPECIMENS)]
