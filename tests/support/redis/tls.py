"""A redis-server that speaks TLS, and certificates of its clients."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID

from tests.support.ports import free_port
from workers.dev.trial_tls import _certificate, _name, _usage

MakeCertificate = Callable[..., Path]


def tls_settings(folder: Path) -> dict[str, str]:
    return {
        "tls-port": str(free_port()),
        "tls-cert-file": str(folder / "server.pem"),
        "tls-key-file": str(folder / "server.key"),
        "tls-ca-cert-file": str(folder / "ca.pem"),
        "tls-auth-clients": "no",
        "tls-replication": "yes",
    }


class ClientAuthority:
    """Authority of clients' certificates."""

    def __init__(self, file: Path) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _name(file.stem)
        public = self._key.public_key()
        certificate = (
            _certificate(self._name, self._name, public, public)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(signs_certificates=True), critical=True)
            .sign(self._key, SHA256())
        )
        self.pem = certificate.public_bytes(Encoding.PEM)
        file.write_bytes(self.pem)

    def issue(self, folder: Path) -> None:
        """Write ``client.pem`` and ``client.key``, or replace them."""
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = (
            _certificate(_name("client"), self._name, key.public_key(), self._key.public_key())
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
            .sign(self._key, SHA256())
        )
        (folder / "client.key").write_bytes(
            key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        )
        (folder / "client.pem").write_bytes(certificate.public_bytes(Encoding.PEM))
