"""Tables of issuers and identities in a tenant's file, as structs."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from queueing.protocol.names import Name

ClaimName = Annotated[str, Meta(pattern=r"^[!-~]{1,128}\Z")]
ClaimText = Annotated[str, Meta(min_length=1, max_length=512)]
ClaimNumber = Annotated[int, Meta(ge=-(2**53), le=2**53)]
Claims = Annotated[dict[ClaimName, ClaimText | ClaimNumber | bool], Meta(max_length=32)]
Patterns = Annotated[dict[ClaimName, ClaimText], Meta(max_length=32)]


class IssuerSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[issuers.NAME]`` of a tenant: SPKI in base64 (Ed25519 or ECDSA P-256) of an issuer of grants.

    A grant lives for ``max_grant_s`` and permits ``max_digests`` at most, whatever the issuer signs. ``keys``: those that it may
    grant at most; each key names its ``issuers`` besides.
    """

    public_key: str
    expires: datetime
    state: Literal["active", "revoked"] = "active"
    max_grant_s: Annotated[float, Meta(ge=10, le=86_400)] = 900.0
    max_digests: Annotated[int, Meta(ge=1, le=2**31)] = 2000
    keys: tuple[Name, ...] | None = None


class IdentitySettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[[keys.NAME.identities]]``: an identity that gets grants for the key. The issuer judges it, lanes ignore it.

    ``issuer_url``: the token's ``iss``, or ``x509:NAME`` for certificates of an authority that the issuer's file names.
    ``claims``: texts, numbers and booleans that must be equal; ``patterns``: texts with ``*`` for one or more characters other than
    ``/`` and ``:``, which the whole claim must fit.
    ``A/B`` is the claim B within A. ``max_digests``: of one grant, within the issuer's.
    """

    issuer_url: Annotated[str, Meta(pattern=r"^(?:https?://[!-~]{1,500}|x509:[a-z0-9][a-z0-9._-]{0,62})\Z")]
    audience: Annotated[str, Meta(min_length=1, max_length=500)] | None = None
    claims: Claims = {}
    patterns: Patterns = {}
    max_digests: Annotated[int, Meta(ge=1, le=2**31)] | None = None
