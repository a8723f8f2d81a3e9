"""SoftHSM tokens with a key of each kind, made once per run and used by every testbed."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

import msgspec

from bench.ceiling.probe import Target
from queueing.protocol.algorithms import KeyKind
from queueing.protocol.public_keys import PublicKey
from workers.config.settings import PinLogin, SelectSettings, TokenSettings
from workers.dev.softhsm import make_token, module_path
from workers.token_admin.client import TokenAdmin

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes

LABEL: Final = "bench.release.v1"
SERVICE: Final = "service"


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptFile:
    """A token with one key: how a configuration names it, and the key."""

    kind: KeyKind
    token: TokenSettings
    public_key: PublicKey

    def target(self) -> Target:
        """The key, as a ceiling probe names it."""
        assert self.token.select.label is not None
        return Target(
            module=Path(self.token.module),
            token=self.token.select.label,
            key=LABEL,
            kind=self.kind,
            pin_file=self.pin_file,
            environment=self.token.environment,
        )

    @property
    def pin_file(self) -> Path:
        """Path of the token's PIN file."""
        assert isinstance(self.token.login, PinLogin)
        return Path(self.token.login.pin_file)

    def behind(self, module: Path, environment: Mapping[str, str]) -> Self:
        """This key behind another module, which needs these variables."""
        token = msgspec.structs.replace(
            self.token, module=str(module), environment={**self.token.environment, **environment}
        )
        return replace(self, token=token)


class Keyring:
    """Tokens below a directory: as many of a kind as a testbed has tenants of that kind.

    No two tenants may share a token, so each tenant of a testbed takes the next one of its kind.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._held: dict[str, KeptFile] = {}

    def __getitem__(self, kind: KeyKind) -> KeptFile:
        """The first token of this kind of key: the one whose ceiling is measured."""
        return self.several([kind])[0]

    def hold(self, kept: KeptFile) -> None:
        """Have this token as the first one of its kind of key."""
        self._held[_name(kept.kind, 1)] = kept

    @property
    def service(self) -> KeptFile:
        """The service's own token."""
        return self._ready({SERVICE: KeyKind.P256})[0]

    def several(self, kinds: Sequence[KeyKind]) -> list[KeptFile]:
        """A token for each, no token twice. What is missing is made side by side: RSA-4096 takes seconds."""
        wanted: dict[str, KeyKind] = {}
        for kind in kinds:
            number = sum(other is kind for other in wanted.values()) + 1
            wanted[_name(kind, number)] = kind
        return self._ready(wanted)

    def absent(self, name: str, kind: KeyKind) -> KeptFile:
        """A token that was never made, and a public key to which there is no private key: for a tenant that does not sign."""
        token = TokenSettings(
            module=module_path(),
            select=SelectSettings(label=name),
            login=PinLogin(pin_file=str(self._directory / "absent" / name)),
            sessions=1,
        )
        return KeptFile(kind=kind, token=token, public_key=_some_public_key(kind))

    def _ready(self, wanted: Mapping[str, KeyKind]) -> list[KeptFile]:
        missing = {name: kind for name, kind in wanted.items() if name not in self._held}
        with ThreadPoolExecutor() as pool:
            self._held |= dict(zip(missing, pool.map(self._make, missing, missing.values()), strict=True))
        return [self._held[name] for name in wanted]

    def _make(self, name: str, kind: KeyKind) -> KeptFile:
        token = make_token(self._directory / name, name, sessions=1)
        made = TokenAdmin(name, token, self._directory / "state").create(kind, LABEL)
        return KeptFile(kind=kind, token=token, public_key=PublicKey.from_spki(made.public_key))


def _name(kind: KeyKind, number: int) -> str:
    return f"{str(kind).lower().replace('_', '-')}-{number}"


def _some_public_key(kind: KeyKind) -> PublicKey:
    """A public key of this kind, P-256 or RSA. The modulus is random: two primes take a second, and a thousand tenants have no such time."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec, rsa

    if kind is KeyKind.P256:
        public: PublicKeyTypes = ec.generate_private_key(ec.SECP256R1()).public_key()
    else:
        bits = int(str(kind).rpartition("_")[2])
        modulus = secrets.randbits(bits) | 1 << (bits - 1) | 1
        public = rsa.RSAPublicNumbers(65537, modulus).public_key()
    encoded = public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return PublicKey.from_spki(encoded)
