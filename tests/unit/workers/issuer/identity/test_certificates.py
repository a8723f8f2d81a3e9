"""Certificates of TLS clients: one name, of an authority that may give it, now."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from tests.support.artifacts.odd_certificates import UNREADABLE
from tests.support.issuer.authority import Root
from workers.issuer.identity.certificates import Authority, CertificateVerifier, shared_authority
from workers.issuer.identity.refusals import Outcome, TokenRefused

SPIFFE = "spiffe://build.example/ns/ci/sa/signer"


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
    assert (identity.issuer_url, identity.subject, identity.audience) == ("x509:mesh", SPIFFE, None)
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
        *((lambda raw=raw: raw, "cannot be read|too long") for raw in UNREADABLE.values()),
        (lambda: b"x" * 20_000, "too long"),
        (MESH.issue, "no subjectAltName"),
        (lambda: STRANGER.issue(uri(SPIFFE)), "no authority"),
        (lambda: MESH.issue(uri(SPIFFE), days=-1), "no authority"),
        (lambda: MESH.issue(uri(SPIFFE), usage=ExtendedKeyUsageOID.SERVER_AUTH), "no authority"),
        (lambda: MESH.issue(uri(SPIFFE), uri(SPIFFE + "2")), "2 URIs"),
        (lambda: MESH.issue(x509.DNSName("build-1.example")), "0 URIs"),
        (lambda: MESH.issue(uri("spiffe://other.example/ns/ci")), "no SPIFFE ID"),
        (lambda: MESH.issue(uri("https://build.example/ns/ci")), "no SPIFFE ID"),
        (lambda: MESH.issue(uri("spiffe://[build.example/ns/ci")), "no SPIFFE ID"),
        (lambda: MESH.issue(uri("spiffe://build.example")), "no SPIFFE ID"),
        (lambda: MESH.issue(uri("spiffe://build.example/ns/ci?x=1")), "no SPIFFE ID"),
        (lambda: MESH.issue(uri("spiffe://build.example:80/ns/ci")), "no SPIFFE ID"),
        (lambda: MESH.issue(uri("spiffe://x@build.example/ns/ci")), "no SPIFFE ID"),
        (lambda: MESH.issue(uri("spiffe://build.example/ns//ci")), "path segment"),
        (lambda: MESH.issue(uri("spiffe://build.example/ns/../ci")), "path segment"),
        (lambda: MESH.issue(uri("spiffe://build.example/ns%2Fci")), "path segment"),
        (lambda: MESH.issue(uri("spiffe://build.example/ns/ci;x")), "path segment"),
        (lambda: MESH.issue(uri("spiffe://build.example/ns/*")), "path segment"),
        (lambda: MESH.issue(uri("spiffe://build.example/ns/ci/")), "path segment"),
        (lambda: HOSTS.issue(uri(SPIFFE)), "0 DNS names"),
        (lambda: HOSTS.issue(x509.DNSName("*.example")), "pattern"),
        (lambda: HOSTS.issue(x509.DNSName("a.example"), x509.DNSName("b.example")), "2 DNS names"),
    ],
)
def test_another_certificate_is_refused(make: Callable[[], bytes], words: str) -> None:
    """A stranger's, an expired one, one for a server, one with no or several names, or with a false name."""
    with pytest.raises(TokenRefused, match=words) as caught:
        VERIFIER.verify(make(), time.time())
    assert caught.value.outcome is Outcome.CERTIFICATE


def crossed_hosts() -> tuple[x509.Certificate, Authority]:
    """A certificate of the root of ``hosts`` by the root of ``mesh``, and the authority ``hosts``."""
    ca = x509.BasicConstraints(ca=True, path_length=None)
    crossed = MESH._sign(HOSTS.name, HOSTS.key.public_key(), [ca], authority=True)
    return crossed, Authority(name="hosts", roots=(HOSTS.certificate,))


def test_an_authority_that_two_tables_trust_is_shared() -> None:
    """Also as an intermediate of the other's root: its certificates would be identities of both names."""
    crossed, hosts = crossed_hosts()
    shared = shared_authority([Authority(name="mesh", roots=(crossed, MESH.certificate)), hosts])
    assert shared is not None
    assert (shared.first, shared.second, shared.subject) == ("mesh", "hosts", "CN=hosts")
    assert shared_authority([hosts, Authority(name="again", roots=(HOSTS.certificate,))]) is not None


def test_authorities_of_their_own_are_not_shared() -> None:
    """Of one name, or beside an intermediate that leads to none of the file's roots."""
    crossed, hosts = crossed_hosts()
    stranger = Authority(name="stranger", roots=(STRANGER.certificate,))
    assert shared_authority([hosts, stranger, Authority(name="mesh", roots=(MESH.certificate,))]) is None
    other = Root("other")
    assert shared_authority([hosts, Authority(name="other", roots=(other.certificate, crossed))]) is None
