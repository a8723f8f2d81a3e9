"""``sigmill keys request``: requests of keys in a token, read by openssl."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID

from bench.hsm.simhsm import write_rules
from tests.support.fakes.key_sites import events_of
from tests.support.openssl import openssl
from tests.support.sigmill_cli import Ran, sigmill
from workers.config.loading import load_configuration, load_scope

if TYPE_CHECKING:
    from tests.integration.cli.conftest import OperatorSite

SUBJECT = "CN=Example Ltd,O=Example Ltd,C=DE"
NEW = ("keys", "create", "--tenant", "acme", "--key", "release", "--token", "acme", "--no-origin", "--type")
"""Without a statement: the service key of the site is in no token."""


def request(site: OperatorSite, *more: str, subject: str | None = SUBJECT) -> Ran:
    """``keys request`` for acme's key, in JSON."""
    words = ["keys", "request", "--tenant", "acme", "--key", "release", "--json", *more]
    return sigmill(*words, *([] if subject is None else ["--subject", subject]), config=site.config)


@pytest.mark.parametrize("kind", ["rsa-3072", "p256", "p384", "p521", "ed25519"])
def test_a_request_of_each_kind_of_key_is_good_for_openssl(
    operator_site: OperatorSite, tmp_path: Path, kind: str
) -> None:
    """`openssl req -verify` accepts its signature; the key is the pinned one, and code signing is asked for."""
    file = tmp_path / "release.csr"

    ran = sigmill(
        *NEW, kind, "--write", "--request", "--subject", SUBJECT, "--out", file, "--json",
        config=operator_site.config,
    )  # fmt: skip

    assert ran.code == 0, ran.err + ran.out
    key, made = ran.json()
    assert made["out"] == str(file)
    assert made["request"] == file.read_text()
    checked = openssl("req", "-verify", "-noout", "-text", "-in", file)
    assert checked.code == 0, checked.text
    assert "verify OK" in checked.text
    assert "Code Signing" in checked.text
    assert "Digital Signature" in checked.text
    read = x509.load_pem_x509_csr(file.read_bytes())
    spki = read.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    pinned = load_configuration(operator_site.config).tenants["acme"].keys["release"].versions[0]
    assert spki == pinned.public_key.spki
    assert key["public_key_sha256"] == made["public_key_sha256"] == pinned.public_key.sha256.hex()
    events = events_of(load_scope(operator_site.config))
    assert [(each.event, each.version) for each in events] == [("requested", 1), ("created", 1)]
    assert {each.public_key_sha256 for each in events} == {pinned.public_key.sha256}


def test_an_existing_key_is_asked_for_by_name(operator_site: OperatorSite) -> None:
    """The next version is meant before the active one; KEY/VERSION names another; profile and names are as given."""
    for _ in range(2):
        assert sigmill(*NEW, "p256", "--write", config=operator_site.config).code == 0

    waiting = request(
        operator_site, "--eku", "time-stamping", "--san", "dns:sign.example", "--san", "email:a@b.example"
    )
    named = sigmill(
        "keys", "request", "--tenant", "acme", "--key", "release/1", "--subject", SUBJECT,
        config=operator_site.config,
    )  # fmt: skip

    assert waiting.json()[0]["version"] == 2
    read = x509.load_pem_x509_csr(waiting.json()[0]["request"].encode())
    usage = read.extensions.get_extension_for_class(x509.ExtendedKeyUsage)
    assert (list(usage.value), usage.critical) == ([ExtendedKeyUsageOID.TIME_STAMPING], True)
    names = read.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["sign.example"]
    assert named.out.startswith("-----BEGIN CERTIFICATE REQUEST-----")
    assert "release/1" in named.err


@pytest.mark.parametrize(
    "subject, problem",
    [
        ("CN=" + "x" * 300, "300"),
        ("CN=Example,O=" + "x" * 300, "300 characters, at most 64"),
        ('CN=Example,O="Example, Ltd"', "with a backslash before it"),
        ("Example Ltd", "write CN=Example Ltd"),
        ("O=Example", "no CN="),
        ("CN=Example,C=DEU", "has 3 characters, 2 to 2 are allowed"),
        ("CN=evil\x1b[31m", "control character"),
        ("CN=Example" + ",OU=x" * 5000, "characters, at most 2048"),
    ],
)  # fmt: skip
def test_a_subject_that_no_certificate_has_is_refused_before_a_key_is_made(
    operator_site: OperatorSite, subject: str, problem: str
) -> None:
    """The error says what is wrong with it; no key is created for it."""
    ran = sigmill(*NEW, "p256", "--request", "--subject", subject, "--json", config=operator_site.config)

    assert ran.code == 2
    assert problem in ran.error()["message"]
    assert sigmill(*NEW, "p256", "--json", config=operator_site.config).code == 0, "the label is free"


def test_a_subject_keeps_every_character(operator_site: OperatorSite) -> None:
    """Quotes and commas by backslash, and letters of any language, come out as they went in."""
    sigmill(*NEW, "p256", "--write", config=operator_site.config)

    ran = request(operator_site, subject='CN=Bücher \\"Süß\\"\\, 書店,O=A\\+B')

    subject = x509.load_pem_x509_csr(ran.json()[0]["request"].encode()).subject
    assert [a.value for a in subject] == ["A+B", 'Bücher "Süß", 書店']


@pytest.mark.parametrize(
    "more, told",
    [
        (["--san", "ldap:x"], "`ldap` is no kind of alternative name"),
        (["--san", "ip:1.2.3"], "`ip:1.2.3` is no alternative name"),
        (["--san", "dns:" + "a" * 70_000], "`dns:aaaaaaaa"),
        (["--out", "/no/such/folder/x.csr"], "there is no folder /no/such/folder"),
    ],
    ids=["kind", "address", "long", "folder"],
)
def test_a_wrong_option_is_named(operator_site: OperatorSite, more: list[str], told: str) -> None:
    """An option that cannot be followed is a usage error with its value."""
    sigmill(*NEW, "p256", "--write", config=operator_site.config)

    ran = request(operator_site, *more)

    assert ran.code == 2
    assert told in ran.error()["message"]


def test_a_request_replaces_no_pipe(operator_site: OperatorSite, tmp_path: Path) -> None:
    """A pipe or device as --out is refused before a key is made: as root, /dev/null would become a file."""
    os.mkfifo(tmp_path / "pipe")

    ran = sigmill(
        *NEW, "p256", "--write", "--request", "--subject", SUBJECT, "--out", tmp_path / "pipe", "--json",
        config=operator_site.config,
    )  # fmt: skip

    assert "is a device or a pipe" in ran.error()["message"]
    assert not operator_site.tenant_file().exists()


def test_without_a_subject_the_command_says_what_to_give(operator_site: OperatorSite) -> None:
    """A key without a certificate has no subject to take."""
    sigmill(*NEW, "p256", "--write", config=operator_site.config)

    ran = request(operator_site, subject=None)

    assert (ran.code, "give --subject" in ran.error()["message"]) == (2, True)


@pytest.mark.parametrize("key", ["nothing", "release/7"])
def test_an_unknown_key_is_named(operator_site: OperatorSite, key: str) -> None:
    """A key or version that the file does not have ends with its code."""
    sigmill(*NEW, "p256", "--write", config=operator_site.config)

    ran = sigmill(
        "keys", "request", "--tenant", "acme", "--key", key, "--subject", SUBJECT, "--json",
        config=operator_site.config,
    )  # fmt: skip

    assert ran.error()["code"] == "key.unknown"


@pytest.mark.parametrize("write", [True, False])
def test_a_token_that_goes_away_after_the_key_was_made_leaves_a_named_key(
    operator_site: OperatorSite, tmp_path: Path, write: bool
) -> None:
    """The error says where the key is and how the request is made later; then that works, without a second key."""
    faults = tmp_path / "faults"
    write_rules(faults, ["C_SignInit rv=0x32"])  # CKR_DEVICE_REMOVED
    operator_site.put_behind_faults(faults)
    more = ["--write"] if write else []

    ran = sigmill(
        *NEW,
        "ed25519",
        *more,
        "--request",
        "--subject",
        SUBJECT,
        "--json",
        config=operator_site.config,
    )

    key, failed = ran.json()
    assert ran.code == 75
    assert key["label"] in failed["error"]["message"]
    assert "the key was created" in failed["error"]["message"]
    write_rules(faults, [])
    if not write:
        assert "keys adopt" in failed["error"]["hint"]
        adopted = sigmill(
            "keys", "adopt", "--tenant", "acme", "--key", "release", "--token", "acme", "--label", key["label"],
            "--write", config=operator_site.config,
        )  # fmt: skip
        assert adopted.code == 0, adopted.err
    again = request(operator_site)
    assert again.json()[0]["public_key_sha256"] == key["public_key_sha256"]
    assert len(sigmill("keys", "list", "--json", config=operator_site.config).json()) == 1


def test_a_key_whose_creation_was_cut_off_is_found_again(operator_site: OperatorSite, tmp_path: Path) -> None:
    """The child ends after the token made the key: the error says by which label it may be there, and adopt takes it."""
    faults = tmp_path / "faults"
    write_rules(faults, ["C_GetAttributeValue exit=5"])
    operator_site.put_behind_faults(faults)

    ran = sigmill(*NEW, "p256", "--write", "--json", config=operator_site.config)

    assert (ran.code, ran.error()["code"]) == (75, "token.unavailable")
    assert "keys adopt --label acme.release.v1" in ran.error()["hint"]
    assert not operator_site.tenant_file().exists()
    write_rules(faults, [])
    adopted = sigmill(
        "keys", "adopt", "--tenant", "acme", "--key", "release", "--token", "acme", "--label", "acme.release.v1",
        "--write", config=operator_site.config,
    )  # fmt: skip
    assert adopted.code == 0, adopted.err
    assert request(operator_site).code == 0
