"""Origin statements of keys in tokens: signed by the service key, checked by openssl, and refused where anything differs."""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.fakes.key_sites import events_of
from tests.support.openssl import openssl
from tests.support.sigmill_cli import Ran, sigmill
from workers.config.loading import load_configuration, load_scope

if TYPE_CHECKING:
    from tests.integration.cli.conftest import OperatorSite

SUBJECT = "CN=Example Ltd,O=Example Ltd,C=DE"


def with_service_key(site: OperatorSite, kind: str) -> OperatorSite:
    """The site with a service key of this kind in its token."""
    head, _, rest = site.config.read_text().partition("[service_key]")
    site.config.write_text(head + rest[rest.index("[tokens") :])
    made = sigmill(
        "keys", "create", "--service", "--token", "service", "--type", kind, "--json", config=site.config
    )  # fmt: skip
    assert made.code == 0, made.out + made.err
    site.config.write_text(site.config.read_text() + made.json()[0]["toml"])
    return site


@pytest.fixture
def ceremony_site(operator_site: OperatorSite) -> OperatorSite:
    """The site with a service key in its token."""
    return with_service_key(operator_site, "p256")


def create(site: OperatorSite, *more: str, kind: str = "p256", key: str = "release") -> Ran:
    """``keys create`` for acme with a request and a statement, in JSON."""
    words = [
        "keys",
        "create",
        "--tenant",
        "acme",
        "--key",
        key,
        "--token",
        "acme",
        "--type",
        kind,
        "--write",
        "--json",
    ]
    return sigmill(*words, "--request", "--subject", SUBJECT, *more, config=site.config)


def verify(site: OperatorSite, file: str | Path) -> Ran:
    """``keys origin verify``, in JSON."""
    return sigmill("keys", "origin", "verify", file, "--json", config=site.config)


@pytest.mark.parametrize("kind", ["rsa-3072", "p256", "p384", "ed25519"])
def test_a_statement_of_each_kind_of_key_is_good_for_openssl(
    ceremony_site: OperatorSite, tmp_path: Path, kind: str
) -> None:
    """`openssl cms -verify` alone checks it; the request in it is the key's, and says the same."""
    ran = create(ceremony_site, "--witness", "Ada Lovelace", "--witness", "Grace Hopper", kind=kind)

    assert ran.code == 0, ran.out + ran.err
    key, files, request = ran.json()
    content = tmp_path / "content.json"
    checked = openssl(
        "cms", "-verify", "-inform", "DER", "-in", files["statement"], "-CAfile", files["certificate"], "-out", content
    )  # fmt: skip
    assert checked.code == 0, checked.text
    origin = json.loads(content.read_text())
    assert origin["request"] == request["request"]
    (tmp_path / "in.csr").write_text(origin["request"])
    assert "verify OK" in openssl("req", "-verify", "-noout", "-in", tmp_path / "in.csr").text
    said = origin["statement"]
    assert (said["public_key_sha256"], said["how"]) == (key["public_key_sha256"], "generated")
    assert said["witnesses"] == ["Ada Lovelace", "Grace Hopper"]
    assert said["token"]["label"] == "acme"
    module = Path(said["module"]["path"])
    assert said["module"]["sha256"] == hashlib.sha256(module.read_bytes()).hexdigest()
    assert said["mechanism"].startswith("CKM_")
    assert said["attributes"]["CKA_LOCAL"] is True
    assert said["attributes"]["CKA_EXTRACTABLE"] is False
    good = verify(ceremony_site, files["statement"])
    assert (good.code, good.json()[0]["state"]) == (0, "active"), good.out
    shown = sigmill("keys", "origin", "show", files["statement"])
    assert "witnesses: Ada Lovelace, Grace Hopper" in shown.out
    assert "not verified" in shown.err


@pytest.mark.parametrize("kind", ["p384", "rsa-3072"])
def test_a_statement_by_each_kind_of_service_key_is_good_for_openssl(
    operator_site: OperatorSite, tmp_path: Path, kind: str
) -> None:
    """Its hash and identifiers follow from the service key, not from the key that it is about; a changed byte is refused."""
    site = with_service_key(operator_site, kind)

    ran = create(site)

    assert ran.code == 0, ran.out + ran.err
    files = ran.json()[1]
    words = (
        "cms",
        "-verify",
        "-inform",
        "DER",
        "-CAfile",
        files["certificate"],
        "-out",
        tmp_path / "x",
        "-in",
    )
    good = openssl(*words, files["statement"])
    assert good.code == 0, good.text
    assert verify(site, files["statement"]).code == 0
    raw = Path(files["statement"]).read_bytes()
    changed = tmp_path / "changed.p7s"
    changed.write_bytes(raw.replace(b'"how":"generated"', b'"how":"generates"'))
    assert changed.read_bytes() != raw
    assert openssl(*words, changed).code != 0
    assert "content was changed" in verify(site, changed).error()["message"]


def test_a_statement_by_an_ed25519_service_key_is_checked_by_sigmill(
    operator_site: OperatorSite, tmp_path: Path
) -> None:
    """OpenSSL 3 verifies no EdDSA in CMS (RFC 8419): the command says so, and names what does."""
    site = with_service_key(operator_site, "ed25519")

    ran = create(site)

    assert ran.code == 0, ran.out + ran.err
    files = ran.json()[1]
    assert files["openssl_reads_it"] is False
    assert verify(site, files["statement"]).code == 0
    raw = Path(files["statement"]).read_bytes()
    changed = tmp_path / "changed.p7s"
    changed.write_bytes(raw.replace(b'"how":"generated"', b'"how":"generates"'))
    assert "content was changed" in verify(site, changed).error()["message"]
    forged = tmp_path / "forged.p7s"
    forged.write_bytes(raw[:-1] + bytes([raw[-1] ^ 1]))
    assert verify(site, forged).error()["code"] == "result.invalid"
    told = sigmill(
        "keys", "rotate", "--tenant", "acme", "--key", "release", "--no-request", config=site.config
    )
    assert "check: sigmill keys origin verify" in told.err


def test_every_key_gets_a_statement_unless_it_is_left_out(ceremony_site: OperatorSite) -> None:
    """Without a request, too, and for a rotated one; --no-origin makes none."""
    words = ("keys", "create", "--tenant", "acme", "--token", "acme", "--type", "p256", "--write", "--json")

    plain = sigmill(*words, "--key", "release", config=ceremony_site.config)
    rotated = sigmill(
        "keys", "rotate", "--tenant", "acme", "--key", "release", "--no-request", "--json",
        config=ceremony_site.config,
    )  # fmt: skip
    without = sigmill(*words, "--key", "driver", "--no-origin", config=ceremony_site.config)

    events = events_of(load_scope(ceremony_site.config))
    assert [(each.event, each.key, each.version) for each in events] == [
        ("created", "release", 1), ("rotated", "release", 2), ("created", "driver", 1),
    ]  # fmt: skip
    for ran, event in zip((plain, rotated), events, strict=False):
        key, files = ran.json()
        assert event.public_key_sha256.hex() == key["public_key_sha256"]
        assert event.statement_sha256 == hashlib.sha256(Path(files["statement"]).read_bytes()).digest()
        statement = verify(ceremony_site, files["statement"]).json()[0]
        assert statement["statement"]["public_key_sha256"] == key["public_key_sha256"]
        assert (statement["statement"]["how"], statement["request_sha256"]) == ("generated", None)
    assert len(without.json()) == 1
    assert len(list(ceremony_site.tenant_file().parent.glob("*.p7s"))) == 2


def test_what_was_changed_is_refused(ceremony_site: OperatorSite, tmp_path: Path) -> None:
    """One attribute, another service key, the statement of another key, and what is no statement."""
    _, files, _ = create(ceremony_site).json()
    raw = Path(files["statement"]).read_bytes()
    changed = tmp_path / "changed.p7s"
    changed.write_bytes(raw.replace(b'"CKA_EXTRACTABLE":false', b'"CKA_EXTRACTABLE":true '))
    assert changed.read_bytes() != raw

    refused = verify(ceremony_site, changed)

    assert refused.error()["code"] == "result.invalid"
    assert "content was changed" in refused.error()["message"]
    verified = openssl(
        "cms", "-verify", "-inform", "DER", "-in", changed, "-CAfile", files["certificate"], "-out", tmp_path / "x"
    )  # fmt: skip
    assert verified.code != 0
    (tmp_path / "text.p7s").write_text("hello")
    assert "no CMS SignedData" in verify(ceremony_site, tmp_path / "text.p7s").error()["message"]
    ceremony_site.tenant_file().unlink()
    assert create(ceremony_site, "--label", "second").code == 0
    assert (
        "of another key than release/1 of acme"
        in verify(ceremony_site, files["statement"]).error()["message"]
    )
    text = ceremony_site.config.read_text()
    other = sigmill(
        "keys", "create", "--service", "--token", "service", "--type", "p256", "--label", "another", "--json",
        config=ceremony_site.config,
    )  # fmt: skip
    ceremony_site.config.write_text(text[: text.index("[service_key]")] + other.json()[0]["toml"])
    assert (
        "another key than the pinned service key"
        in verify(ceremony_site, files["statement"]).error()["message"]
    )


@pytest.mark.parametrize("names", [("Ada", " ada "), ("",), ("Ada\x1b[1m",), ("x" * 300,)])
def test_a_witness_is_named_once_and_by_a_name(ceremony_site: OperatorSite, names: tuple[str, ...]) -> None:
    """No key is made for a ceremony that could not be recorded."""
    ran = create(ceremony_site, *(word for name in names for word in ("--witness", name)))

    assert ran.code == 2
    assert "witness" in ran.error()["message"]
    assert not ceremony_site.tenant_file().exists()


def with_evidence(site: OperatorSite, program: str) -> None:
    """Let this Python program be the vendor's command of acme's token."""
    command = json.dumps([sys.executable, "-c", program])
    text = site.config.read_text().split("# evidence\n")[0]
    head, _, rest = text.partition("[tokens.acme]\n")
    head = head.rpartition("evidence = ")[0] or head
    body = "\n".join(line for line in rest.splitlines() if not line.startswith(("evidence", "certification")))
    site.config.write_text(
        f'{head}[tokens.acme]\nevidence = {command}\ncertification = "CMVP 4090"\n{body}\n'
    )


def test_a_vendors_evidence_is_kept_if_it_speaks_of_the_key(ceremony_site: OperatorSite) -> None:
    """As it is; where the command fails or speaks of another key, the key is named, and the statement made later."""
    with_evidence(ceremony_site, "print('an attestation of nothing')")
    failed = create(ceremony_site)
    assert failed.code == 2
    key, error = failed.json()
    assert "does not have the public key" in error["error"]["message"]
    assert key["label"] in error["error"]["message"]
    assert "origin create" in error["error"]["hint"]
    assert list(ceremony_site.tenant_file().parent.glob("*.p7s")) == []
    with_evidence(
        ceremony_site,
        "import os; print('chain of', os.environ['SIGMILL_KEY'], os.environ['SIGMILL_PUBLIC_KEY'])",
    )

    later = sigmill(
        "keys", "origin", "create", "--tenant", "acme", "--key", "release", "--witness", "Ada", "--json",
        config=ceremony_site.config,
    )  # fmt: skip

    assert later.code == 0, later.out
    (files,) = later.json()
    evidence = Path(files["evidence"]).read_bytes()
    assert evidence.startswith(b"chain of acme.release.v1 ")
    created, stated = events_of(load_scope(ceremony_site.config))
    assert (created.event, created.statement_sha256) == ("created", b""), "its statement failed"
    assert (stated.event, stated.statement_sha256.hex()) == ("stated", files["statement_sha256"])
    assert stated.witnesses == ("Ada",)
    said = verify(ceremony_site, files["statement"]).json()[0]["statement"]
    assert said["how"] == "found"
    assert said["vendor_evidence"][0]["sha256"] == hashlib.sha256(evidence).hexdigest()
    assert said["token"]["certification"] == "CMVP 4090"
    assert len(load_configuration(ceremony_site.config).tenants["acme"].keys["release"].versions) == 1


def test_a_later_statement_replaces_none_of_the_ceremony(ceremony_site: OperatorSite) -> None:
    """That the key was generated, and who was there, stays on the disk beside the later word that it was found."""
    _, first, _ = create(ceremony_site, "--witness", "Ada").json()
    raw = Path(first["statement"]).read_bytes()

    later = sigmill(
        "keys", "origin", "create", "--tenant", "acme", "--key", "release", "--json", config=ceremony_site.config
    ).json()[0]  # fmt: skip

    assert Path(first["statement"]).read_bytes() == raw
    assert later["statement"] != first["statement"]
    said = [verify(ceremony_site, each["statement"]).json()[0]["statement"] for each in (first, later)]
    assert [(each["how"], each["witnesses"]) for each in said] == [("generated", ["Ada"]), ("found", [])]


def test_without_the_service_token_no_key_is_made(ceremony_site: OperatorSite) -> None:
    """The statement could not be signed; the error says so before, and names the way without one."""
    ceremony_site.pin_file("service").unlink()

    refused = create(ceremony_site)

    assert "no key was created" in refused.error()["message"]
    assert "--no-origin" in refused.error()["hint"]
    assert list(ceremony_site.tenant_file().parent.glob("*")) == []
    made = create(ceremony_site, "--no-origin")
    assert (made.code, made.json()[0]["label"]) == (0, "acme.release.v1")


def test_a_service_key_that_is_not_in_its_token_makes_no_key(operator_site: OperatorSite) -> None:
    """As after a restore of the configuration without the token."""
    refused = create(operator_site)

    assert "no key was created" in refused.error()["message"]
    assert "--no-origin" in refused.error()["hint"]
    assert create(operator_site, "--no-origin").json()[0]["label"] == "acme.release.v1"
