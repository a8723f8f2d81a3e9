"""Signing requests, and the envelopes built of them: dates and the client key's signature are added last."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from typing import Final

import msgspec
from msgspec.structs import replace

from queueing.broker.submissions import Submission
from queueing.client.identity.credentials import ClientIdentity, Credential
from queueing.client.request_ids import idempotency_key, part_key
from queueing.errors import DigestLength, KeyUnknown
from queueing.protocol.algorithms import Algorithm
from queueing.protocol.envelope import CURRENT_VERSION, MAX_DIGEST_BYTES, Envelope, seal
from queueing.protocol.jobs import content_hash, job_id_of
from queueing.protocol.names import NAME_PATTERN
from queueing.protocol.priorities import Priority

DIGESTS_PER_SLICE: Final = 64
"""Positions of the input per envelope. Fixed, so that a run that starts again cuts the same envelopes; at 64
the client key's signature and its verification cost a few microseconds per digest."""

_NAME: Final = re.compile(NAME_PATTERN)
_VERSION: Final = re.compile(r"^[1-9][0-9]{0,8}\Z")


class KeySpec(msgspec.Struct, frozen=True):
    """``KEY`` or ``KEY/VERSION``; version 0 means the active one."""

    key: str
    key_version: int = CURRENT_VERSION

    @classmethod
    def parse(cls, text: str) -> KeySpec:
        """Read ``KEY[/VERSION]``; raises ``KeyUnknown`` (final) where that names no key."""
        key, slash, version = text.partition("/")
        if not _NAME.match(key):
            raise KeyUnknown("this is not a key's name")
        if not slash:
            return cls(key)
        if not _VERSION.match(version):
            raise KeyUnknown("a key's version is a number from 1")
        return cls(key, int(version))


class Target(msgspec.Struct, frozen=True):
    """Key, version and algorithm to sign with."""

    key: str
    key_version: int
    algorithm: Algorithm


class SigningRequest(msgspec.Struct, frozen=True):
    """One envelope before it is built. The same idempotency key and content is the same job, whatever its dates.

    ``receipt``: the client wants receipts of it.
    """

    target: Target
    idempotency_key: bytes
    digests: tuple[bytes, ...]
    priority: Priority = Priority.NORMAL
    receipt: bool = False

    @classmethod
    def of(
        cls,
        target: Target,
        digests: Sequence[bytes],
        request_id: str | None,
        priority: Priority = Priority.NORMAL,
        *,
        receipt: bool = False,
    ) -> SigningRequest:
        """A request whose idempotency key is derived from the request id, or random without one."""
        key = idempotency_key(request_id, target.key, target.key_version, target.algorithm, digests)
        return cls(target, key, tuple(digests), priority, receipt)

    def parts(self, most: int) -> tuple[SigningRequest, ...]:
        """This request, or where it has more than ``most`` digests, several: always the same for the same ``most``."""
        count = len(self.digests)
        if count <= most:
            return (self,)
        places = [(start, min(most, count - start)) for start in range(0, count, most)]
        return tuple(
            replace(
                self,
                idempotency_key=part_key(self.idempotency_key, start, length),
                digests=self.digests[start : start + length],
            )
            for start, length in places
        )


class CutRequests(msgspec.Struct, frozen=True):
    """Requests of a job's digests, ``DIGESTS_PER_SLICE`` positions each; ``refused``: position -> why it is not sent."""

    requests: tuple[SigningRequest, ...]
    refused: dict[int, str]
    count: int


def cut_requests(
    target: Target,
    digests: Iterable[object],
    request_id: str | None,
    priority: Priority,
    *,
    receipt: bool = False,
) -> CutRequests:
    """Cut the digests of a job into requests. Neither the cut nor a refused digest moves another one."""
    source = iter(digests)
    requests: list[SigningRequest] = []
    refused: dict[int, str] = {}
    count = 0
    while part := list(islice(source, DIGESTS_PER_SLICE)):
        good, bad = split_valid(part)
        refused.update({count + i: error.message for i, error in bad.items()})
        count += len(part)
        if good:
            requests.append(SigningRequest.of(target, good, request_id, priority, receipt=receipt))
    return CutRequests(tuple(requests), refused, count)


class EnvelopeBuilder:
    """Builds envelopes: gives requests their dates and the client's signature."""

    def __init__(
        self,
        *,
        audience: str,
        tenant: str,
        identity: ClientIdentity,
        ttl_ms: int,
        reply_id: str,
        now_ms: Callable[[], int],
    ) -> None:
        self._audience = audience
        self._tenant = tenant
        self.identity = identity
        self._ttl_ms = ttl_ms
        self._reply_id = reply_id
        self._now_ms = now_ms

    def job_id(self, request: SigningRequest) -> str:
        """The id that the request's job has or will have."""
        return job_id_of(self._tenant, request.idempotency_key)

    async def fitting(
        self, request: SigningRequest, deadline_s: float | None = None
    ) -> tuple[SigningRequest, ...]:
        """The request, or its parts where a grant permits fewer digests. Raises as ``seal``."""
        await self.identity.ready(deadline_s)
        return request.parts(self.identity.largest_envelope)

    async def seal(self, request: SigningRequest, deadline_s: float | None = None) -> Submission:
        """An envelope from now until the time to live ends, or the grant. Costs one client-key signature (about 55 us).

        Waits only where a grant has to be obtained first; then raises as ``GrantedIdentity.credential``.
        """
        return self.seal_with(await self.identity.credential(len(request.digests), deadline_s), request)

    def seal_with(self, credential: Credential, request: SigningRequest) -> Submission:
        """An envelope under this credential."""
        now_ms = self._now_ms()
        expires_at_ms = now_ms + self._ttl_ms
        if credential.expires_ms is not None:
            expires_at_ms = min(expires_at_ms, credential.expires_ms)
        envelope = Envelope(
            audience=self._audience,
            tenant=self._tenant,
            client=credential.client,
            key=request.target.key,
            key_version=request.target.key_version,
            algorithm=request.target.algorithm,
            issued_at_ms=now_ms,
            expires_at_ms=expires_at_ms,
            idempotency_key=request.idempotency_key,
            grant=credential.grant,
            digests=request.digests,
        )
        return Submission(
            job_id=self.job_id(request),
            envelope=envelope,
            sealed=seal(envelope, credential.signer),
            content=content_hash(envelope),
            reply_id=self._reply_id,
            priority=request.priority,
            receipt=request.receipt,
        )


def split_valid(digests: Iterable[object]) -> tuple[list[bytes], dict[int, DigestLength]]:
    """The digests that can travel, in order, and the error of each other one by its position.

    Only what is no bytes at all, or longer than any digest, stays here; wrong lengths are for the service to
    refuse one by one, which counts them.
    """
    good: list[bytes] = []
    bad: dict[int, DigestLength] = {}
    for position, digest in enumerate(digests):
        if type(digest) is bytes and len(digest) <= MAX_DIGEST_BYTES:
            good.append(digest)
        elif isinstance(digest, bytes | bytearray | memoryview) and len(digest) <= MAX_DIGEST_BYTES:
            good.append(bytes(digest))
        else:
            bad[position] = _not_sendable(digest)
    return good, bad


def _not_sendable(digest: object) -> DigestLength:
    if isinstance(digest, bytes | bytearray | memoryview):
        return DigestLength(f"the digest has {len(digest)} bytes; the longest that is signed has 64")
    return DigestLength(f"a digest is bytes, this is {type(digest).__name__}")
