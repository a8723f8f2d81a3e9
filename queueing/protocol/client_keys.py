"""Keys of clients: the private one signs envelopes and nothing else, the public one verifies them.

Ed25519, or ECDSA P-256, which a TPM has.
"""

from __future__ import annotations

import os
import secrets
import stat
from enum import StrEnum
from pathlib import Path
from typing import Final, Self

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from queueing.ed25519 import verify_ed25519
from queueing.errors import ConfigError, EnvelopeSignature
from queueing.files.regular_file import open_regular

_PrivateKey = ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey

_LARGEST_PEM_BYTES: Final = 64 * 1024
"""A private key in PEM has 200 bytes; a larger file is the wrong one, and what is cut off is no key."""

_ECDSA_SHA_256: Final = ec.ECDSA(hashes.SHA256())


class ClientKeyKind(StrEnum):
    """Kinds of client keys."""

    ED25519 = "ed25519"
    P256 = "p256"


class ClientKey:
    """A private key in memory; its repr has its kind only."""

    __slots__ = ("_key", "kind", "public_spki")

    def __init__(self, key: _PrivateKey) -> None:
        self._key = key
        self.kind = (
            ClientKeyKind.ED25519 if isinstance(key, ed25519.Ed25519PrivateKey) else ClientKeyKind.P256
        )
        self.public_spki = key.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        """The public half as SPKI in DER: what the operator puts into the tenant's file, in base64."""

    def __repr__(self) -> str:
        return f"<ClientKey {self.kind}>"

    def __reduce__(self) -> str:
        raise TypeError("a client key is not serialised")

    @classmethod
    def generate(cls, kind: ClientKeyKind = ClientKeyKind.ED25519) -> Self:
        """A new key."""
        if kind is ClientKeyKind.ED25519:
            return cls(ed25519.Ed25519PrivateKey.generate())
        return cls(ec.generate_private_key(ec.SECP256R1()))

    @classmethod
    def from_file(
        cls,
        path: Path,
        *,
        remedy: str = "Run `sigmill clients create`, or correct `private_key_file`.",
        made_by: str = "sigmill clients create",
    ) -> Self:
        """Read an unencrypted PKCS#8 PEM file; raises ``ConfigError``, also when others may read the file.

        ``remedy``: of a file that cannot be read; ``made_by``: the command that makes such files.
        """
        try:
            with open_regular(path) as file:
                mode = os.fstat(file.fileno()).st_mode
                pem = file.read(_LARGEST_PEM_BYTES)
        except OSError as error:
            problem = f"the private key cannot be read: {error.strerror}"
            raise ConfigError(str(path), "", problem, remedy) from None
        if mode & (stat.S_IRWXG | stat.S_IRWXO):
            problem = "the private key is open to group or others"
            raise ConfigError(str(path), "", problem, f"Run `chmod 600 {path}`.")
        return cls(_parse(path, pem, made_by))

    def sign_envelope(self, message: bytes) -> bytes:
        """64 bytes of Ed25519, or ECDSA P-256 with SHA-256 in DER. Costs about 55 us."""
        if isinstance(self._key, ed25519.Ed25519PrivateKey):
            return self._key.sign(message)
        return self._key.sign(message, _ECDSA_SHA_256)

    def write(self, path: Path) -> None:
        """Write a new file of mode 0600; raises ``FileExistsError`` rather than touch one that is there.

        The file is whole as soon as it has its name: other processes of a build may be waiting for it.
        """
        pem = self._key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        draft = path.with_name(f".{path.name[:64]}.{secrets.token_hex(8)}.new")
        _write_new(draft, pem)
        try:
            os.link(draft, path)
        except FileExistsError:
            raise
        except OSError:  # a file system without hard links
            _write_new(path, pem)
        finally:
            draft.unlink()


def _write_new(path: Path, content: bytes) -> None:
    """Write a new file of mode 0600; after a failure it is not there."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        path.unlink(missing_ok=True)
        raise


class ClientPublicKey:
    """An Ed25519 or ECDSA P-256 public key that verifies envelopes."""

    __slots__ = ("_key",)

    def __init__(self, key: ed25519.Ed25519PublicKey | ec.EllipticCurvePublicKey) -> None:
        self._key = key

    @property
    def spki(self) -> bytes:
        """The key as SPKI in DER; encoded at each call, for a lane asks for that of no holder of a grant."""
        return self._key.public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )

    def __eq__(self, other: object) -> bool:
        return self.spki == other.spki if isinstance(other, ClientPublicKey) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.spki)

    @classmethod
    def from_spki(cls, der: bytes) -> ClientPublicKey:
        """Key of an SPKI in DER; ``ValueError`` unless it is an Ed25519 or P-256 key."""
        key = serialization.load_der_public_key(der)
        if isinstance(key, ed25519.Ed25519PublicKey):
            return cls(key)
        if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1):
            return cls(key)
        raise ValueError("a client key is Ed25519 or ECDSA P-256")

    def verify_envelope(self, message: bytes, signature: bytes) -> None:
        """Raise ``EnvelopeSignature`` (final) unless the signature is this key's. About 60 us, 105 for Ed25519 without libsodium."""
        try:
            if isinstance(self._key, ed25519.Ed25519PublicKey):
                verify_ed25519(self._key, signature, message)
            else:
                self._key.verify(signature, message, _ECDSA_SHA_256)
        except InvalidSignature:
            raise EnvelopeSignature from None


def _parse(path: Path, pem: bytes, made_by: str) -> _PrivateKey:
    remedy = f"Use an unencrypted PKCS#8 PEM file, as `{made_by}` writes it."
    try:
        key = serialization.load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise ConfigError(str(path), "", "this is no private key that can be read", remedy) from None
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return key
    if isinstance(key, ec.EllipticCurvePrivateKey) and isinstance(key.curve, ec.SECP256R1):
        return key
    raise ConfigError(str(path), "", "the key is neither Ed25519 nor ECDSA P-256", remedy)
