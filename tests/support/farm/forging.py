"""Jobs made by hand: sealed with a client key, changed at will, and written under arq's keys without our client."""

from __future__ import annotations

import asyncio
import os
import time
from dataclasses import dataclass
from typing import Any

import msgspec
from redis.asyncio import Redis

from queueing.errors import SigningError
from queueing.protocol import keyspace
from queueing.protocol.client_keys import ClientKey
from queueing.protocol.envelope import DOMAIN, Envelope, seal
from queueing.protocol.jobs import JobOutcome, decode_result
from queueing.unix_time import unix_ms
from tests.support.waiting import PATIENCE_S
from workers.dev.tenants import AUDIENCE, CLIENT

ANSWER_S = PATIENCE_S


@dataclass(frozen=True, slots=True, kw_only=True)
class Forger:
    """A holder of a client key who writes envelopes as it pleases."""

    key: ClientKey
    tenant: str = "acme"

    def envelope(self, **changes: Any) -> Envelope:
        """A good envelope of one digest, valid for a minute, with these fields changed."""
        return Envelope(
            **{
                "audience": AUDIENCE,
                "tenant": self.tenant,
                "client": CLIENT,
                "key": "release",
                "key_version": 0,
                "algorithm": "ECDSA_SHA_256",
                "issued_at_ms": unix_ms(),
                "expires_at_ms": unix_ms() + 60_000,
                "idempotency_key": os.urandom(16),
                "digests": (os.urandom(32),),
                **changes,
            }
        )

    def seal(self, **changes: Any) -> bytes:
        """The sealed bytes of ``envelope(**changes)``; nothing is checked, so bad values travel."""
        return seal(self.envelope(**changes), self.key)

    def seal_raw(self, body: object) -> bytes:
        """Any msgpack value as a body, properly signed."""
        raw = msgspec.msgpack.encode(body)
        return msgspec.msgpack.encode([raw, self.key.sign_envelope(DOMAIN + raw)])


def payload(sealed: object, *, function: str = "sign", hints: dict[str, Any] | None = None) -> bytes:
    """A job in arq's form, as ``enqueue_job(function, sealed)`` writes it."""
    job = {"t": None, "f": function, "a": [sealed], "k": hints or {}, "et": unix_ms()}
    return msgspec.msgpack.encode(job)


def fresh_id(tenant: str = "acme") -> str:
    """A job id of a producer that names its jobs itself, with the tag of its tenant."""
    return f"{{{tenant}}}stock-{os.urandom(16).hex()}"


async def enqueue(
    redis: Redis, tenant: str, raw: bytes, job_id: str | bytes | None = None, *, keep_ms: int = 60_000
) -> bytes:
    """Write a job under arq's own keys, and ring; its id."""
    name = (job_id or fresh_id(tenant)) if not isinstance(job_id, bytes) else job_id
    encoded = name.encode() if isinstance(name, str) else name
    async with redis.pipeline(transaction=False) as pipe:
        pipe.set(b"arq:job:" + encoded, raw, px=keep_ms)
        pipe.zadd(keyspace.queue(tenant), {encoded: unix_ms()})
        pipe.publish(keyspace.doorbell(tenant), tenant)
        await pipe.execute()
    return encoded


async def outcome_of(redis: Redis, job_id: bytes, *, within_s: float = ANSWER_S) -> JobOutcome | SigningError:
    """Result of the job, read from arq's result key."""
    deadline = time.monotonic() + within_s
    while (raw := await redis.get(b"arq:result:" + job_id)) is None:
        if (
            time.monotonic() > deadline
        ):  # asyncio.timeout cancels once, and redis-py can swallow that (cpython#86296)
            raise TimeoutError
        await asyncio.sleep(0.005)
    return decode_result(raw).outcome
