"""Codes of what the caller may not do: asking again changes nothing, somebody has to change a file first."""

from __future__ import annotations

from typing import Final

from workers.error_help.page_types import Step, Text

_BUILD: Final = "A build, at `sigmill sign`, `submit` or `wait`; nothing was signed."
_NEW_CLIENT: Final = Step(
    "On the build host, make a key; the operator adds the line that it prints to the tenant's file.",
    "sigmill clients create NAME --from connection.toml",
)
_RELOAD: Final = Step("On each worker's host, after the change:", "sigmill tenants reload")
_LOOK_CLIENTS: Final = Step("The operator sees who is listed, and until when:", "sigmill clients list")
_LOOK_KEYS: Final = Step("The operator sees which keys and versions there are:", "sigmill keys list")
_LOOK_KEY: Final = Step("The operator sees its versions, states and rules:", "sigmill keys show KEY")

TEXTS: Final[dict[str, Text]] = {
    "key.unknown": Text(
        "The tenant's file has no key of this name, or no such version of it (the number behind the slash). A key that is"
        " in the token but not in the file does not exist for clients.",
        _BUILD,
        (
            _LOOK_KEYS,
            Step(
                "A key that was made in the token by other tools is registered with",
                "sigmill keys adopt --tenant TENANT --key KEY --token TOKEN --label LABEL --write",
            ),
            _RELOAD,
        ),
    ),
    "key.disabled": Text(
        "The version is there, and its state is not `active`: it is still `next`, or `verify-only`, `retired`, `revoked`;"
        " or a stop order of an operator stops the key.",
        _BUILD,
        (
            _LOOK_KEY,
            Step(
                "A stop order is seen with its reason, and is lifted by its id in `lifted_orders`:",
                "sigmill tenants show TENANT",
            ),
            Step(
                "A build that names no version follows the active one:",
                "sigmill sign --config client.toml --key KEY FILE",
            ),
        ),
    ),
    "key.expired": Text(
        "`expires` of this version of the key has passed. Clients that name no version take the newest active one.",
        _BUILD,
        (
            _LOOK_KEY,
            Step(
                "The operator makes the next version, and sets it `active`:",
                "sigmill keys create --tenant TENANT --key KEY --token TOKEN --type p256 --write",
            ),
            _RELOAD,
        ),
    ),
    "algorithm.unknown": Text(
        "The name is none of those that Sigmill knows. They are AWS KMS' names, such as RSASSA_PKCS1_V1_5_SHA_256,"
        " RSASSA_PSS_SHA_256, ECDSA_SHA_256, ED25519.",
        _BUILD,
        (
            Step(
                "Leave the algorithm out, and the key's default is taken:",
                "sigmill sign --config client.toml --key KEY FILE",
            ),
        ),
    ),
    "algorithm.mismatch": Text(
        "The key does not sign with this algorithm: its kind cannot, or its file does not list it in `algorithms`.",
        _BUILD,
        (
            Step(
                "Leave the algorithm out, and the key's default is taken:",
                "sigmill sign --config client.toml --key KEY FILE",
            ),
            _LOOK_KEY,
        ),
    ),
    "envelope.signature": Text(
        "The envelope is not signed by the client key that the tenant's file has under this client's name: the private key"
        " of the build host and the operator's line do not belong together, or somebody changed the envelope on its way.",
        _BUILD,
        (
            Step(
                "Compare the `client` of client.toml with the operator's list:",
                "sigmill clients list --tenant TENANT",
            ),
            _NEW_CLIENT,
        ),
    ),
    "envelope.audience": Text(
        "The envelope was made for another cluster, or for another tenant than the queue that it came through. Nobody can"
        " use it here.",
        _BUILD,
        (
            Step(
                "`audience` of client.toml must be the service's, `tenant` the operator's name for you. The service's is in",
                "sigmill check-config",
            ),
            Step(
                "Make client.toml anew from the operator's connection file:",
                "sigmill clients create NAME --from connection.toml",
            ),
        ),
    ),
    "client.unknown": Text(
        "The tenant's file has no client of this name. It may have been removed, or its change was not adopted yet.",
        _BUILD,
        (_LOOK_CLIENTS, _NEW_CLIENT, _RELOAD),
    ),
    "client.revoked": Text(
        "The operator has taken this client's right, in the tenant's file or by a stop order. What it had in the queue is"
        " not signed either.",
        _BUILD,
        (
            Step("The operator sees the stop orders of the tenant:", "sigmill tenants show TENANT"),
            _NEW_CLIENT,
        ),
    ),
    "client.expired": Text(
        "`expires` of the client's key has passed.",
        _BUILD + " `sigmill_client_expiry_timestamp_seconds` and its alert come before.",
        (_LOOK_CLIENTS, _NEW_CLIENT, _RELOAD),
    ),
    "policy.denied": Text(
        "A rule of the tenant or of the key forbids it; the message names the rule: `clients` (the key does not list this"
        " client), `windows` (not at this time, in UTC), `state` (the tenant is suspended), `stop` (an operator's order).",
        _BUILD,
        (
            Step("The operator sees the rules of each key, and the orders:", "sigmill tenants show TENANT"),
            _RELOAD,
        ),
    ),
}
