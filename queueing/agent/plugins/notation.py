"""``notation-sigmill``: the signing plugin of notation (Notary Project), with the capability SIGNATURE_GENERATOR.RAW.

Protocol (notaryproject specifications, ``plugin-extensibility.md``): argv has the command, stdin one JSON object, stdout gets
one JSON object. A failure is exit code 1 and ``{"errorCode": …, "errorMessage": …}`` on stderr.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Mapping
from typing import Final

from queueing.agent.plugins.keys import Kind, PluginKey
from queueing.agent.plugins.requests import (
    INTERRUPTED,
    MAX_REQUEST_BYTES,
    STDERR,
    STDOUT,
    Fields,
    RequestInvalid,
    Unsupported,
    base64_text,
    is_denied,
    read_object,
    sentence,
    shown,
    tell,
)
from queueing.agent.token_client import TokenClient, TokenRefused

NAME: Final = "sigmill"
_MAJOR: Final = "1"
_CONTRACT: Final = "1.0"
_COMMANDS: Final = ("get-plugin-metadata", "describe-key", "generate-signature")

Answer = Mapping[str, str | list[str]]


def main() -> int:
    """Answer one request; return the exit code."""
    try:
        answer, code = _answer(sys.argv[1:]), 0
    except (RequestInvalid, TokenRefused) as error:
        answer, code = {"errorCode": _error_code(error), "errorMessage": sentence(error)}, 1
    except OSError as error:
        answer, code = {"errorCode": "ERROR", "errorMessage": f"stdin cannot be read: {error.strerror}"}, 1
    except KeyboardInterrupt:
        return INTERRUPTED
    return code if tell(answer, STDERR if code else STDOUT) else 1


def _error_code(error: RequestInvalid | TokenRefused) -> str:
    """Error codes of the protocol; notation may retry TIMEOUT and THROTTLED."""
    if isinstance(error, Unsupported):
        return "UNSUPPORTED_CONTRACT_VERSION"
    if isinstance(error, RequestInvalid):
        return "VALIDATION_ERROR"
    if is_denied(error):
        return "ACCESS_DENIED"
    if error.code.startswith("limit."):
        return "THROTTLED"
    return "TIMEOUT" if error.code.endswith((".timeout", ".unavailable")) else "ERROR"


def _answer(arguments: list[str]) -> Answer:
    command = arguments[0] if len(arguments) == 1 else ""
    if command not in _COMMANDS:
        raise RequestInvalid(
            f"this is a plugin that notation starts, with one of the commands {', '.join(_COMMANDS)},"
            f" not: {shown(' '.join(arguments))}"
        )
    with os.fdopen(0, "rb", closefd=False) as source:
        request = read_object(source.read(MAX_REQUEST_BYTES + 1))
    if command == "get-plugin-metadata":
        return _metadata()
    version = request.text("contractVersion")
    if version.partition(".")[0] != _MAJOR:
        raise Unsupported(f"this plugin has the contract version {_CONTRACT}, not {shown(version)}")
    name = request.text("keyId")
    with TokenClient.from_environment() as token:
        key = PluginKey(token, name)
        if command == "describe-key":
            return {"keyId": name, "keySpec": _spec(key.kind)}
        return _signature(request, key)


def _metadata() -> Answer:
    from importlib.metadata import version

    return {
        "name": NAME,
        "description": "Signs by Sigmill, through the agent of `sigmill run` or `sigmill agent`",
        "version": version("sigmill"),
        "url": "docs/tools.md of Sigmill's source distribution",
        "supportedContractVersions": [_CONTRACT],
        "capabilities": ["SIGNATURE_GENERATOR.RAW"],
    }


def _signature(request: Fields, key: PluginKey) -> Answer:
    kind = key.kind
    hash_name = request.text("hashAlgorithm")
    if request.text("keySpec") != _spec(kind) or hash_name != _shown_hash(kind):
        raise RequestInvalid(
            f"the key `{key.name}` is {_spec(kind)} and signs {_shown_hash(kind)} digests; the request has"
            f" {shown(request.text('keySpec'))} and {shown(hash_name)}"
        )
    payload = request.raw("payload")
    if not payload:
        raise RequestInvalid("the field payload is empty")
    certificates = key.certificates()
    if not certificates:
        raise RequestInvalid(
            f"the key `{key.name}` has no certificate: the operator attaches it, or use --certificate {key.name}=FILE"
        )
    digest = hashlib.new(kind.hash_name, payload).digest()
    # notation takes an ECDSA signature as JWS and COSE have it: r || s
    made = key.pss(kind.hash_name, digest) if kind.is_rsa else key.ecdsa(digest)
    return {
        "keyId": key.name,
        "signature": base64_text(made),
        "signingAlgorithm": f"{'RSASSA-PSS' if kind.is_rsa else 'ECDSA'}-{_shown_hash(kind)}",
        "certificateChain": [base64_text(each) for each in certificates],
    }


def _spec(kind: Kind) -> str:
    """Kind of a key as notation names it (signature specification, algorithm selection)."""
    return f"{kind.name}-{kind.bits}"


def _shown_hash(kind: Kind) -> str:
    return kind.hash_name.replace("sha", "SHA-")
