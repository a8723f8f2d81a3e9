"""The token shows active versions of keys that PKCS#11 tools can use, under names that stay over a rotation."""

from __future__ import annotations

from dataclasses import replace as changed
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from msgspec.structs import replace

from queueing.agent.certificates import CertificateChain
from queueing.agent.cryptoki import Attribute, Mechanism, ObjectClass
from queueing.agent.token import Token, TokenSource
from queueing.agent.token_objects import TokenObject
from queueing.errors import ConfigError, KeyUnknown, Unavailable
from queueing.protocol.key_directory import KeyEntry
from tests.support.artifacts.odd_certificates import UNREADABLE
from tests.support.certificates import issue, pem
from tests.support.farm.responder import KeyRing
from tests.support.keys import PrivateKey, rsa_key, spki_of

RSA = rsa_key()
P256, P384 = (ec.generate_private_key(curve) for curve in (ec.SECP256R1(), ec.SECP384R1()))
CLASS = Attribute.CLASS


class Directory:
    """The key directory that a client would give; an exception is raised."""

    def __init__(self, **rings: KeyRing) -> None:
        self.keys_now: dict[str, KeyEntry] | Exception = {name: ring.entry() for name, ring in rings.items()}

    async def keys(self) -> dict[str, KeyEntry]:
        if isinstance(self.keys_now, Exception):
            raise self.keys_now
        return self.keys_now


def ring(*keys: PrivateKey) -> KeyRing:
    return KeyRing(dict(enumerate(keys, start=1)))


def shown(token: Token) -> list[tuple[int, bytes]]:
    """Class and label of each object."""
    found = []
    for each in token.objects.values():
        kind, label = each.attributes[CLASS], each.attributes[Attribute.LABEL]
        assert isinstance(kind, int)
        assert isinstance(label, bytes)
        found.append((kind, label))
    return found


def private_keys(token: Token) -> dict[bytes, TokenObject]:
    handles = token.find([(CLASS, ObjectClass.PRIVATE_KEY.value)])
    return {bytes(token.objects[h].attributes[Attribute.ID]): token.objects[h] for h in handles}


async def test_a_key_is_a_private_and_a_public_object_with_one_id() -> None:
    """Tools pair private key, public key and certificate by CKA_ID, which is the key's name."""
    token = await TokenSource(Directory(release=ring(RSA))).current()
    assert shown(token) == [(ObjectClass.PRIVATE_KEY, b"release"), (ObjectClass.PUBLIC_KEY, b"release")]
    (private,) = private_keys(token).values()
    assert private.key is not None
    assert private.key.spec == "release/1"
    assert private.attributes[Attribute.EXTRACTABLE] is False
    assert token.mechanisms == (Mechanism.RSA_PKCS, Mechanism.RSA_PKCS_PSS)


async def test_the_newest_active_version_has_the_bare_name() -> None:
    """Recipes name the key; an older version that is still active has its number in its name, others are not shown."""
    versions = ring(P256, P256, P256, P256)
    versions.states |= {1: "verify-only", 4: "next"}
    token = await TokenSource(Directory(release=versions)).current()
    specs = {name: each.key.spec for name, each in private_keys(token).items() if each.key}
    assert specs == {b"release": "release/3", b"release/2": "release/2"}


async def test_ed25519_keys_are_not_shown() -> None:
    """p11-kit's client carries no mechanism for them."""
    token = await TokenSource(Directory(notes=ring(ed25519.Ed25519PrivateKey.generate()))).current()
    assert (token.objects, token.mechanisms) == ({}, ())


async def test_only_the_named_keys_are_shown() -> None:
    """`--key` limits what a build's tools see."""
    directory = Directory(release=ring(P256), nightly=ring(RSA))
    token = await TokenSource(directory, names=["release"]).current()
    assert {label for _, label in shown(token)} == {b"release"}
    assert token.mechanisms == (Mechanism.ECDSA,)


async def test_handles_stay_and_a_rotated_key_is_still_known() -> None:
    """A tool that holds a handle over a rotation gets the service's answer, and no other key."""
    directory = Directory(release=ring(P256))
    source = TokenSource(directory)
    before = await source.current()
    assert await source.current() is before
    (old,) = before.find([(CLASS, ObjectClass.PRIVATE_KEY.value)])
    rotated = ring(P256, P384)
    rotated.states[1] = "verify-only"
    directory.keys_now = {"release": rotated.entry()}
    after = await source.current()
    (new,) = after.find([(CLASS, ObjectClass.PRIVATE_KEY.value)])
    assert new != old
    kept = after.object(old)
    assert kept is not None
    assert kept.key is not None
    assert kept.key.spec == "release/1"
    assert after.object(999) is None


async def test_certificates_of_the_directory_have_the_keys_id() -> None:
    """The leaf has the key's ID; its issuers have their own, and no tool takes them for the key's."""
    issuer, leaf = issue(None, P384, "CA"), issue(P384, RSA, "release")
    directory = Directory(release=ring(RSA))
    assert isinstance(directory.keys_now, dict)
    entry = directory.keys_now["release"]
    version = replace(entry.versions[0], certificates=(leaf, issuer))
    directory.keys_now = {"release": replace(entry, versions=(version,))}
    token = await TokenSource(directory).current()
    handles = token.find([(CLASS, ObjectClass.CERTIFICATE.value)])
    values = {token.objects[h].attributes[Attribute.VALUE]: token.objects[h].attributes for h in handles}
    assert set(values) == {leaf, issuer}
    assert values[leaf][Attribute.ID] == b"release"
    assert values[issuer][Attribute.ID] != b"release"
    assert values[leaf][Attribute.ISSUER] == values[issuer][Attribute.SUBJECT]


async def test_a_certificate_of_the_build_host_comes_first() -> None:
    """`--certificate KEY=FILE` replaces the directory's, for the version whose public key it has."""
    leaf, published = issue(None, RSA, "release"), issue(None, RSA, "release of the directory")
    directory = Directory(release=ring(RSA))
    assert isinstance(directory.keys_now, dict)
    entry = directory.keys_now["release"]
    version = replace(entry.versions[0], certificates=(published,))
    directory.keys_now = {"release": replace(entry, versions=(version,))}
    assert (await TokenSource(directory).current()).find([(Attribute.VALUE, published)])
    chain = CertificateChain(spki=spki_of(RSA), certificates=(leaf,))
    source = TokenSource(directory, chains={"release": chain})
    await source.check()
    token = await source.current()
    assert token.find([(Attribute.VALUE, leaf), (Attribute.ID, b"release")])
    assert not token.find([(Attribute.VALUE, published)])


async def test_a_certificate_of_another_key_is_a_mistake_of_configuration() -> None:
    """Signed with it, nothing would verify: the agent does not begin."""
    chain = CertificateChain(spki=spki_of(P256), certificates=(issue(None, P256, "other"),))
    with pytest.raises(ConfigError, match="no active version"):
        await TokenSource(Directory(release=ring(RSA)), chains={"release": chain}).check()


@pytest.mark.parametrize("name", ["releese", "notes"])
async def test_a_key_that_cannot_be_shown_is_named(name: str) -> None:
    """An unknown key, and one of a kind without mechanism, are errors at the start."""
    directory = Directory(release=ring(RSA), notes=ring(ed25519.Ed25519PrivateKey.generate()))
    with pytest.raises(KeyUnknown, match=name):
        await TokenSource(directory, names=[name]).check()


@pytest.mark.parametrize("raw", [b"0 no certificate", *UNREADABLE.values()])
async def test_a_certificate_that_cannot_be_read_costs_its_own_key(
    raw: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """The other keys are shown; the log names the one that is not."""
    directory = Directory(release=ring(RSA), nightly=ring(P256))
    assert isinstance(directory.keys_now, dict)
    entry = directory.keys_now["release"]
    version = replace(entry.versions[0], certificates=(raw,))
    directory.keys_now = {**directory.keys_now, "release": replace(entry, versions=(version,))}
    token = await TokenSource(directory).current()
    assert {label for _, label in shown(token)} == {b"nightly"}
    assert "release/1" in caplog.text


async def test_a_configuration_that_redis_refuses_is_told_as_unavailable() -> None:
    """An agent that runs cannot be corrected by its configuration: the call fails, and says why."""
    directory = Directory(release=ring(RSA))
    directory.keys_now = ConfigError("client.toml", "redis.user", "is refused", "Ask the operator.")
    with pytest.raises(Unavailable, match="is refused"):
        await TokenSource(directory).current()


def test_a_chain_is_read_from_pem_or_der(tmp_path: Path) -> None:
    """PEM has the leaf first; DER is one certificate."""
    leaf, issuer = issue(P384, RSA, "release"), issue(None, P384, "CA")
    (tmp_path / "chain.pem").write_bytes(pem(leaf) + pem(issuer))
    (tmp_path / "leaf.der").write_bytes(leaf)
    chain = CertificateChain.from_file(tmp_path / "chain.pem")
    assert (chain.spki, chain.certificates) == (spki_of(RSA), (leaf, issuer))
    assert CertificateChain.from_file(tmp_path / "leaf.der") == changed(chain, certificates=(leaf,))


@pytest.mark.parametrize(
    "content", [b"", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", None]
)
def test_a_file_without_certificate_is_named(tmp_path: Path, content: bytes | None) -> None:
    """An empty file, a damaged one and a missing one are mistakes of configuration."""
    file = tmp_path / "release.pem"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ConfigError, match=r"release\.pem"):
        CertificateChain.from_file(file)


def test_a_chain_has_a_length(tmp_path: Path) -> None:
    """A bundle of authorities is no chain."""
    (tmp_path / "bundle.pem").write_bytes(pem(issue(None, RSA, "a")) * 11)
    with pytest.raises(ConfigError, match="11 certificates"):
        CertificateChain.from_file(tmp_path / "bundle.pem")
