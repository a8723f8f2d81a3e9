"""Errors of the branch ``Denied``: the caller may not, and a retry changes nothing."""

from __future__ import annotations

from queueing.errors.root import Denied


class KeyUnknown(Denied):
    """The tenant has no such key or version."""

    reason = "key.unknown"
    hint = "A version is written KEY/VERSION; the operator's `sigmill keys list` lists them."


class KeyDisabled(Denied):
    """The key version is not active."""

    reason = "key.disabled"
    hint = "Sign with an active version, or ask the operator to activate this one."


class KeyExpired(Denied):
    """The key version's time is over."""

    reason = "key.expired"
    hint = "Ask the operator to rotate the key; clients that name no version use the new one automatically."


class AlgorithmMismatch(Denied):
    """The key does not sign with this algorithm."""

    reason = "algorithm.mismatch"
    hint = (
        "Leave the algorithm out for the key's default; the operator's `sigmill keys show` lists the others."
    )


class EnvelopeSignature(Denied):
    """The envelope's signature does not verify under the client's key."""

    reason = "envelope.signature"
    hint = (
        "Check that client.toml and the private key belong together and that the operator has the public key."
    )


class EnvelopeAudience(Denied):
    """The envelope was made for another cluster."""

    reason = "envelope.audience"
    hint = "Use the client.toml of this cluster: its `audience` must equal the service's."


class ClientUnknown(Denied):
    """The tenant has no such client key."""

    reason = "client.unknown"
    hint = "Ask the operator to add the lines that `sigmill clients create` printed to the tenant's file, and to reload it."


class ClientRevoked(Denied):
    """The client key was revoked."""

    reason = "client.revoked"
    hint = "Create a new client key; a revoked one never comes back."


class ClientExpired(Denied):
    """The client key's time is over."""

    reason = "client.expired"
    hint = "Create a new client key before the old one expires; both may be listed at once."


class PolicyDenied(Denied):
    """A rule of the key's policy forbids this."""

    reason = "policy.denied"
    hint = "The message names the rule; the operator owns it."


class GrantRefused(Denied):
    """The grant is not accepted."""

    reason = "grant.refused"
    hint = "The message names what does not fit. A new grant is asked for at the next run; the operator owns the issuer's table."


class GrantExpired(Denied):
    """The grant's time is over, or has not begun."""

    reason = "grant.expired"
    hint = "Run it again: a new grant is asked for. Compare the clocks of the issuer's host and the worker's if it persists."


class GrantExhausted(Denied):
    """The digests of the grant are used up."""

    reason = "grant.exhausted"
    hint = "Run it again for a new grant; the operator sets `max_digests` of the issuer in the tenant's file."


class IdentityRefused(Denied):
    """The issuer does not accept the build's token, or no rule fits it."""

    reason = "identity.refused"
    hint = "The message names the rule and the claim; the operator owns the identities of the key."
