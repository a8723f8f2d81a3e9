"""Key directories signed by a service key of the test, and a configuration that knows that key."""

from __future__ import annotations

from dataclasses import replace

from cryptography.hazmat.primitives.asymmetric import ec

from queueing.protocol.algorithms import DEFAULT_FOR_KEY
from queueing.protocol.key_directory import KeyDirectory, directory_digest, encode_directory, encode_signed
from queueing.protocol.public_keys import PublicKey
from queueing.unix_time import unix_ms
from tests.support.fakes.configurations import configuration, tenant
from tests.support.keys import sign_digest, spki_of
from workers.config.loading import Configuration
from workers.config.service_file import ServiceKey

SERVICE, STRANGER = (ec.derive_private_key(number, ec.SECP256R1()) for number in (7, 8))
HOUR_MS = 3_600_000


def directory(
    epoch: int,
    *,
    signer: ec.EllipticCurvePrivateKey = SERVICE,
    named: ec.EllipticCurvePrivateKey | None = None,
    audience: str = "test",
    of: str = "acme",
    lives_ms: int = HOUR_MS,
) -> bytes:
    """A directory without keys; ``named``: the key that it claims to be signed by."""
    body = encode_directory(
        KeyDirectory(
            audience=audience,
            tenant=of,
            epoch=epoch,
            issued_at_ms=unix_ms(),
            expires_at_ms=unix_ms() + lives_ms,
            keys={},
        )
    )
    public_key = PublicKey.from_spki(spki_of(named or signer))
    algorithm = DEFAULT_FOR_KEY[public_key.kind]
    signature = sign_digest(signer, algorithm, directory_digest(body, algorithm))
    return encode_signed(body, signature, public_key.sha256)


def with_epoch(epoch: int) -> Configuration:
    """Tenants acme, of this epoch, and globex, of epoch 1, under the service key."""
    made = configuration([replace(tenant("acme"), epoch=epoch), tenant("globex")])
    key = ServiceKey(token="service", public_key=PublicKey.from_spki(spki_of(SERVICE)))
    return replace(made, service=replace(made.service, service_key=key))
