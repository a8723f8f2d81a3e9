"""A worker without HSM: claims real jobs, signs with keys in memory, commits real results.

It stands where a worker and its lanes stand, so the client's tests need neither. ``tamper`` changes a result
before it is committed, as whoever owns Redis could.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Self

from cryptography.hazmat.primitives.asymmetric import ec
from msgspec.structs import replace
from redis.asyncio import Redis

from queueing.broker.claims import ClaimedJob, ClaimRequest, ClaimResult, Claims, Commit, Retention
from queueing.errors import JobExpired, KeyUnknown, QueueUnavailable, SigningError
from queueing.protocol import keyspace
from queueing.protocol.algorithms import DEFAULT_FOR_KEY, FACTS, Algorithm
from queueing.protocol.client_keys import ClientPublicKey
from queueing.protocol.envelope import Envelope, read_unverified
from queueing.protocol.jobs import (
    ArqResult,
    JobOutcome,
    ResultHints,
    WireError,
    content_hash,
    decode_job,
    encode_result,
)
from queueing.protocol.key_directory import (
    KeyDirectory,
    KeyEntry,
    KeyState,
    KeyVersionEntry,
    directory_digest,
    encode_directory,
    encode_signed,
)
from queueing.protocol.public_keys import PublicKey
from queueing.unix_time import unix_ms
from tests.support.keys import PrivateKey, sign_digest, spki_of

AUDIENCE = "test/eu"


@dataclass(slots=True)
class KeyRing:
    """The versions of one key, from old to new; the newest active one signs."""

    versions: dict[int, PrivateKey]
    states: dict[int, KeyState] = field(default_factory=dict)

    @classmethod
    def p256(cls) -> Self:
        return cls({1: ec.generate_private_key(ec.SECP256R1())})

    def state(self, version: int) -> KeyState:
        return self.states.get(version, "active")

    def active(self) -> int:
        return max(v for v in self.versions if self.state(v) == "active")

    def entry(self) -> KeyEntry:
        public = {v: PublicKey.from_spki(spki_of(key)) for v, key in self.versions.items()}
        kind = public[max(public)].kind
        return KeyEntry(
            algorithms=tuple(a for a, facts in FACTS.items() if kind in facts.key_kinds),
            default_algorithm=DEFAULT_FOR_KEY[kind],
            versions=tuple(
                KeyVersionEntry(version=v, state=self.state(v), public_key=key.spki)
                for v, key in public.items()
            ),
        )


class Responder:
    """Serves one tenant. ``signed`` counts how often each digest was signed; ``jobs`` how often each job."""

    def __init__(
        self,
        redis: Redis,
        tenant: str,
        keys: Mapping[str, KeyRing],
        *,
        service_key: PrivateKey | None = None,
        client_key: ClientPublicKey | None = None,
    ) -> None:
        self.redis = redis
        self.tenant = tenant
        self.keys = dict(keys)
        self.service_key = service_key or ec.generate_private_key(ec.SECP256R1())
        self.client_key = client_key
        self.tamper: Callable[[ArqResult], ArqResult] = lambda result: result
        self.push = True
        self.expire_next = 0
        self.refuse_next: SigningError | None = None
        self._open = asyncio.Event()
        self._open.set()
        self._step = asyncio.Lock()
        self.answered = asyncio.Event()
        self.signed: Counter[bytes] = Counter()
        self.jobs: Counter[str] = Counter()
        self._claims = Claims(redis, owner="responder", lease_ms=15_000)

    def move_to(self, redis: Redis) -> None:
        """Claim from another Redis from now on."""
        self.redis = redis
        self._claims = Claims(redis, owner="responder", lease_ms=15_000)

    async def publish(self, *, epoch: int = 1, expires_in_ms: int = 3_600_000) -> None:
        """Publish the key directory as it is now."""
        raw = self.directory(epoch=epoch, expires_in_ms=expires_in_ms)
        await self.redis.set(keyspace.directory(self.tenant), raw)

    def directory(self, *, epoch: int = 1, expires_in_ms: int = 3_600_000) -> bytes:
        body = encode_directory(
            KeyDirectory(
                audience=AUDIENCE,
                tenant=self.tenant,
                epoch=epoch,
                issued_at_ms=unix_ms(),
                expires_at_ms=unix_ms() + expires_in_ms,
                keys={name: ring.entry() for name, ring in self.keys.items()},
            )
        )
        service = PublicKey.from_spki(spki_of(self.service_key))
        algorithm = DEFAULT_FOR_KEY[service.kind]
        signature = sign_digest(self.service_key, algorithm, directory_digest(body, algorithm))
        return encode_signed(body, signature, service.sha256)

    async def pause(self) -> None:
        """Claim nothing more; returns when what was claimed is committed."""
        self._open.clear()
        async with self._step:
            pass

    def resume(self) -> None:
        """Go on."""
        self._open.set()

    async def run(self) -> None:
        """Claim and commit until cancelled."""
        while True:
            await self._open.wait()
            async with self._step:
                try:
                    done = await self.step() if self._open.is_set() else 0
                except QueueUnavailable:
                    done = 0
            if not done:
                await asyncio.sleep(0.002)

    async def step(self, most_jobs: int = 64) -> int:
        """One claim and its commits; how many jobs it was."""
        request = ClaimRequest(tenant=self.tenant, most_jobs=most_jobs, most_digests=1_000_000)
        (claimed,) = await self._claims.claim([request])
        assert isinstance(claimed, ClaimResult), claimed
        commits = [self.answer(job) for job in claimed.jobs]
        if commits:
            await self._claims.commit({self.tenant: commits}, Retention(result_ms=3_600_000))
            self.answered.set()
        return len(commits)

    def answer(self, job: ClaimedJob) -> Commit:
        """Result as a worker and its lane would write it."""
        started = unix_ms()
        content, reply_id, outcome = b"", "", WireError("envelope.malformed")
        result: JobOutcome | WireError = outcome
        try:
            assert job.payload is not None
            queued = decode_job(job.payload)
            reply_id = queued.hints.re if self.push else ""
            unverified = read_unverified(queued.sealed)
            content = content_hash(unverified.envelope)
            if self.client_key is not None:
                self.client_key.verify_envelope(unverified.signed_bytes, unverified.signature)
            refusal, self.refuse_next = self.refuse_next, None
            if refusal is not None:
                raise refusal
            result = self._sign(unverified.envelope)
        except SigningError as error:
            result = WireError.of(error)
        self.jobs[job.job_id.decode("ascii", "replace")] += 1
        success = isinstance(result, JobOutcome)
        again = (
            int(not success and result.code in {JobExpired.reason, "limit.backlog"})
            if isinstance(result, WireError)
            else 0
        )
        arq_result = ArqResult(
            k=ResultHints(h=content, again=again),
            et=started,
            s=success,
            r=result,
            st=started,
            ft=unix_ms(),
            q=keyspace.queue(self.tenant),
            id=job.job_id.decode("ascii", "replace"),
        )
        return Commit(job.job_id, job.lease, encode_result(self.tamper(arq_result)), reply_id)

    def _sign(self, envelope: Envelope) -> JobOutcome:
        if self.expire_next or envelope.expires_at_ms <= unix_ms():
            self.expire_next = max(0, self.expire_next - 1)
            raise JobExpired
        ring = self.keys.get(envelope.key)
        if ring is None:
            raise KeyUnknown
        version = envelope.key_version or ring.active()
        key = ring.versions[version]
        algorithm = Algorithm(envelope.algorithm)
        signatures: list[bytes | None] = []
        errors: dict[int, WireError] = {}
        for i, digest in enumerate(envelope.digests):
            try:
                signatures.append(sign_digest(key, algorithm, digest))
                self.signed[digest] += 1
            except SigningError as error:
                signatures.append(None)
                errors[i] = WireError.of(error)
        return JobOutcome(
            key=envelope.key,
            key_version=version,
            public_key_sha256=PublicKey.from_spki(spki_of(key)).sha256,
            algorithm=envelope.algorithm,
            signatures=tuple(signatures),
            errors=errors,
        )


def tampered(result: ArqResult, **changes: object) -> ArqResult:
    """The result with its outcome changed."""
    return replace(result, r=replace(result.r, **changes))
