"""Issue of grants: from a request as it came to a signed grant, or a refusal. Runs in the issuer's lane.

It verifies everything itself: the token by the providers' keys in files, the claims by the tenants' files, the possession of the
ephemeral key. Of what the front says it believes only that a TLS client has the private key of its certificate.
"""

from __future__ import annotations

import logging
import os
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from queueing.errors import ConfigError, GrantRefused, IssuerUnavailable, SigningError
from queueing.protocol.grants.grant import (
    MAX_ALGORITHMS,
    MAX_KEYS,
    Grant,
    encode_body,
    encode_sealed,
    signing_input,
    subject_of,
)
from queueing.protocol.grants.grant_request import (
    KEY_MARK,
    GrantJudged,
    audience_for,
    encode_json,
    read_request,
)
from workers.issuer.frames import Granted, Judged, Refused, RequestGrant
from workers.issuer.identity.certificates import MAX_CERTIFICATE_BYTES, CertificateVerifier
from workers.issuer.identity.refusals import Outcome, TokenRefused
from workers.issuer.identity.rules import decide
from workers.issuer.identity.signed_token import TokenVerifier, UnknownKey

if TYPE_CHECKING:
    from queueing.protocol.grants.grant_request import GrantRequest
    from workers.issuer.identity.rules import Decision, TenantRules
    from workers.issuer.identity.signed_token import Provider, VerifiedIdentity
    from workers.issuer.identity.used_tokens import UsedTokens
    from workers.issuer.issuer_file import IssuerConfiguration
    from workers.issuer.rule_files import RuleFiles

log = logging.getLogger("sigmill.issuer")


class GrantKey(Protocol):
    """Key of the issuer."""

    def sign(self, message: bytes) -> bytes:
        """Signature over the message: ECDSA P-256 with SHA-256 in DER. Raises ``SigningError``."""


class KeyRefresh(Protocol):
    """Request to the host to fetch a provider's keys."""

    def want(self, provider: str) -> None:
        """Ask for the keys of this provider. Never waits, raises nothing."""


class Clock(Protocol):
    """Clock of this host."""

    def __call__(self) -> float:
        """Unix time in seconds."""


class Issuer:
    """Issuer of grants with one key. One request at a time."""

    def __init__(
        self,
        configuration: IssuerConfiguration,
        *,
        files: RuleFiles,
        used: UsedTokens,
        key: GrantKey,
        refresh: KeyRefresh,
        clock: Clock = time.time,
    ) -> None:
        self._configuration = configuration
        self._files = files
        self._used = used
        self._key = key
        self._refresh = refresh
        self._clock = clock
        self._tokens = TokenVerifier(configuration.identity_providers())
        self._certificates = CertificateVerifier(configuration.authorities())

    def answer(self, asked: RequestGrant) -> Granted | Judged | Refused:
        """The answer to one request. Raises nothing that is the request's fault."""
        provider = ""
        try:
            request = read_request(asked.body)
            token_provider = self._tokens.provider_of(request.token) if request.token else None
            provider = "" if token_provider is None else token_provider.name
            identity = self._identity(request, token_provider, asked.certificate)
            provider = identity.provider
            return self._judged(asked, request, identity)
        except ConfigError as error:
            log.error("issuer.file_wrong", extra={"why": str(error), "hint": error.remedy})
            unusable = IssuerUnavailable("a file of the issuer is wrong; its operator finds it in the log")
            return self._refused(asked.id, provider, unusable)
        except SigningError as error:
            return self._refused(asked.id, provider, error)

    def _identity(
        self, request: GrantRequest, provider: Provider | None, certificate: bytes
    ) -> VerifiedIdentity:
        now_s = self._clock()
        if provider is None:
            if not certificate:
                raise TokenRefused(
                    Outcome.CERTIFICATE,
                    f"the request has neither a token nor a certificate of at most {MAX_CERTIFICATE_BYTES} bytes",
                )
            return self._certificates.verify(certificate, now_s)
        keys = self._files.provider_keys(provider.name, now_s)
        try:
            return self._tokens.verify(request.token, provider, keys, now_s)
        except UnknownKey:
            self._refresh.want(provider.name)
            raise

    def _judged(
        self, asked: RequestGrant, request: GrantRequest, identity: VerifiedIdentity
    ) -> Granted | Judged:
        """The grant of an identity that is verified, or what it would permit."""
        request.check_proof(self._configuration.audience)
        identity = self._for_key(identity, request.public_key)
        tenant = self._files.tenant(request.tenant, self._clock())
        decision = decide(identity, tenant, request.keys)
        grant = self._content(request, identity, tenant, decision)
        if not asked.check:
            return self._granted(asked.id, grant, request, identity)
        judged = GrantJudged(
            provider=identity.provider,
            subject=grant.subject,
            keys=grant.keys,
            algorithms=grant.algorithms,
            max_digests=grant.max_digests,
            life_s=(grant.expires_ms - grant.not_before_ms) / 1000,
        )
        return Judged(asked.id, encode_json(judged), identity.provider)

    def _for_key(self, identity: VerifiedIdentity, public_key: bytes) -> VerifiedIdentity:
        """The identity with the audience of the rules. Raises ``TokenRefused`` where the token names another key, or has to name one."""
        if identity.audience is None:
            return identity
        audience, mark, _ = identity.audience.partition(KEY_MARK)
        if mark and identity.audience != audience_for(audience, public_key):
            raise TokenRefused(Outcome.PROOF, "claim `aud` of the token names another key than the request's")
        if not mark and self._configuration.providers[identity.provider].bound:
            raise TokenRefused(
                Outcome.AUDIENCE,
                f"claim `aud` of the token names no key, and tokens of {identity.provider} must",
                hint="Set `bound = true` in `identity` of client.toml.",
            )
        return replace(identity, audience=audience)

    def _granted(
        self, number: int, grant: Grant, request: GrantRequest, identity: VerifiedIdentity
    ) -> Granted:
        """Record the token as the key's, then sign."""
        now_s = self._clock()
        body = encode_body(grant)
        if identity.use_id is not None:
            holder = grant.tenant, identity.provider, grant.subject
            self._used.bind(identity.use_id, request.public_key, holder, life=identity.life, now_s=now_s)
        sealed = self._seal(body)
        log.info(
            "issuer.granted",
            extra={
                "tenant": grant.tenant,
                "provider": identity.provider,
                "subject": grant.subject,
                "evidence": grant.evidence_sha256.hex(),
                "grant": grant.client,
                "keys": list(grant.keys),
                "expires_ms": grant.expires_ms,
            },
        )
        return Granted(number, sealed, grant.expires_ms, identity.provider)

    def _content(
        self, request: GrantRequest, identity: VerifiedIdentity, tenant: TenantRules, decision: Decision
    ) -> Grant:
        if len(decision.keys) > MAX_KEYS or len(decision.algorithms) > MAX_ALGORITHMS:
            raise GrantRefused(
                f"the identity may use {len(decision.keys)} keys, at most {MAX_KEYS} are in a grant",
                hint="Name the keys that this build needs.",
            )
        now_ms = int(self._clock() * 1000)
        life_ms = min(self._configuration.grant_ms, tenant.max_grant_ms)
        try:
            subject = subject_of(identity.subject)
        except ValueError as error:
            raise TokenRefused(Outcome.CLAIMS, f"claim `sub` cannot be a subject: {error}") from None
        return Grant(
            audience=self._configuration.audience,
            tenant=tenant.tenant,
            issuer=self._configuration.name,
            grant_id=os.urandom(16),
            subject=subject,
            evidence_sha256=identity.evidence_sha256,
            client_public_key=request.public_key,
            keys=decision.keys,
            algorithms=decision.algorithms,
            max_digests=min(self._configuration.max_digests, tenant.max_digests, decision.max_digests),
            not_before_ms=now_ms,
            expires_ms=now_ms + life_ms,
        )

    def _seal(self, body: bytes) -> bytes:
        signature = self._key.sign(signing_input(body))
        try:
            return encode_sealed(body, signature)
        except ValueError as error:
            raise GrantRefused(f"the grant would not be readable: {error}", hint="Name fewer keys.") from None

    def _refused(self, number: int, provider: str, error: SigningError) -> Refused:
        outcome = _outcome(error)
        if outcome is Outcome.REPLAYED:
            log.warning("issuer.replayed", extra={"provider": provider, "why": error.message})
        else:
            log.info(
                "issuer.refused",
                extra={"provider": provider, "outcome": str(outcome), "why": error.message},
            )
        return Refused.of(number, error, outcome, provider)


def _outcome(error: SigningError) -> Outcome:
    if isinstance(error, TokenRefused):
        return error.outcome
    if error.retryable:
        return Outcome.UNAVAILABLE
    return Outcome.PROOF if isinstance(error, GrantRefused) else Outcome.MALFORMED
