"""A build that asks for grants."""

from __future__ import annotations

from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from queueing.protocol.client_keys import ClientKey
from queueing.protocol.grants.grant_request import encode_json, make_request
from tests.support.issuer.site import AUDIENCE


class Build:
    """A build with its ephemeral key."""

    def __init__(self) -> None:
        private = ed25519.Ed25519PrivateKey.generate()
        self.key = ClientKey(private)
        self.public = private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)

    def request(self, token: str, *keys: str, tenant: str = "acme", audience: str = AUDIENCE) -> bytes:
        """Body of a request for a grant."""
        return encode_json(
            make_request(
                token=token,
                public_key=self.public,
                signer=self.key,
                audience=audience,
                tenant=tenant,
                keys=keys,
            )
        )
