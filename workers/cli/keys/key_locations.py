"""Keys of the configuration in their tokens. All tokens are queried at once, one query each."""

from __future__ import annotations

import base64
import hashlib
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import TYPE_CHECKING

import msgspec
from cryptography import x509

from queueing.errors import ConfigError, SigningError, from_reason
from workers.cli.shell.output import ErrorObject, error_object
from workers.token_admin.owned_tokens import admin_of

if TYPE_CHECKING:
    from workers.config.loading import Configuration
    from workers.config.tenants import KeyVersion, Tenant
    from workers.token_admin.messages import FoundKeys, KeyFacts


class CertificateEnd(msgspec.Struct, frozen=True, kw_only=True):
    """End of one certificate of a key version. ``name``: that of its authority, empty for the first one."""

    name: str
    issuer: str
    ends: datetime


class KeyLocation(msgspec.Struct, frozen=True, kw_only=True):
    """One key version in one token. ``found`` None: the token could not be queried; see ``error``.

    ``key`` None: a key in the token that no version pins. ``certificate_ends``: end of its certificate that expires first;
    ``certificates``: the end of each.
    """

    tenant: str
    key: str | None
    version: int | None
    state: str | None
    token: str
    kind: str
    found: bool | None
    label: str | None
    public_key: str
    public_key_sha256: str
    attributes: dict[str, bool]
    certificate_ends: datetime | None = None
    certificates: tuple[CertificateEnd, ...] = ()
    error: ErrorObject | None = None


def key_locations(configuration: Configuration, tenants: list[Tenant]) -> list[KeyLocation]:
    """Every key version of these tenants in each of its tokens, and the unpinned keys of those tokens."""
    wanted = {
        token: [v for key in tenant.keys.values() for v in key.versions if token in v.tokens]
        for tenant in tenants
        for token in sorted(tenant.tokens)
    }
    with ThreadPoolExecutor() as pool:
        answers = dict(
            zip(wanted, pool.map(lambda t: _find(configuration, t, wanted[t]), wanted), strict=True)
        )
    return [
        location
        for tenant in tenants
        for token in sorted(tenant.tokens)
        for location in _locations_in(tenant.name, token, wanted[token], answers[token])
    ]


def certificate_ends(version: KeyVersion) -> tuple[CertificateEnd, ...]:
    """The end of each authority's certificate of a version, the one that expires first at the beginning."""
    found = []
    for name, chain in {"": version.certificates, **version.chains}.items():
        for raw in chain[:1]:
            leaf = x509.load_der_x509_certificate(raw)
            issuer = leaf.issuer.rfc4514_string()
            found.append(CertificateEnd(name=name, issuer=issuer, ends=leaf.not_valid_after_utc))
    return tuple(sorted(found, key=lambda each: (each.ends, each.name)))


def _find(
    configuration: Configuration, token: str, versions: list[KeyVersion]
) -> FoundKeys | SigningError | ConfigError:
    try:
        return admin_of(configuration, token).find([version.public_key.spki for version in versions])
    except (SigningError, ConfigError) as error:
        return error


def _locations_in(
    tenant: str, token: str, versions: list[KeyVersion], answer: FoundKeys | SigningError | ConfigError
) -> list[KeyLocation]:
    if isinstance(answer, SigningError | ConfigError):
        return [_unknown(tenant, token, version, error_object(answer)) for version in versions]
    present = {key.public_key: key for key in answer.present}
    locations = []
    for version, found in zip(versions, answer.found, strict=True):
        facts = present.pop(version.public_key.spki, None)
        error = None if not found.problem else ErrorObject.of(from_reason(found.code, found.problem))
        locations.append(
            msgspec.structs.replace(
                _unknown(tenant, token, version, error),
                found=not found.problem,
                label=None if facts is None else facts.label,
                attributes={} if facts is None else facts.attributes,
            )
        )
    return locations + [_unpinned(tenant, token, facts) for facts in present.values()]


def _unknown(tenant: str, token: str, version: KeyVersion, error: ErrorObject | None) -> KeyLocation:
    ends = certificate_ends(version)
    return KeyLocation(
        tenant=tenant,
        key=version.key,
        version=version.version,
        state=version.state_now,
        token=token,
        kind=version.public_key.kind,
        found=None,
        label=None,
        public_key=base64.b64encode(version.public_key.spki).decode(),
        public_key_sha256=version.public_key.sha256.hex(),
        attributes={},
        certificate_ends=ends[0].ends if ends else None,
        certificates=ends,
        error=error,
    )


def _unpinned(tenant: str, token: str, facts: KeyFacts) -> KeyLocation:
    return KeyLocation(
        tenant=tenant,
        key=None,
        version=None,
        state=None,
        token=token,
        kind=facts.kind,
        found=True,
        label=facts.label,
        public_key=base64.b64encode(facts.public_key).decode(),
        public_key_sha256=hashlib.sha256(facts.public_key).hexdigest(),
        attributes=facts.attributes,
    )
