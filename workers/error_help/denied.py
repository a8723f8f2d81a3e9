"""Help for codes of requests that are not permitted: retrying fails again until a file or an order is changed."""

from __future__ import annotations

from typing import Final

from workers.error_help.page_types import Step, Text

_BUILD: Final = "A build, at `sigmill sign`, `submit` or `wait`; nothing was signed."
_NEW_CLIENT: Final = Step(
    "Create a key on the build host; the operator adds the printed line to the tenant's file:",
    "sigmill clients create NAME --from connection.toml",
)
_RELOAD: Final = Step("After the change, on each worker's host:", "sigmill tenants reload")
_LOOK_CLIENTS: Final = Step("The operator lists the clients and their expiries:", "sigmill clients list")
_LOOK_KEYS: Final = Step("The operator lists keys and versions:", "sigmill keys list")
_LOOK_KEY: Final = Step("The operator shows the key's versions, states and rules:", "sigmill keys show KEY")

TEXTS: Final[dict[str, Text]] = {
    "key.unknown": Text(
        "The tenant's file has no key of this name, or no such version of it (the number after the slash). A key that is"
        " in the token but not in the file cannot be used by clients.",
        _BUILD,
        (
            _LOOK_KEYS,
            Step(
                "Register a key that was created in the token by other tools:",
                "sigmill keys adopt --tenant TENANT --key KEY --token TOKEN --label LABEL --write",
            ),
            _RELOAD,
        ),
    ),
    "key.disabled": Text(
        "The state of the version is not `active` but `next`, `verify-only`, `retired` or `revoked`; or an operator's stop"
        " order disables the key.",
        _BUILD,
        (
            _LOOK_KEY,
            Step(
                "Show stop orders with their reasons; an id in `lifted_orders` lifts one:",
                "sigmill tenants show TENANT",
            ),
            Step(
                "A build that gives no version uses the active one:",
                "sigmill sign --config client.toml --key KEY FILE",
            ),
        ),
    ),
    "key.expired": Text(
        "This version of the key has expired (`expires`). Clients that give no version use the newest active one.",
        _BUILD,
        (
            _LOOK_KEY,
            Step(
                "The operator creates the next version, and sets it `active`:",
                "sigmill keys create --tenant TENANT --key KEY --token TOKEN --type p256 --write",
            ),
            _RELOAD,
        ),
    ),
    "algorithm.mismatch": Text(
        "The key cannot be used with this algorithm: its key type does not support it, or `algorithms` does not list it.",
        _BUILD,
        (
            Step(
                "Omit the algorithm to use the key's default:",
                "sigmill sign --config client.toml --key KEY FILE",
            ),
            _LOOK_KEY,
        ),
    ),
    "envelope.signature": Text(
        "The envelope's signature does not verify with the client key in the tenant's file: the private key of the build"
        " host does not match the operator's entry, or the envelope was modified in transit.",
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
        "The envelope was made for another cluster, or for another tenant than that of the queue. It is not accepted here.",
        _BUILD,
        (
            Step(
                "`audience` and `tenant` in client.toml must be those of the service. The operator shows them with:",
                "sigmill check-config",
            ),
            Step(
                "Create a new client.toml from the operator's connection file:",
                "sigmill clients create NAME --from connection.toml",
            ),
        ),
    ),
    "client.unknown": Text(
        "The tenant's file has no client of this name. It was removed, or the change has not been reloaded yet.",
        _BUILD,
        (_LOOK_CLIENTS, _NEW_CLIENT, _RELOAD),
    ),
    "client.revoked": Text(
        "The operator has revoked this client, in the tenant's file or by a stop order. Its jobs in the queue are not"
        " signed either.",
        _BUILD,
        (
            Step("The operator shows the stop orders of the tenant:", "sigmill tenants show TENANT"),
            _NEW_CLIENT,
        ),
    ),
    "client.expired": Text(
        "The client's key has expired (`expires`).",
        _BUILD + " `sigmill_client_expiry_timestamp_seconds` and its alert warn in advance.",
        (_LOOK_CLIENTS, _NEW_CLIENT, _RELOAD),
    ),
    "grant.refused": Text(
        "The grant under which the envelope was made is not accepted: the tenant's file does not name its issuer, its signature is"
        " not that of the issuer, or it was made for another cluster, tenant or envelope; or an issuer was asked with a proof that"
        " is false. The message says which.",
        _BUILD,
        (
            Step(
                "The operator compares the message with [issuers.NAME] of the tenant:",
                "sigmill tenants show TENANT",
            ),
            _RELOAD,
        ),
    ),
    "grant.expired": Text(
        "The grant's time is over, or has not begun by the clock of the worker's host. A grant lives for minutes; the client"
        " renews it while the build's provider gives tokens.",
        _BUILD,
        (
            Step("Compare the clocks of the issuer's host and the worker's:", "timedatectl"),
            Step("Run the same command again: it asks for a new grant."),
        ),
    ),
    "grant.exhausted": Text(
        "As many digests were signed under this grant as it permits. Digests that were signed before keep their signatures.",
        _BUILD,
        (
            Step("Run the same command again: it asks for a new grant, and gets what is signed already."),
            Step("The operator raises `max_digests` in [issuers.NAME] of the tenant's file."),
            _RELOAD,
        ),
    ),
    "identity.refused": Text(
        "The issuer gives no grant to this identity: the token is not valid, or no identity of the key in the tenant's file has"
        " the claims that came. The message names the rule and the claim.",
        "A build, before anything is sent to the queue.",
        (
            Step("The operator compares the message with [[keys.KEY.identities]]:", "sigmill keys show KEY"),
            _RELOAD,
        ),
    ),
    "policy.denied": Text(
        "A rule of the tenant or the key denies the request; the message names it: `clients` (the key does not list this"
        " client), `windows` (outside the allowed times), `state` (the tenant is suspended, or the issuer revoked), `stop` (a stop"
        " order), `grant` (the grant does not list the key or the algorithm), `issuers`, `keys`, `max_grant_s`, `max_digests` and"
        " `expires` (what the issuer of the grant may give).",
        _BUILD,
        (
            Step(
                "The operator shows the rules of each key, and the stop orders:",
                "sigmill tenants show TENANT",
            ),
            _RELOAD,
        ),
    ),
}
