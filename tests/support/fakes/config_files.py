"""Configuration files that are right, to be broken in one place by a test."""

from __future__ import annotations

import base64
import zlib
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from queueing.errors import ConfigError
from queueing.protocol.algorithms import KeyKind
from queueing.protocol.public_keys import PublicKey, placeholder_key
from workers.config.loading import load_configuration

CANARY_PIN = "canary-739215-pin"


def spki_text(key: PublicKey) -> str:
    """Base64, as the files have it."""
    return base64.b64encode(key.spki).decode()


def p256_key(number: int) -> PublicKey:
    """One of many P-256 public keys, by number."""
    key = ec.derive_private_key(number, ec.SECP256R1()).public_key()
    return PublicKey.from_spki(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))


def key_of(tenant: str) -> PublicKey:
    """The P-256 public key of a tenant in these files; each has another."""
    return placeholder_key(KeyKind.P256) if tenant == "acme" else p256_key(1000 + zlib.crc32(tenant.encode()))


def client_line(seed: int = 1) -> str:
    """The base64 SPKI of an Ed25519 client key."""
    key = ed25519.Ed25519PrivateKey.from_private_bytes(bytes([seed] * 32)).public_key()
    return base64.b64encode(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).decode()


def version_lines(key: PublicKey, *, version: int = 1, state: str = "active", token: str = "acme") -> str:  # noqa: S107  # a name
    """The body of a ``[[keys.NAME.versions]]``."""
    return (
        f'version = {version}\nstate = "{state}"\npublic_key = "{spki_text(key)}"\n'
        f'public_key_sha256 = "{key.sha256.hex()}"\ntokens = ["{token}"]\n'
    )


def tenant_text(name: str = "acme", key: PublicKey | None = None) -> str:
    """A tenant with one client and one P-256 key in the token of its own name."""
    return f"""\
# the operator's own words
tenant = "{name}"
epoch = 4

[clients.build-1]
public_key = "{client_line()}"
expires = 2099-01-01T00:00:00Z

[keys.release]
clients = ["*"]
algorithms = ["ECDSA_SHA_256"]

[[keys.release.versions]]
{version_lines(key or key_of(name), token=name)}"""


def service_text(module: str = "/usr/lib/softhsm/libsofthsm2.so", softhsm_conf: str | None = None) -> str:
    """A service with its own token and those of acme and globex; ``softhsm_conf``: SoftHSM's file, for real tokens."""
    environment = f'environment = {{ SOFTHSM2_CONF = "{softhsm_conf}" }}\n' if softhsm_conf else ""
    tokens = "\n".join(
        f"""\
[tokens.{name}]
module = "{module}"
select = {{ label = "{name}" }}
login = {{ pin_file = "pins/{name}" }}
{environment}"""
        for name in ("service", "acme", "globex")
    )
    return f"""\
[service]
audience = "test"
state_dir = "state"

[redis]
host = "localhost"

[service_key]
token = "service"
public_key = "{spki_text(p256_key(99))}"

{tokens}"""


@dataclass(slots=True)
class Site:
    """A folder with the files of a service and its tenants; ``write`` after changing the texts."""

    folder: Path
    service: str = field(default_factory=service_text)
    tenants: dict[str, str] = field(default_factory=lambda: {"acme": tenant_text()})

    @property
    def config(self) -> Path:
        """The service's file."""
        return self.folder / "sigmill.toml"

    def tenant_file(self, name: str = "acme") -> Path:
        """The tenant's file."""
        return self.folder / "tenants" / f"{name}.toml"

    def write(self) -> Site:
        """Write all files, with PIN files that hold the canary."""
        for sub in ("tenants", "pins"):
            (self.folder / sub).mkdir(exist_ok=True)
        self.config.write_text(self.service)
        for name, text in self.tenants.items():
            self.tenant_file(name).write_text(text)
        for name in ("service", "acme", "globex"):
            (self.folder / "pins" / name).write_text(f"{CANARY_PIN}\n")
            (self.folder / "pins" / name).chmod(0o600)
        return self

    def mistake(self) -> ConfigError:
        """The mistake that loading these files finds."""
        with pytest.raises(ConfigError) as caught:
            load_configuration(self.write().config)
        return caught.value
