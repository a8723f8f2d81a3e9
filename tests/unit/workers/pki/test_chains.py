"""A chain is attached only if verifiers can use it; each refusal says what is wrong with it, and what to do."""

from __future__ import annotations

import dataclasses

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID

from tests.support.fakes.certificates import DAY, NOW, Kind, issue, pem, private_key
from workers.pki.chain_reading import read_chain
from workers.pki.chains import Chain, ChainInvalid

ROOT = Kind(name="root", key=private_key(1), authority=True)
MIDDLE = Kind(name="middle", key=private_key(2), authority=True)
LEAF = Kind(key=private_key(3))
root, middle, leaf = issue(ROOT, by=ROOT), issue(MIDDLE, by=ROOT), issue(LEAF, by=MIDDLE)


def refused(*certificates: x509.Certificate) -> ChainInvalid:
    """The refusal of these certificates in this order."""
    with pytest.raises(ChainInvalid) as caught:
        Chain(certificates).check(NOW)
    return caught.value


def varied(kind: Kind, **changes: object) -> Kind:
    """The same kind with these changes."""
    return dataclasses.replace(kind, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize("certificates", [(leaf, middle), (leaf, middle, root), (root,)])
def test_a_chain_in_order_is_good_with_or_without_its_root(
    certificates: tuple[x509.Certificate, ...],
) -> None:
    """Verifiers have the root; a private authority may be the whole chain."""
    chain = read_chain(pem(*certificates))

    chain.check(NOW)
    assert chain.certificates == certificates


def test_the_issuer_at_the_end_of_a_chain_is_named() -> None:
    """Nothing in a chain shows whether that is a root, or an intermediate that is missing; its address may be there."""
    address = "http://ca.example/root.cer"
    below = issue(varied(MIDDLE, issuer_address=address), by=ROOT)

    assert (Chain((leaf, middle, root)).has_root, Chain((leaf, middle)).has_root) == (True, False)
    assert Chain((leaf, middle)).trust_anchor == Chain((leaf, middle, root)).trust_anchor == "CN=root"
    assert Chain((leaf, middle)).issuer_address() is None
    assert Chain((leaf, below)).issuer_address() == address


@pytest.mark.parametrize(
    "certificates, problem",
    [
        ((middle, leaf), "wrong order: certificate 1 (`CN=middle`) has issued the one after it"),
        ((leaf, root, middle), "wrong order: certificate 1 (`CN=leaf`) is issued by certificate 3"),
        ((leaf, root), "an intermediate certificate is missing: certificate 1 (`CN=leaf`) is issued by `CN=middle`"),
        ((leaf,), "the certificate of the issuer `CN=middle` is missing"),
        ((leaf, middle, leaf), "twice"),
    ],
)  # fmt: skip
def test_order_and_completeness_are_checked(certificates: tuple[x509.Certificate, ...], problem: str) -> None:
    """By names first: the error names the certificates."""
    refusal = refused(*certificates)

    assert problem in refusal.problem
    assert refusal.remedy


def test_names_alone_make_no_chain() -> None:
    """An authority of the same name with another key has not issued the certificate."""
    impostor = issue(varied(MIDDLE, key=private_key(9)), by=ROOT)

    assert "not by the key of certificate 2" in refused(leaf, impostor).problem


@pytest.mark.parametrize("who, remedy", [(0, "keys request"), (1, "present certificate of this issuer")])
def test_what_has_expired_is_refused(who: int, remedy: str) -> None:
    """The key's own certificate, or that of an issuer, which a new request of the key does not renew."""
    kinds = [LEAF, MIDDLE]
    kinds[who] = varied(kinds[who], starts=NOW - 30 * DAY, ends=NOW - DAY)

    refusal = refused(issue(kinds[0], by=kinds[1]), issue(kinds[1], by=ROOT))

    assert f"certificate {who + 1}" in refusal.problem
    assert "expired on 2026-11-26" in refusal.problem
    assert remedy in refusal.remedy


def test_a_certificate_is_refused_from_its_last_moment_on() -> None:
    """What is signed then would be refused a second later."""
    kind = varied(LEAF, starts=NOW - 30 * DAY, ends=NOW)

    assert "certificate 1" in refused(issue(kind, by=MIDDLE), middle).problem


def test_short_rsa_keys_are_refused() -> None:
    """Also in an intermediate certificate."""
    weak = varied(MIDDLE, key=rsa.generate_private_key(65537, 1024))  # noqa: S505  # the point of the test

    assert "1024 bits" in refused(issue(LEAF, by=weak), issue(weak, by=ROOT)).problem


SHA1_CHAIN = """\
-----BEGIN CERTIFICATE-----
MIIBGjCBwgIUP6BKZt0PiZE0hZQsCvzL9SKM9WAwCQYHKoZIzj0EATAQMQ4wDAYD
VQQDDAVyb290MTAgFw0yNjExMjcxNzAwMzBaGA8yMTI2MTEwMzE3MDAzMFowEDEO
MAwGA1UEAwwFbGVhZjEwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAASaZX4h0ExH
j0IZLmsgacX2k5A0vqqgfAR3y3ia2LDT/VxutEvuKUUfpIL5qisDWhlgFKGALQ4Z
VerhbaM8Y2aAMAkGByqGSM49BAEDSAAwRQIhALg3dEgk54H5lRGrZI0HPWWh1NCn
LdnSAMWt26owBdeWAiBwm0upQcA5y0Ii6qMy18Q6rAWQS9to2WdWLkkuHNG7xg==
-----END CERTIFICATE-----
-----BEGIN CERTIFICATE-----
MIIBdjCCARygAwIBAgIUSoOIUwKorHnumqqHGe8VNEr/vacwCQYHKoZIzj0EATAQ
MQ4wDAYDVQQDDAVyb290MTAgFw0yNjExMjcxNzAwMzBaGA8yMTI2MTEwMzE3MDAz
MFowEDEOMAwGA1UEAwwFcm9vdDEwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAAQ/
elk94UqYucS6pXbUIRscQjJAfmDpqACZuA4NGvKIauJRcETSHtG4KB2pLeEMQW0d
4yejXdh9Vr8m5+j2zMUzo1MwUTAdBgNVHQ4EFgQUQiJtYssSBL5UvI0yZkjW/7KT
Lf8wHwYDVR0jBBgwFoAUQiJtYssSBL5UvI0yZkjW/7KTLf8wDwYDVR0TAQH/BAUw
AwEB/zAJBgcqhkjOPQQBA0kAMEYCIQDCNZdhBXipVrp+anThhGiiY5XCR+V6nUTa
BVdijYxw4wIhAPrUa6k0X9o6W6MsrhOJX5UABdR8kQMhW0UCGmy+U2ic
-----END CERTIFICATE-----
"""
"""Made by ``openssl x509 -req -sha1``; valid for a hundred years."""


@pytest.mark.parametrize("before", [(), (leaf, middle)])
def test_a_certificate_that_names_itself_and_is_signed_by_another_key_is_refused(
    before: tuple[x509.Certificate, ...],
) -> None:
    """As the only one of the chain, and as its root: changed, or of a chain that has lost its issuer."""
    other = varied(ROOT, key=ec.generate_private_key(ec.SECP256R1()))
    forged = issue(
        LEAF if not before else ROOT, by=varied(other, name=LEAF.name if not before else ROOT.name)
    )

    assert "not signed by its own key" in refused(*before, forged).problem


def test_an_intermediate_that_is_no_authority_is_refused() -> None:
    """RFC 5280 4.2.1.9: only a CA issues."""
    ordinary = varied(MIDDLE, authority=False)

    assert "no authority" in refused(issue(LEAF, by=ordinary), issue(ordinary, by=ROOT)).problem


@pytest.mark.parametrize(
    "changes, rule",
    [
        ({}, None),
        ({"usages": (ExtendedKeyUsageOID.SERVER_AUTH,)}, "CSBR 7.1.2.3"),
        ({"usages": ()}, "CSBR 7.1.2.3"),
        ({"digital_signature": False}, "digitalSignature"),
        ({"authority": True}, "cA is set in its basic constraints (CSBR 7.1.2.3)"),
        ({"ends": NOW + 700 * DAY}, "CSBR 6.3.2"),
        ({"starts": NOW + DAY}, "valid only from 2026-11-28"),
        ({"ends": NOW + 400 * DAY}, "an issuer's certificate ends"),
    ],
)  # fmt: skip
def test_departures_from_the_code_signing_rules_are_warnings(
    changes: dict[str, object], rule: str | None
) -> None:
    """They name the rule, and do not keep the chain from being attached."""
    chain = Chain((issue(varied(LEAF, **changes), by=MIDDLE), middle))

    chain.check(NOW)
    found = chain.warnings(NOW, code_signing=True)

    if rule is None:
        assert found == []
    else:
        assert any(rule in warning for warning in found)
    assert chain.warnings(NOW, code_signing=False) == [w for w in found if "CSBR" not in w]


def test_a_signature_with_sha_1_is_refused_unless_it_is_a_roots_own() -> None:
    """A root is trusted without its signature over itself."""
    chain = read_chain(SHA1_CHAIN.encode())

    with pytest.raises(ChainInvalid, match=r"certificate 1 .* is signed with SHA1"):
        chain.check(NOW)
    Chain(chain.certificates[1:]).check(NOW)
