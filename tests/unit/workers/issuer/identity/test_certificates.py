"""Certificates of TLS clients: one name, of an authority that may give it, now."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from workers.issuer.identity.certificates import Authority, CertificateVerifier
from workers.issuer.identity.refusals import Outcome, TokenRefused

SPIFFE = "spiffe://build.example/ns/ci/sa/signer"


class Root:
    """An authority."""

    def __init__(self, name: str) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.certificate = self._sign(
            self.name,
            self.key.public_key(),
            [x509.BasicConstraints(ca=True, path_length=None)],
            authority=True,
        )

    def issue(
        self,
        *names: x509.GeneralName,
        usage: x509.ObjectIdentifier = ExtendedKeyUsageOID.CLIENT_AUTH,
        days: int = 1,
    ) -> bytes:
        key = ec.generate_private_key(ec.SECP256R1())
        extensions: list[x509.ExtensionType] = [
            x509.BasicConstraints(ca=False, path_length=None),
            x509.ExtendedKeyUsage([usage]),
        ]
        if names:
            extensions.append(x509.SubjectAlternativeName(names))
        subject = x509.Name([])
        return self._sign(subject, key.public_key(), extensions, days=days).public_bytes(Encoding.DER)

    def _sign(
        self,
        subject: x509.Name,
        key: ec.EllipticCurvePublicKey,
        extensions: list[Any],
        *,
        authority: bool = False,
        days: int = 1,
    ) -> x509.Certificate:
        now = datetime.now(UTC)
        flags = dict.fromkeys(
            (
                *("content_commitment", "key_encipherment", "data_encipherment", "key_agreement"),
                *("encipher_only", "decipher_only"),
            ),
            False,
        )
        usage = x509.KeyUsage(
            digital_signature=not authority, key_cert_sign=authority, crl_sign=authority, **flags
        )
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self.name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=3))
            .not_valid_after(now + timedelta(days=days))
            .add_extension(usage, critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), critical=False
            )
        )
        for extension in extensions:
            # RFC 5280 4.1.2.6: the names are critical where the subject is empty
            critical = isinstance(extension, x509.BasicConstraints | x509.SubjectAlternativeName)
            builder = builder.add_extension(extension, critical=critical)
        return builder.sign(self.key, SHA256())


MESH, HOSTS, STRANGER = Root("mesh"), Root("hosts"), Root("mesh")
VERIFIER = CertificateVerifier(
    {
        "mesh": Authority(name="mesh", roots=(MESH.certificate,), trust_domain="build.example"),
        "hosts": Authority(name="hosts", roots=(HOSTS.certificate,)),
    }
)


def uri(text: str) -> x509.UniformResourceIdentifier:
    return x509.UniformResourceIdentifier(text)


def test_a_spiffe_certificate_is_its_id() -> None:
    """The URI is the subject and the claim, and the authority names the provider."""
    identity = VERIFIER.verify(MESH.issue(uri(SPIFFE)), time.time())
    assert (identity.issuer_url, identity.subject, identity.audience) == ("x509:mesh", SPIFFE, "")
    assert identity.claims == {"spiffe_id": SPIFFE}
    assert identity.use_id is None


def test_a_hosts_certificate_is_its_dns_name() -> None:
    """Without a trust domain the one DNS name counts."""
    identity = VERIFIER.verify(HOSTS.issue(x509.DNSName("build-1.example")), time.time())
    assert identity.claims == {"dns": "build-1.example"}


@pytest.mark.parametrize(
    "make, words",
    [
        (lambda: b"\x30\x00", "cannot be read"),
        (lambda: b"x" * 20_000, "too long"),
        (MESH.issue, "no subjectAltName"),
        (lambda: STRANGER.issue(uri(SPIFFE)), "no authority"),
        (lambda: MESH.issue(uri(SPIFFE), days=-1), "no authority"),
        (lambda: MESH.issue(uri(SPIFFE), usage=ExtendedKeyUsageOID.SERVER_AUTH), "no authority"),
        (lambda: MESH.issue(uri(SPIFFE), uri(SPIFFE + "2")), "2 URIs"),
        (lambda: MESH.issue(x509.DNSName("build-1.example")), "0 URIs"),
        (lambda: MESH.issue(uri("spiffe://other.example/ns/ci")), "no SPIFFE ID"),
        (lambda: MESH.issue(uri("https://build.example/ns/ci")), "no SPIFFE ID"),
        (lambda: MESH.issue(uri("spiffe://build.example")), "no SPIFFE ID"),
        (lambda: MESH.issue(uri("spiffe://build.example/ns/ci?x=1")), "no SPIFFE ID"),
        (lambda: MESH.issue(uri("spiffe://build.example:80/ns/ci")), "no SPIFFE ID"),
        (lambda: MESH.issue(uri("spiffe://x@build.example/ns/ci")), "no SPIFFE ID"),
        (lambda: MESH.issue(uri("spiffe://build.example/ns//ci")), "path segment"),
        (lambda: MESH.issue(uri("spiffe://build.example/ns/../ci")), "path segment"),
        (lambda: HOSTS.issue(uri(SPIFFE)), "0 DNS names"),
        (lambda: HOSTS.issue(x509.DNSName("a.example"), x509.DNSName("b.example")), "2 DNS names"),
    ],
)
def test_another_certificate_is_refused(make: Any, words: str) -> None:
    """A stranger's, an expired one, one for a server, one with no or several names, or with a false name."""
    with pytest.raises(TokenRefused, match=words) as caught:
        VERIFIER.verify(make(), time.time())
    assert caught.value.outcome is Outcome.CERTIFICATE
