"""``sigstore-kms-sigmill``: the key management plugin by which cosign signs with ``--key sigmill://KEY``.

Protocol (sigstore ``pkg/signature/kms/cliplugin``): argv has the version and one JSON object, stdin the message, stdout gets
one JSON object. A failure is ``{"errorMessage": …}``, which cosign shows as it is.
"""

from __future__ import annotations

import base64
import hashlib
import os
import sys
from collections.abc import Mapping
from typing import Final, NamedTuple

from queueing.agent.plugins.keys import DIGEST_BYTES, PluginKey, ecdsa_der
from queueing.agent.plugins.requests import (
    INTERRUPTED,
    STDOUT,
    Fields,
    RequestInvalid,
    Unsupported,
    base64_text,
    read_object,
    sentence,
    shown,
    tell,
)
from queueing.agent.token_client import TokenClient, TokenRefused, TokenTimeout

VERSION: Final = "v1"
_HASHES: Final = {5: "sha256", 6: "sha384", 7: "sha512"}
"""Numbers of Go's ``crypto.Hash``."""

_PIECE_BYTES: Final = 1 << 20
_MARGIN_S: Final = 1.0
"""cosign kills its plugin at its deadline; the sentence that says so needs a moment before."""

_MOST_WAIT_S: Final = 86_400.0
"""A deadline beyond a day is none: the agent's own is minutes."""

Answer = Mapping[str, str | list[str] | Mapping[str, str | list[str]]]


class Request(NamedTuple):
    """A method and what all methods have. ``fields``: the method's own. ``key``: ``KEY`` or ``KEY/VERSION``."""

    method: str
    key: str
    hash_number: int
    deadline: str
    fields: Fields

    @classmethod
    def read(cls, arguments: list[str]) -> Request:
        """Read the words behind the program's name; raises ``RequestInvalid``."""
        if len(arguments) != 2:
            raise RequestInvalid(
                f"{len(arguments)} arguments: this is a plugin, which cosign starts for --key sigmill://KEY"
            )
        version, raw = arguments
        if version != VERSION:
            raise Unsupported(f"this plugin has the protocol {VERSION}, not {shown(version)}")
        request = read_object(raw)
        options = request.object("initOptions")
        if options.text("protocolVersion") != VERSION:
            raise Unsupported(
                f"this plugin has the protocol {VERSION}, not {shown(options.text('protocolVersion'))}"
            )
        method = request.text("methodName")
        fields = request.object(method)
        key, key_version = options.text("keyResourceID"), _key_version(method, options, fields)
        return cls(
            method=method,
            key=f"{key}/{key_version}" if key_version and "/" not in key else key,
            hash_number=options.number("hashFunc"),
            deadline=options.text("ctxDeadline", default=""),
            fields=fields,
        )

    def hash_name(self, options: Fields) -> str:
        """The hash of this message, by hashlib name; raises ``RequestInvalid``."""
        number = options.number("hashFunc") if options.has("hashFunc") else self.hash_number
        if number not in _HASHES:
            raise RequestInvalid(
                f"Sigmill signs SHA-256, SHA-384 and SHA-512 digests, not hash {number} of Go"
            )
        return _HASHES[number]


def _key_version(method: str, options: Fields, fields: Fields) -> str:
    """Key version of the call, else of the start."""
    own = fields.object({"signMessage": "signOptions", "verifySignature": "verifyOptions"}.get(method, ""))
    return own.object("rpcOptions").text("keyVersion", default="") or options.object("rpcOptions").text(
        "keyVersion", default=""
    )


def main() -> int:
    """Answer one request; return the exit code."""
    try:
        answer, code = _answer(Request.read(sys.argv[1:])), 0
    except (RequestInvalid, TokenRefused) as error:
        answer, code = {"errorMessage": sentence(error)}, 1
    except OSError as error:
        answer, code = {"errorMessage": f"the message cannot be read: {error.strerror}"}, 1
    except KeyboardInterrupt:
        return INTERRUPTED
    return code if tell(answer, STDOUT) else 1


def _answer(request: Request) -> Answer:
    method = request.method
    if method == "defaultAlgorithm":
        return {method: {"defaultAlgorithm": "ecdsa-p256"}}
    if method == "supportedAlgorithms":
        return {method: {"supportedAlgorithms": ["ecdsa-p256", "rsa-2048", "rsa-3072", "rsa-4096"]}}
    if method == "createKey":
        raise RequestInvalid("keys are made by the service's operator: sigmill keys create")
    if method not in {"publicKey", "signMessage", "verifySignature"}:
        raise RequestInvalid(f"this plugin has no method {shown(method)}")
    try:
        with TokenClient.from_environment(timeout_s=_left_s(request.deadline)) as token:
            return _answer_with_key(request, PluginKey(token, request.key))
    except TokenTimeout:
        raise RequestInvalid("no signature before the program's own deadline: cosign has --timeout") from None


def _answer_with_key(request: Request, key: PluginKey) -> Answer:
    if request.method == "publicKey":
        return {"publicKey": {"publicKeyPEM": base64_text(_pem(key.spki))}}
    verifies = request.method == "verifySignature"
    options = request.fields.object("verifyOptions" if verifies else "signOptions").object("messageOptions")
    hash_name = request.hash_name(options)
    if not key.kind.is_rsa and hash_name != key.kind.hash_name:
        raise RequestInvalid(
            f"the key `{key.name}` (P-{key.kind.bits}) signs {_shown_hash(key.kind.hash_name)} digests, and the program"
            f" wants {_shown_hash(hash_name)}: use an RSA or P-256 key"
        )
    digest = _digest(options, hash_name)
    if verifies:
        _verify(key, hash_name, digest, request.fields.raw("signature"))
        return {"verifySignature": {}}
    made = key.pkcs1(hash_name, digest) if key.kind.is_rsa else ecdsa_der(key.ecdsa(digest))
    return {"signMessage": {"signature": base64_text(made)}}


def _digest(options: Fields, hash_name: str) -> bytes:
    """The given digest, or that of the message on stdin."""
    if options.has("digest"):
        digest = options.raw("digest")
        if len(digest) != DIGEST_BYTES[hash_name]:
            raise RequestInvalid(
                f"the digest has {len(digest)} bytes; one of {_shown_hash(hash_name)} has {DIGEST_BYTES[hash_name]}"
            )
        return digest
    content = hashlib.new(hash_name)
    with os.fdopen(0, "rb", closefd=False) as message:
        while piece := message.read(_PIECE_BYTES):
            content.update(piece)
    return content.digest()


def _verify(key: PluginKey, hash_name: str, digest: bytes, signature: bytes) -> None:
    """Check a signature by the key that the agent shows; raises ``RequestInvalid``. Costs the import of cryptography."""
    from queueing.errors import ResultInvalid
    from queueing.protocol.algorithms import Algorithm
    from queueing.protocol.public_keys import PublicKey

    size = hash_name.removeprefix("sha")
    algorithm = Algorithm(f"RSASSA_PKCS1_V1_5_SHA_{size}" if key.kind.is_rsa else f"ECDSA_SHA_{size}")
    try:
        PublicKey.from_spki(key.spki).verify(algorithm, digest, signature)
    except ResultInvalid:
        raise RequestInvalid(f"the signature is not of the key `{key.name}` over this content") from None


def _left_s(deadline: str) -> float | None:
    """Seconds until the program's deadline (RFC 3339), less a moment to tell it; None where it has none."""
    if not deadline:
        return None
    from datetime import UTC, datetime

    try:
        end = datetime.fromisoformat(deadline)
    except ValueError:
        raise RequestInvalid(f"the field initOptions.ctxDeadline is no time: {shown(deadline)}") from None
    if end.tzinfo is None:
        raise RequestInvalid("the field initOptions.ctxDeadline has no time zone")
    left_s = (end - datetime.now(UTC)).total_seconds() - _MARGIN_S
    return min(max(left_s, _MARGIN_S), _MOST_WAIT_S)


def _pem(spki: bytes) -> bytes:
    encoded = base64.b64encode(spki)
    lines = [encoded[i : i + 64] for i in range(0, len(encoded), 64)]
    return b"\n".join([b"-----BEGIN PUBLIC KEY-----", *lines, b"-----END PUBLIC KEY-----", b""])


def _shown_hash(hash_name: str) -> str:
    return hash_name.replace("sha", "SHA-")
