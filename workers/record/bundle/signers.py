"""Signers of envelopes, for an auditor who has the public keys of a tenant's clients and issuers; and of checkpoints."""

from __future__ import annotations

from typing import TYPE_CHECKING

from queueing.errors import GrantMalformed, GrantRefused, ProofInvalid
from queueing.protocol.grants.grant import read_grant
from queueing.transparency.notes import ECDSA, VerifierKey
from queueing.transparency.origin_statements import verify_statement

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from queueing.protocol.client_keys import ClientPublicKey
    from queueing.protocol.envelope import Envelope
    from queueing.protocol.grants.grant import Grant
    from queueing.transparency.checkpoints import Checkpoint
    from queueing.transparency.origin_statements import OriginStatement
    from workers.record.bundle.reader import BundleReader


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
        issuer = keys.get(unverified.grant.issuer)
        if issuer is None:
            raise ProofInvalid(f"no public key of the issuer {unverified.grant.issuer} was given")
        unverified.verify(issuer)
        _check_fits(unverified.grant, envelope)
        return unverified.grant.holder()
    except (GrantMalformed, GrantRefused) as error:
        raise ProofInvalid(f"the grant of {envelope.client} is false: {error}") from None


def check_grant(envelope: Envelope) -> None:
    """Check that the grant, if there is one, is for this envelope, without the issuer's key. Raises ``ProofInvalid``."""
    if envelope.grant is None:
        return
    try:
        _check_fits(read_grant(envelope.grant).grant, envelope)
    except GrantMalformed as error:
        raise ProofInvalid(f"the grant of {envelope.client} is false: {error}") from None


def _check_fits(grant: Grant, envelope: Envelope) -> None:
    theirs = grant.audience, grant.tenant, grant.client
    if theirs != (envelope.audience, envelope.tenant, envelope.client) or envelope.key not in grant.keys:
        raise ProofInvalid("its grant is for another tenant, client or key, or another cluster")


def certifying_statements(
    reader: BundleReader, checkpoint: Checkpoint, service_keys: Sequence[bytes]
) -> Iterator[OriginStatement]:
    """Statements of a service key about keys of this origin, from a head that this checkpoint is not older than.

    ``service_keys``: SubjectPublicKeyInfo (DER). Raises ``ProofInvalid`` for a statement that none of them signed.
    """
    log_name = "/".join(checkpoint.origin.split("/")[:-2])
    service = [VerifierKey(f"{log_name}/service", ECDSA, spki) for spki in service_keys]
    for name, data in reader.statements() if service else ():
        try:
            statement = verify_statement(data, service, checkpoint.origin)
        except ProofInvalid as error:
            raise ProofInvalid(f"{name}: {error.message}") from None
        if statement.head.size <= checkpoint.size:
            yield statement
