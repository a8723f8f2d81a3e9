"""Mistakes in a tenant's file are named by file, key path and remedy."""

from __future__ import annotations

from pathlib import Path

import pytest

from queueing.errors import ConfigError
from queueing.protocol.algorithms import KeyKind
from queueing.protocol.public_keys import placeholder_key
from tests.support.fakes.config_files import p256_key, tenant_text, version_lines
from workers.config.tenant_file import load_tenant
from workers.config.tenants import Tenant

TOKENS = ("acme",)


def load(folder: Path, text: str) -> Tenant:
    """The tenant of this text."""
    file = folder / "acme.toml"
    file.write_text(text)
    return load_tenant(file, TOKENS)


def mistake(folder: Path, text: str) -> ConfigError:
    """The mistake in this text; it names the file."""
    with pytest.raises(ConfigError) as caught:
        load(folder, text)
    assert caught.value.file == str(folder / "acme.toml")
    assert caught.value.remedy
    return caught.value


@pytest.mark.parametrize(
    "old, new, key, remedy",
    [
        ("[clients.build-1]", "[client.build-1]", "client", "Did you mean `clients`?"),
        ("epoch = 4", "epoch = -1", "epoch", "in that range"),
        ("epoch = 4", 'epoch = "4"', "epoch", "kind that is expected"),
        ('tenant = "acme"', 'tenant = "globex"', "tenant", "Rename"),
        ("2099-01-01T00:00:00Z", "2099-01-01T00:00:00", "clients.build-1.expires", "Add a Z"),
        ("expires =", "expire =", "clients.build-1.expire", "Did you mean `expires`?"),
        ('["ECDSA_SHA_256"]', '["ECDSA_SHA256"]', "keys.release.algorithms[0]", "Did you mean `ECDSA_SHA_256`?"),
        ('["ECDSA_SHA_256"]', '["ED25519"]', "keys.release.algorithms", "every version"),
        ('["ECDSA_SHA_256"]', '["ECDSA_SHA_256", "ED25519"]', "keys.release.algorithms", "every version"),
        ('["ECDSA_SHA_256"]', "[]", "keys.release.algorithms", "in that range"),
        ('state = "active"', 'state = "aktive"', "keys.release.versions[0].state", "Did you mean `active`?"),
        ('tokens = ["acme"]', 'tokens = ["gone"]', "keys.release.versions[0].tokens", "[tokens.gone]"),
        ("version = 1", "version = 0", "keys.release.versions[0].version", "in that range"),
        ('public_key_sha256 = "', 'public_key_sha256 = "z', "keys.release.versions[0].public_key_sha256", "kind"),
        ("[keys.release]", "[keys.Release]\nalgorithms=[]\n[keys.release]", "keys.Release", "Use 1 to 63"),
    ],
)  # fmt: skip
def test_a_mistake_is_named_by_its_place_and_remedy(
    tmp_path: Path, old: str, new: str, key: str, remedy: str
) -> None:
    """One wrong line gives one error: the path of the key, and what would be right."""
    found = mistake(tmp_path, tenant_text().replace(old, new, 1))

    assert found.key == key
    assert remedy in found.remedy


def test_a_fingerprint_must_be_that_of_the_key(tmp_path: Path) -> None:
    """Key and fingerprint are pasted together: that they agree shows that neither was mangled."""
    other = p256_key(7).sha256.hex()
    text = tenant_text().replace(placeholder_key(KeyKind.P256).sha256.hex(), other)

    found = mistake(tmp_path, text)

    assert found.key == "keys.release.versions[0].public_key_sha256"
    assert "not the SHA-256" in found.problem


def test_rsa_2048_is_too_small_for_code_signing(tmp_path: Path) -> None:
    """CSBR 6.1.5: RSA of public code signing has 3072 bits; other uses say so by their profile."""
    text = tenant_text(key=placeholder_key(KeyKind.RSA_2048)).replace(
        "ECDSA_SHA_256", "RSASSA_PKCS1_V1_5_SHA_256"
    )

    found = mistake(tmp_path, text)

    assert (found.key, "too small" in found.problem) == ("keys.release.profile", True)
    internal = text.replace("[keys.release]", '[keys.release]\nprofile = "internal"')
    assert load(tmp_path, internal).keys["release"].profile == "internal"


def test_versions_stand_in_rising_order(tmp_path: Path) -> None:
    """The newest active version is the last one that is active; disorder would make that a guess."""
    second = f"\n[[keys.release.versions]]\n{version_lines(p256_key(3), version=1)}"

    assert mistake(tmp_path, tenant_text() + second).key == "keys.release.versions"


def test_a_key_is_pinned_once(tmp_path: Path) -> None:
    """A key that is revoked under one name must not sign under another."""
    twin = '\n[keys.twin]\nclients = ["*"]\nalgorithms = ["ECDSA_SHA_256"]\n[[keys.twin.versions]]\n'
    text = tenant_text() + twin + version_lines(placeholder_key(KeyKind.P256))

    found = mistake(tmp_path, text)

    assert found.key == "keys.twin.versions[0].public_key"
    assert "keys.release.versions[0]" in found.problem


@pytest.mark.parametrize("text", ["bm8ga2V5", "MFYwEAYHKoZIzj0CAQYFK4EEAAoDQgAE"])
def test_a_text_that_is_no_client_key_is_refused(tmp_path: Path, text: str) -> None:
    """Neither rubbish nor a curve that we do not know gets past, and neither ends in a traceback."""
    line = next(line for line in tenant_text().splitlines() if line.startswith("public_key"))

    found = mistake(tmp_path, tenant_text().replace(line, f'public_key = "{text}"', 1))

    assert found.key == "clients.build-1.public_key"


def test_a_key_without_a_usual_algorithm_must_name_its_default(tmp_path: Path) -> None:
    """With several algorithms, none of which is the usual one, the default would be a guess."""
    rsa = tenant_text(key=placeholder_key(KeyKind.RSA_3072)).replace(
        '["ECDSA_SHA_256"]', '["RSASSA_PSS_SHA_256", "RSASSA_PSS_SHA_512"]'
    )

    assert mistake(tmp_path, rsa).key == "keys.release.default_algorithm"


def test_the_default_algorithm_is_among_those_allowed(tmp_path: Path) -> None:
    """A default that the key may not use would refuse every client that names none."""
    rsa = tenant_text(key=placeholder_key(KeyKind.RSA_3072)).replace(
        '["ECDSA_SHA_256"]', '["RSASSA_PSS_SHA_256"]\ndefault_algorithm = "RSASSA_PSS_SHA_512"'
    )

    assert mistake(tmp_path, rsa).key == "keys.release.default_algorithm"


def test_a_tenant_is_of_the_class_that_its_file_says(tmp_path: Path) -> None:
    """One of three; standard where it says nothing."""
    assert load(tmp_path, tenant_text()).tenant_class == "standard"
    assert load(tmp_path, f'class = "interactive"\n{tenant_text()}').tenant_class == "interactive"
    assert mistake(tmp_path, f'class = "best"\n{tenant_text()}').key == "class"
