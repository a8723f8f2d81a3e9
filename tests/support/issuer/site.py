"""Files of an issuer with one tenant and one provider, in a folder."""

from __future__ import annotations

import base64
import json
import time
from typing import TYPE_CHECKING, Any, Final

from cryptography.hazmat.primitives.asymmetric import ec

from queueing.protocol.client_keys import ClientKey, ClientKeyKind
from workers.issuer.issuer_file import load_issuer

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.issuer.provider import TokenProvider
    from workers.issuer.issuer_file import IssuerConfiguration

AUDIENCE: Final = "sign.example/prod"
TOKEN_AUDIENCE: Final = "https://sign.example/prod"  # no secret

CLAIMS: Final = 'repository_id = "4711", ref = "refs/heads/main"'


class IssuerSite:
    """``issuer.toml``, a tenant's file and a file of keys. The key is in memory; ``spki`` may be set to another one.

    ``tenants_dir``: of a service that has tenants already.
    """

    def __init__(
        self,
        folder: Path,
        provider: TokenProvider,
        *,
        audience: str = AUDIENCE,
        tenants_dir: Path | None = None,
    ) -> None:
        self.folder = folder
        self.provider = provider
        self.key = ClientKey(ec.generate_private_key(ec.SECP256R1()))
        assert self.key.kind is ClientKeyKind.P256
        self.spki = self.key.public_spki
        self.audience = audience
        self.tenants_dir = tenants_dir or folder / "tenants"
        self.file = folder / "issuer.toml"
        self.tenants_dir.mkdir(exist_ok=True)
        (folder / "keys").mkdir(exist_ok=True)

    @property
    def public_key(self) -> str:
        """The issuer's public key as files have it."""
        return base64.b64encode(self.spki).decode()

    def write(self, *, tables: str = "", issuer: str = "", token: str = "", http: str = "") -> None:
        """Write ``issuer.toml``; the texts are added to its tables."""
        token = token or 'module = "/nowhere.so"\nselect = { label = "issuer" }\nlogin = "none"'
        self.file.write_text(
            f'[issuer]\nname = "ci"\naudience = "{self.audience}"\ntoken = "issuer"\npublic_key = "{self.public_key}"\n'
            f'state_dir = "state"\nkeys_dir = "keys"\ntenants_dir = "{self.tenants_dir}"\n{issuer}\n'
            f'[http]\ncertificate = "server.pem"\nprivate_key = "server.key"\nport = 0\n{http}\n'
            f"[tokens.issuer]\n{token}\n"
            f'[providers.github]\nissuer_url = "{self.provider.issuer_url}"\n{tables}\n'
        )

    def configuration(self) -> IssuerConfiguration:
        """The files as they are read."""
        return load_issuer(self.file)

    def write_tenant(self, *, claims: str = CLAIMS, more: str = "", issuer: str = "") -> Path:
        """Write the tenant's file: key `release` for the claims, `other` for no identity of this issuer."""
        file = self.tenants_dir / "acme.toml"
        file.write_text(
            'tenant = "acme"\n'
            f'[issuers.ci]\npublic_key = "{self.public_key}"\nexpires = 2099-01-01T00:00:00Z\n'
            f"max_grant_s = 600\nmax_digests = 500\n{issuer}\n"
            f'[keys.release]\nclients = []\nissuers = ["ci"]\nalgorithms = ["ECDSA_SHA_256"]\n'
            f'[[keys.release.identities]]\nissuer_url = "{self.provider.issuer_url}"\n'
            f'audience = "{self.provider.audience}"\nclaims = {{ {claims} }}\n{more}\n'
        )
        return file

    def write_keys(self, fetched_s: float | None = None, keys: list[dict[str, Any]] | None = None) -> None:
        """Write the provider's file of keys, as fetched at this time."""
        fetched_ms = int((time.time() if fetched_s is None else fetched_s) * 1000)
        given = self.provider.keys if keys is None else keys
        content = {"issuer_url": self.provider.issuer_url, "fetched_ms": fetched_ms, "keys": given}
        (self.folder / "keys" / "github.json").write_text(json.dumps(content))
