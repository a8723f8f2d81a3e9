"""Request for a grant, and its answer, as JSON over HTTPS: ``POST URL/v1/grants``.

Request and answers::

    {"token": text, "public_key": base64 of 32 bytes, "proof": base64 of 64 bytes, "tenant": name, "keys": [name, ...]}
    200    {"grant": base64, "expires_ms": Unix ms}
    else   {"error": {"code": text, "message": text, "hint": text}}

``POST URL/v1/grants/check`` takes the same request, signs nothing, and answers 200 with what a grant would permit (``GrantJudged``).

``proof`` is the signature of the ephemeral key over ``proof_input``: who has read a token on its way gets no grant for a key of
another's. It binds the audience of the cluster, so that it is of no use to another cluster's issuer.
"""

from __future__ import annotations

import base64
import hashlib
import json
from typing import TYPE_CHECKING, Annotated, Final, TypeVar

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from queueing.ed25519 import verify_ed25519
from queueing.errors import GrantMalformed, GrantRefused, ResultInvalid
from queueing.protocol.grants.grant import MAX_GRANT_BYTES, MAX_KEYS
from queueing.protocol.names import Name

if TYPE_CHECKING:
    from queueing.protocol.envelope import EnvelopeSigner

PATH: Final = "/v1/grants"
"""Path of the request below the issuer's URL."""

CHECK_PATH: Final = "/v1/grants/check"
"""Path of the same request for a judgement alone: nothing is signed, and the token stays free for any key."""

PROOF_DOMAIN: Final = b"sigmill-grant-proof-v1\x00"
"""Separates proofs from envelopes, which the same ephemeral key signs."""

MAX_TOKEN_CHARACTERS: Final = 16 * 1024
"""A token of a build with many claims has 2 to 4 kB."""

MAX_REQUEST_BYTES: Final = 32 * 1024
"""The longest token, with all keys that a grant may have."""

MAX_ANSWER_BYTES: Final = 32 * 1024

_Bytes32 = Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]
_Bytes64 = Annotated[bytes, msgspec.Meta(min_length=64, max_length=64)]


KEY_MARK: Final = "#key="
"""Between the audience and the key in the ``aud`` of a token that names the key which may use it (``audience_for``)."""


def audience_for(audience: str, public_key: bytes) -> str:
    """``aud`` to ask a provider for where the caller may choose it: the token then serves this ephemeral key alone.

    The key is its SHA-256 in base64url without padding, as in RFC 7638.
    """
    thumbprint = base64.urlsafe_b64encode(hashlib.sha256(public_key).digest()).rstrip(b"=").decode()
    return f"{audience}{KEY_MARK}{thumbprint}"


class GrantRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Request. ``token``: of the build's provider, or '' where the certificate of the TLS connection is the identity.

    ``keys``: those that the caller needs; none asks for all that its identity may use.
    """

    token: Annotated[str, msgspec.Meta(pattern=r"^[!-~]{0,16384}\Z")]
    public_key: _Bytes32
    proof: _Bytes64
    tenant: Name
    keys: Annotated[tuple[Name, ...], msgspec.Meta(max_length=MAX_KEYS)] = ()

    @property
    def evidence_sha256(self) -> bytes:
        """SHA-256 of the token, for the grant."""
        return hashlib.sha256(self.token.encode()).digest()

    def check_proof(self, audience: str) -> None:
        """Raise ``GrantRefused`` (final) unless the ephemeral key has signed this request for the cluster ``audience``.

        Costs about 60 us, 105 without libsodium.
        """
        message = proof_input(
            token=self.token,
            tenant=self.tenant,
            audience=audience,
            public_key=self.public_key,
            keys=self.keys,
        )
        try:
            verify_ed25519(Ed25519PublicKey.from_public_bytes(self.public_key), self.proof, message)
        except (InvalidSignature, ValueError):
            raise GrantRefused(
                "the proof is not the ephemeral key's over this token, tenant and keys for the issuer's audience",
                hint="Check that `audience` and `tenant` in client.toml are those of the service.",
            ) from None


class _TenantOf(msgspec.Struct, frozen=True, kw_only=True):
    tenant: Name


class GrantIssued(msgspec.Struct, frozen=True, kw_only=True):
    """Answer with a grant; fields of later versions are ignored."""

    grant: Annotated[bytes, msgspec.Meta(min_length=1, max_length=MAX_GRANT_BYTES)]
    expires_ms: Annotated[int, msgspec.Meta(ge=0, le=2**53)]


class GrantJudged(msgspec.Struct, frozen=True, kw_only=True):
    """Answer to a check: what a grant would permit. Fields of later versions are ignored.

    ``provider``: the issuer's name for the maker of the token or certificate.
    """

    provider: Annotated[str, msgspec.Meta(max_length=64)]
    subject: Annotated[str, msgspec.Meta(max_length=512)]
    keys: Annotated[tuple[Name, ...], msgspec.Meta(max_length=MAX_KEYS)]
    algorithms: Annotated[
        tuple[Annotated[str, msgspec.Meta(max_length=64)], ...], msgspec.Meta(max_length=16)
    ]
    max_digests: Annotated[int, msgspec.Meta(ge=1, le=2**31)]
    life_s: Annotated[float, msgspec.Meta(ge=0, le=86_400)]


class GrantError(msgspec.Struct, frozen=True, kw_only=True):
    """Error of an answer: a code of ``queueing.errors``, a sentence, and what to do."""

    code: Annotated[str, msgspec.Meta(max_length=64)]
    message: Annotated[str, msgspec.Meta(max_length=4096)]
    hint: Annotated[str, msgspec.Meta(max_length=4096)] = ""


class GrantDenied(msgspec.Struct, frozen=True, kw_only=True):
    """Answer without a grant."""

    error: GrantError


_UNKNOWN_FIELD: Final = "Object contains unknown field"
"""Begin of msgspec's sentence."""

_Answer = TypeVar("_Answer")

_encoder = msgspec.json.Encoder()
_request_decoder = msgspec.json.Decoder(GrantRequest)
_tenant_decoder = msgspec.json.Decoder(_TenantOf)
_issued_decoder = msgspec.json.Decoder(GrantIssued)
_judged_decoder = msgspec.json.Decoder(GrantJudged)
_denied_decoder = msgspec.json.Decoder(GrantDenied)


def proof_input(*, token: str, tenant: str, audience: str, public_key: bytes, keys: tuple[str, ...]) -> bytes:
    """The bytes under the proof: domain, and SHA-256 of the msgpack array of these values in this order."""
    fields = msgspec.msgpack.encode((token, tenant, audience, public_key, keys))
    return PROOF_DOMAIN + hashlib.sha256(fields).digest()


def make_request(
    *,
    token: str,
    public_key: bytes,
    signer: EnvelopeSigner,
    audience: str,
    tenant: str,
    keys: tuple[str, ...],
) -> GrantRequest:
    """Request for a grant to ``public_key`` (raw Ed25519), with the proof by ``signer``, which has the private half."""
    message = proof_input(token=token, tenant=tenant, audience=audience, public_key=public_key, keys=keys)
    return GrantRequest(
        token=token, public_key=public_key, proof=signer.sign_envelope(message), tenant=tenant, keys=keys
    )


def encode_json(message: GrantRequest | GrantIssued | GrantJudged | GrantDenied) -> bytes:
    """The message as JSON; bytes are in base64 (RFC 4648 4)."""
    return _encoder.encode(message)


def read_request(body: bytes) -> GrantRequest:
    """Parse a request; raises ``GrantMalformed`` (final), whose message is short, names the field and quotes nothing of its value."""
    if len(body) > MAX_REQUEST_BYTES:
        raise GrantMalformed(f"the request has {len(body)} bytes, at most {MAX_REQUEST_BYTES} are read")
    try:
        request = _request_decoder.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise GrantMalformed(f"the request for a grant cannot be read: {_problem(error)}") from None
    if len(set(names := _names(body))) < len(names):
        raise GrantMalformed("the request for a grant has a field twice")
    return request


def tenant_of(body: bytes) -> str:
    """Tenant that a request names, with the rest of it unread and nothing verified; '' where it names none."""
    try:
        return _tenant_decoder.decode(body).tenant
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return ""


def read_answer(status: int, body: bytes) -> GrantIssued | GrantError:
    """Parse an answer by its HTTP status; raises ``ResultInvalid`` (final) for anything that is none of an issuer."""
    return _read_answer(status, body, _issued_decoder)


def read_judgement(status: int, body: bytes) -> GrantJudged | GrantError:
    """Parse an answer to a check; raises as ``read_answer``."""
    return _read_answer(status, body, _judged_decoder)


def _read_answer(status: int, body: bytes, decoder: msgspec.json.Decoder[_Answer]) -> _Answer | GrantError:
    if len(body) > MAX_ANSWER_BYTES:
        raise ResultInvalid(f"the issuer's answer is longer than {MAX_ANSWER_BYTES} bytes")
    try:
        return decoder.decode(body) if status == 200 else _denied_decoder.decode(body).error
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise ResultInvalid(f"the answer (HTTP {status}) is not that of an issuer") from None


def _problem(error: Exception) -> str:
    """Sentence of msgspec, which quotes an unknown field by its whole name: as long as the request, and of any characters."""
    if not isinstance(error, msgspec.MsgspecError):
        return type(error).__name__
    said = str(error)
    return "Object contains an unknown field" if said.startswith(_UNKNOWN_FIELD) else said


def _names(body: bytes) -> list[str]:
    """Names of the fields, in order, of a document that the decoder has found flat: it takes the last of two of a name."""
    found: list[str] = []
    json.loads(body, object_pairs_hook=lambda pairs: found.extend(name for name, _ in pairs))
    return found
