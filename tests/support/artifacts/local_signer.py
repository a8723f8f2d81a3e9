"""A signer whose key is here: what the queue, a worker and a lane do for a client, without them."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric import ec, rsa

from queueing.artifacts.cms import Signer
from queueing.client.signatures import Outcome, Signature
from queueing.errors import DigestLength, SigningError
from queueing.protocol.algorithms import Algorithm
from queueing.protocol.priorities import Priority
from tests.support.certificates import issue
from tests.support.keys import sign_digest


@dataclass(slots=True)
class LocalSigner:
    """Key and certificate; ``signed`` has the digests that were signed. ``fail_next``: error of the next one."""

    key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
    algorithm: Algorithm
    certificates: tuple[bytes, ...]
    signed: list[bytes] = field(default_factory=list)
    fail_next: SigningError | None = None

    @classmethod
    def p256(cls, name: str = "release") -> LocalSigner:
        key, authority = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
        chain = (issue(authority, key, name), issue(None, authority, "CA"))
        return cls(key, Algorithm.ECDSA_SHA_256, chain)

    @classmethod
    def rsa(cls, algorithm: Algorithm = Algorithm.RSASSA_PKCS1_V1_5_SHA_256) -> LocalSigner:
        key, authority = rsa.generate_private_key(65537, 2048), ec.generate_private_key(ec.SECP256R1())
        return cls(key, algorithm, (issue(authority, key, "release"), issue(None, authority, "CA")))

    @property
    def signer(self) -> Signer:
        return Signer.of(self.certificates, self.algorithm)

    def sign(self, digest: bytes) -> bytes:
        self.signed.append(digest)
        return sign_digest(self.key, self.algorithm, digest)

    async def sign_many(
        self,
        key: str,
        digests: AsyncIterator[bytes],
        algorithm: Algorithm,
        request_id: str | None,
        *,
        priority: Priority,
        timeout_s: float | None,
    ) -> AsyncGenerator[Outcome, None]:
        """As ``SigningClient`` has it."""
        async for digest in digests:
            failure, self.fail_next = self.fail_next, None
            if type(digest) is not bytes:
                yield DigestLength("no digest")
            elif failure is not None:
                yield failure
            else:
                yield Signature(
                    signature=self.sign(digest),
                    algorithm=algorithm,
                    key=key,
                    key_version=1,
                    public_key_sha256=self.signer.public_key.sha256,
                    job_id="job",
                    verified=True,
                )
