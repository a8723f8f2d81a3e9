"""Cost of grants in a lane: CPU of authorising one envelope of a client, under a grant that is known, and under a new one.

No process but this one: what a lane does with an envelope before the HSM is asked. The three in turn, envelope by envelope; of
each envelope the least of many rounds, for others on the machine only ever make it more, and of the envelopes the median.
"""

from __future__ import annotations

import time
from statistics import median
from typing import TYPE_CHECKING, Final

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key

from bench.report.data import at_most
from queueing.ed25519 import load_libsodium
from queueing.protocol.algorithms import Algorithm
from queueing.protocol.client_keys import ClientKey, ClientKeyKind, ClientPublicKey
from queueing.protocol.envelope import Envelope, read_unverified, seal
from queueing.protocol.grants.grant import Grant, read_grant, seal_grant
from queueing.protocol.public_keys import PublicKey
from workers.config.issuers.issuers import TenantIssuer
from workers.config.key_policy import KeyPolicy
from workers.config.tenants import KeyVersion, Tenant, TenantClient, TenantKey
from workers.lanes.authorisation import authorise
from workers.lanes.grant_usage import GrantUsage
from workers.lanes.signatories import VerifiedGrants

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.session import Session
    from queueing.protocol.envelope import UnverifiedEnvelope

NEW_GRANT_US: Final = 110.0
"""A verification (60) and what is beside it; Ed25519 without libsodium is above."""

BESIDE_VERIFICATION_US: Final = 40.0
"""Reading a grant and its holder's key, its first count, and code that the processor has not at hand; 9 to 23 where it was measured."""

KNOWN_GRANT_US: Final = 5.0
"""The hash of 64 digests, and look-ups: a five hundredth of what 64 signatures cost."""

DIGESTS: Final = 64
ENVELOPES: Final = 100
ROUNDS: Final = 15
AUDIENCE: Final = "bench"
NOW_MS: Final = 1_900_000_000_000
_DAY_MS: Final = 86_400_000
_MOST_NS: Final = 2**62


class _Rules:
    """A tenant with a client and two issuers, of both kinds of keys."""

    def __init__(self) -> None:
        self.client = ClientKey.generate()
        self.holder = ClientKey.generate()
        self._grants: dict[tuple[str, int], tuple[str, bytes]] = {}
        self.issuers = {"ed25519": ClientKey.generate(), "p256": ClientKey.generate(ClientKeyKind.P256)}
        spki = ec.generate_private_key(ec.SECP256R1()).public_key()
        public = PublicKey.from_spki(spki.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))
        version = KeyVersion(
            key="release",
            version=1,
            state="active",
            public_key=public,
            tokens=("acme",),
            expires_at_ms=None,
            certificates=(),
        )
        key = TenantKey(
            name="release",
            algorithms=frozenset({Algorithm.ECDSA_SHA_256}),
            default_algorithm=Algorithm.ECDSA_SHA_256,
            profile="internal",
            versions=(version,),
            policy=KeyPolicy(clients=None, issuers=frozenset(self.issuers)),
        )
        client = TenantClient(
            name="build-1",
            public_key=ClientPublicKey.from_spki(self.client.public_spki),
            expires_at_ms=NOW_MS + _DAY_MS,
            revoked=False,
        )
        self.tenant = Tenant(
            name="acme",
            epoch=1,
            suspended=False,
            max_envelope_age_ms=_DAY_MS,
            clients={"build-1": client},
            issuers={name: _issuer(name, each) for name, each in self.issuers.items()},
            keys={"release": key},
            tenant_class="standard",
        )

    def envelope(self, number: int, *, issuer: str = "", grant: int = 0) -> UnverifiedEnvelope:
        """An envelope of the client, or under the issuer's grant of this number."""
        client: str = "build-1"
        sealed: bytes | None = None
        signer = self.client
        if issuer:
            client, sealed = self._sealed(issuer, grant)
            signer = self.holder
        made = Envelope(
            audience=AUDIENCE,
            tenant="acme",
            client=client,
            key="release",
            key_version=0,
            algorithm="ECDSA_SHA_256",
            issued_at_ms=NOW_MS,
            expires_at_ms=NOW_MS + 60_000,
            idempotency_key=number.to_bytes(16, "big"),
            grant=sealed,
            digests=tuple((number * DIGESTS + i).to_bytes(32, "big") for i in range(DIGESTS)),
        )
        return read_unverified(seal(made, signer))

    def _sealed(self, issuer: str, number: int) -> tuple[str, bytes]:
        """Client and bytes of a grant, signed once: ECDSA signatures of the same grant differ."""
        if (issuer, number) not in self._grants:
            given = self._grant(issuer, number)
            self._grants[issuer, number] = given.client, seal_grant(given, self.issuers[issuer])
        return self._grants[issuer, number]

    def verification_us(self, issuer: str) -> float:
        """One verification by the issuer's key."""
        unverified = read_grant(self._sealed(issuer, 0)[1])
        public = self.tenant.issuers[issuer].public_key
        least = [_MOST_NS] * ENVELOPES
        for _ in range(ROUNDS):
            for number in range(ENVELOPES):
                began = time.perf_counter_ns()
                unverified.verify(public)
                least[number] = min(least[number], time.perf_counter_ns() - began)
        return median(least) / 1000

    def _grant(self, issuer: str, number: int) -> Grant:
        return Grant(
            audience=AUDIENCE,
            tenant="acme",
            issuer=issuer,
            grant_id=number.to_bytes(16, "big"),
            subject="repo:acme/app:ref:refs/heads/main",
            evidence_sha256=bytes(32),
            client_public_key=load_der_public_key(self.holder.public_spki).public_bytes_raw(),  # type: ignore[union-attr] # Ed25519
            keys=("release",),
            algorithms=("ECDSA_SHA_256",),
            max_digests=1_000_000,
            not_before_ms=NOW_MS,
            expires_ms=NOW_MS + 900_000,
        )


def grants(session: Session) -> None:
    """Cost of a grant beside that of an envelope of 64 digests."""
    load_libsodium()
    rules = _Rules()
    for issuer in rules.issuers:
        clients = [rules.envelope(number) for number in range(ENVELOPES)]
        same = [rules.envelope(number, issuer=issuer) for number in range(ENVELOPES)]
        new = [rules.envelope(number, issuer=issuer, grant=number) for number in range(ENVELOPES)]
        own, known_us, new_us = _us(rules, (clients, same, new))
        verification_us = rules.verification_us(issuer)
        added_us = new_us - known_us
        note = (
            f"an envelope of a client: {own:.0f} us, under a known grant {known_us:.0f}, under a new one {new_us:.0f};"
            f" a verification of the issuer's key {verification_us:.0f}"
        )
        session.threshold(
            at_most(f"a new grant, {issuer} issuer", added_us, NEW_GRANT_US, unit="us", note=note)
        )
        beside_us = added_us - verification_us
        name = f"a new grant beside its verification, {issuer} issuer"
        session.threshold(at_most(name, beside_us, BESIDE_VERIFICATION_US, unit="us", note=note))
        session.threshold(
            at_most(f"a known grant, {issuer} issuer", known_us - own, KNOWN_GRANT_US, unit="us", note=note)
        )


def _us(rules: _Rules, kinds: Sequence[list[UnverifiedEnvelope]]) -> list[float]:
    """Time of one authorisation of each kind in us; the first envelope of a grant is not of it where others follow."""
    least = [[_MOST_NS] * ENVELOPES for _ in kinds]
    for _ in range(ROUNDS):
        lanes = [(VerifiedGrants(), GrantUsage()) for _ in kinds]
        for number in range(ENVELOPES):
            for kind, envelopes in enumerate(kinds):
                known, usage = lanes[kind]
                began = time.perf_counter_ns()
                _authorise(rules, envelopes[number], known, usage)
                took_ns = time.perf_counter_ns() - began
                least[kind][number] = min(least[kind][number], took_ns)
    return [median(each[1:]) / 1000 for each in least]


def _authorise(rules: _Rules, envelope: UnverifiedEnvelope, known: VerifiedGrants, usage: GrantUsage) -> None:
    done = authorise(envelope, rules.tenant, audience=AUDIENCE, now_ms=NOW_MS, grants=known)
    if done.grant is not None:
        usage.charge(done.grant, envelope, NOW_MS)


def _issuer(name: str, key: ClientKey) -> TenantIssuer:
    return TenantIssuer(
        name=name,
        public_key=ClientPublicKey.from_spki(key.public_spki),
        expires_at_ms=NOW_MS + _DAY_MS,
        revoked=False,
        max_grant_ms=900_000,
        max_digests=1_000_000,
    )
