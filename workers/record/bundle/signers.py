"""Signers of envelopes, for an auditor who has the public keys of a tenant's clients and issuers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from queueing.errors import GrantMalformed, GrantRefused, ProofInvalid
from queueing.protocol.grants.grant import read_grant

if TYPE_CHECKING:
    from collections.abc import Mapping

    from queueing.protocol.client_keys import ClientPublicKey
    from queueing.protocol.envelope import Envelope


def signer_of(envelope: Envelope, keys: Mapping[str, ClientPublicKey]) -> ClientPublicKey:
    """Key of the envelope's signature: the client's, or its grant's, if the key of the issuer has signed the grant.

    Raises ``ProofInvalid`` where the key is not given, or the grant is false or for something else.
    """
    if envelope.grant is None:
        key = keys.get(envelope.client)
        if key is None:
            raise ProofInvalid(f"no public key of the client {envelope.client} was given")
        return key
    try:
        unverified = read_grant(envelope.grant)
        grant = unverified.grant
        issuer = keys.get(grant.issuer)
        if issuer is None:
            raise ProofInvalid(f"no public key of the issuer {grant.issuer} was given")
        unverified.verify(issuer)
        if (grant.tenant, grant.client) != (
            envelope.tenant,
            envelope.client,
        ) or envelope.key not in grant.keys:
            raise ProofInvalid("its grant is for another tenant, client or key")
        return grant.holder()
    except (GrantMalformed, GrantRefused) as error:
        raise ProofInvalid(f"the grant of {envelope.client} is false: {error}") from None
