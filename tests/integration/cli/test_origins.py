"""Origin statements of keys in tokens: signed by the service key, checked by openssl, and refused where anything differs."""

from __future__ import annotations

import hashlib
import json
import os
import re
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from cryptography import x509

from bench.hsm.simhsm import write_rules
from tests.support.fakes.key_sites import events_of, files_of_tenants, service_signatures_of
from tests.support.openssl import Checked, openssl
from tests.support.rig.processes import descendants
from tests.support.sigmill_cli import Ran, sigmill, start_sigmill
from tests.support.waiting import until_async
from workers.config.loading import load_configuration, load_scope

if TYPE_CHECKING:
    from tests.integration.cli.conftest import OperatorSite

SUBJECT = "CN=Example Ltd,O=Example Ltd,C=DE"
ATTESTATION = x509.ObjectIdentifier("1.2.840.113549.1.9.16.2.59")


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


@pytest.mark.parametrize(
    "kind, service_kind",
    [
        ("rsa-3072", "p384"),
        ("rsa-4096", "p521"),
        ("p256", "rsa-4096"),
        ("p384", "p256"),
        ("p521", "rsa-3072"),
        ("ed25519", "p256"),
    ],
)
def test_a_statement_of_each_kind_of_key_is_good_for_openssl(
    operator_site: OperatorSite, tmp_path: Path, kind: str, service_kind: str
) -> None:
    """By each kind of service key: `openssl cms -verify` alone checks it; the request in it is the key's, and says the same."""
    site = with_service_key(operator_site, service_kind)

    ran = create(site, "--witness", "Ada Lovelace", "--witness", "Grace Hopper", kind=kind)

    assert ran.code == 0, ran.out + ran.err
    key, files, request = ran.json()
    content = tmp_path / "content.json"
    checked = cms_verify(files, files["statement"], content)
    assert checked.code == 0, checked.text
    origin = json.loads(content.read_text())
    assert origin["request"] == request["request"]
    (tmp_path / "in.csr").write_text(origin["request"])
    assert "verify OK" in openssl("req", "-verify", "-noout", "-in", tmp_path / "in.csr").text
    said = origin["statement"]
    assert (said["public_key_sha256"], said["how"]) == (key["public_key_sha256"], "generated")
    assert said["generated_at"] <= said["at"]
    assert said["witnesses"] == ["Ada Lovelace", "Grace Hopper"]
    assert said["token"]["label"] == "acme"
    module = Path(said["module"]["path"])
    assert said["module"]["sha256"] == hashlib.sha256(module.read_bytes()).hexdigest()
    assert said["mechanism"].startswith("CKM_")
    assert said["attributes"]["CKA_LOCAL"] is True
    assert said["attributes"]["CKA_EXTRACTABLE"] is False
    good = verify(site, files["statement"])
    assert (good.code, good.json()[0]["state"]) == (0, "active"), good.out
    shown = sigmill("keys", "origin", "show", files["statement"])
    assert "witnesses: Ada Lovelace, Grace Hopper" in shown.out
    assert "not verified" in shown.err
    raw = Path(files["statement"]).read_bytes()
    changed = tmp_path / "changed.p7s"
    changed.write_bytes(raw.replace(b'"how":"generated"', b'"how":"generates"'))
    assert changed.read_bytes() != raw
    assert cms_verify(files, changed, tmp_path / "x").code != 0
    assert "content was changed" in verify(site, changed).error()["message"]
    assert list(site.tenant_file().parent.glob("*.ceremony")) == []


def cms_verify(files: dict[str, str], statement: str | Path, out: Path) -> Checked:
    """The statement by ``openssl cms -verify``, with the certificate of the service key; its content goes to ``out``."""
    return openssl(
        "cms", "-verify", "-inform", "DER", "-in", statement, "-CAfile", files["certificate"], "-out", out
    )


def openssl_version() -> tuple[int, int]:
    """Major and minor number."""
    found = re.match(r"OpenSSL (\d+)\.(\d+)", openssl("version").text)
    assert found is not None
    return int(found[1]), int(found[2])


def test_a_statement_by_an_ed25519_service_key_is_checked_by_sigmill(
    operator_site: OperatorSite, tmp_path: Path
) -> None:
    """OpenSSL verifies EdDSA in CMS (RFC 8419) from 3.5 on: the command says so, and names what does before."""
    site = with_service_key(operator_site, "ed25519")

    ran = create(site)

    assert ran.code == 0, ran.out + ran.err
    files = ran.json()[1]
    assert files["openssl_reads_it"] is False
    assert verify(site, files["statement"]).code == 0
    by_openssl = cms_verify(files, files["statement"], tmp_path / "content")
    if openssl_version() >= (3, 5):
        assert by_openssl.code == 0, by_openssl.text
    else:
        assert "invalid digest" in by_openssl.text, by_openssl.text
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
    assert "or with OpenSSL 3.5 or later" in told.err


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


@pytest.mark.parametrize("names", [("Ada", " ada "), ("",), ("Ada\x1b[1m",), ("Ada\nGrace",), ("x" * 300,)])
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


def test_papers_that_failed_are_made_later_as_those_of_the_generation(
    ceremony_site: OperatorSite, tmp_path: Path
) -> None:
    """The ceremony's record proves it: time and witnesses are those of the creation, and the request has the statement inside."""
    with_evidence(ceremony_site, "print('an attestation of nothing')")
    failed = create(ceremony_site, "--witness", "Ada")
    assert failed.code == 2
    key, error = failed.json()
    assert "does not have the public key" in error["error"]["message"]
    assert key["label"] in error["error"]["message"]
    assert "`sigmill keys origin create --tenant acme --key release/1`" in error["error"]["hint"]
    folder = ceremony_site.tenant_file().parent
    assert sorted(file.suffix for file in files_of_tenants(folder)) == [".ceremony", ".toml"]
    words = ("--tenant", "acme", "--key", "release", "--json")
    early = sigmill("keys", "request", *words, "--subject", SUBJECT, config=ceremony_site.config)
    assert early.json()[0]["statement"] is None
    assert "has no statement yet" in early.err
    with_evidence(
        ceremony_site,
        "import os; print('chain of', os.environ['SIGMILL_KEY'], os.environ['SIGMILL_PUBLIC_KEY'])",
    )
    others = sigmill("keys", "origin", "create", *words, "--witness", "Eve", config=ceremony_site.config)
    assert "with its witnesses (Ada): omit --witness" in others.error()["message"]

    later = sigmill("keys", "origin", "create", *words, config=ceremony_site.config)

    assert later.code == 0, later.out
    (files,) = later.json()
    assert files["how"] == "generated"
    assert list(folder.glob("*.ceremony")) == []
    evidence = Path(files["evidence"]).read_bytes()
    assert evidence.startswith(b"chain of acme.release.v1 ")
    created, requested, stated = events_of(load_scope(ceremony_site.config))
    assert requested.event == "requested"
    assert (created.event, created.statement_sha256) == ("created", b""), "its statement failed"
    assert (stated.event, stated.statement_sha256.hex()) == ("stated", files["statement_sha256"])
    assert stated.witnesses == ("Ada",)
    checked = verify(ceremony_site, files["statement"]).json()[0]
    said = checked["statement"]
    assert (said["how"], said["witnesses"], checked["evidence"]) == ("generated", ["Ada"], "good")
    assert said["generated_at"] <= said["at"]
    assert said["vendor_evidence"][0]["sha256"] == hashlib.sha256(evidence).hexdigest()
    assert said["token"]["certification"] == "CMVP 4090"
    (version,) = load_configuration(ceremony_site.config).tenants["acme"].keys["release"].versions
    assert version.public_key.sha256.hex() == said["public_key_sha256"]
    asked = sigmill("keys", "request", *words, "--subject", SUBJECT, config=ceremony_site.config).json()[0]
    assert asked["statement"] == files["statement"]
    assert json.dumps(said["token"]["serial"]) in attestation(asked["request"])
    plain = sigmill(
        "keys", "request", *words, "--subject", SUBJECT, "--no-origin", config=ceremony_site.config
    ).json()[0]
    assert attestation(plain["request"]) == ""


def test_each_signature_of_the_service_key_in_a_ceremony_is_on_record(ceremony_site: OperatorSite) -> None:
    """One event each: of the opening, of its own certificate the first time, and of the statement, with the hash of what it signed."""
    scope = load_scope(ceremony_site.config)
    signatures = []
    for name, expected in (("release", 3), ("nightly", 5)):
        made = create(ceremony_site, "--witness", "Ada", key=name)
        assert made.code == 0, made.out
        signatures = service_signatures_of(scope)
        assert len(signatures) == expected
    service_key = load_configuration(ceremony_site.config).service.service_key.public_key
    assert {(each.event, each.key, each.version) for each in signatures} == {("signed", "service", 1)}
    assert {each.public_key_sha256 for each in signatures} == {service_key.sha256}
    assert len({each.statement_sha256 for each in signatures}) == len(signatures)
    assert not [each for each in events_of(scope) if each.event == "signed"], (
        "it is no event of the tenant's keys"
    )


def attestation(request: str) -> str:
    """The statement inside a request (id-aa-attestation); empty where it has none."""
    try:
        found = x509.load_pem_x509_csr(request.encode()).attributes.get_attribute_for_oid(ATTESTATION)
    except x509.AttributeNotFound:
        return ""
    return found.value.decode("utf-8", "replace")


def test_evidence_that_is_not_the_statements_is_refused(ceremony_site: OperatorSite) -> None:
    """A missing one is said: the statement itself is good without it."""
    with_evidence(ceremony_site, "import os; print(os.environ['SIGMILL_PUBLIC_KEY'])")
    _, files, _ = create(ceremony_site).json()
    evidence = Path(files["evidence"])
    evidence.write_bytes(evidence.read_bytes() + b"and more")

    refused = verify(ceremony_site, files["statement"])
    evidence.unlink()
    missing = sigmill("keys", "origin", "verify", files["statement"], config=ceremony_site.config)

    assert (refused.code, refused.error()["code"]) == (1, "result.invalid")
    assert evidence.name in refused.error()["message"]
    assert missing.code == 0
    assert f"{evidence} is missing" in missing.err


def test_a_statement_of_a_version_that_is_not_configured_is_an_error_unless_it_was_removed(
    ceremony_site: OperatorSite,
) -> None:
    """A statement of a key that the configuration does not pin proves nothing of its keys."""
    _, files, _ = create(ceremony_site).json()
    ceremony_site.tenant_file().unlink()

    refused = verify(ceremony_site, files["statement"])
    removed = sigmill(
        "keys", "origin", "verify", files["statement"], "--removed", "--json", config=ceremony_site.config
    )

    assert (refused.code, refused.error()["code"]) == (77, "key.unknown")
    assert "no version 1 of release of acme" in refused.error()["message"]
    assert (removed.code, removed.json()[0]["state"]) == (0, None)


def test_no_key_is_made_whose_ceremony_cannot_be_stored(ceremony_site: OperatorSite) -> None:
    """The error says that no key was created, and the label is free afterwards."""
    in_the_way = ceremony_site.tenant_file().parent / "acme.release.v1.ceremony"
    in_the_way.mkdir()

    refused = create(ceremony_site)

    assert refused.code == 2
    assert "no key was created" in refused.error()["message"]
    in_the_way.rmdir()
    assert create(ceremony_site).code == 0


def test_a_token_that_goes_away_after_the_generation_costs_no_statement(
    ceremony_site: OperatorSite, tmp_path: Path
) -> None:
    """Its record is made without the token; the key is found, and stated as generated, when the token is back."""
    faults = tmp_path / "faults"
    write_rules(faults, ["C_SignInit rv=0x32"])  # CKR_DEVICE_REMOVED
    ceremony_site.put_behind_faults(faults)

    failed = create(ceremony_site, "--witness", "Ada", kind="ed25519")

    assert failed.code == 75
    assert "the key was created" in failed.json()[1]["error"]["message"]
    write_rules(faults, [])
    later = sigmill(
        "keys", "origin", "create", "--tenant", "acme", "--key", "release", config=ceremony_site.config
    )
    assert later.code == 0, later.err
    assert "origin statement (generated)" in later.err


async def test_a_terminal_that_is_lost_in_a_ceremony_leaves_a_named_key_and_no_program(
    ceremony_site: OperatorSite, tmp_path: Path
) -> None:
    """While the vendor's command runs: it ends, the creation is on record, and the ceremony is completed later."""
    marker = tmp_path / "pid"
    with_evidence(
        ceremony_site,
        f"import os, time; open({str(marker)!r}, 'w').write(f'{{os.getpid()}}.'); time.sleep(600)",
    )
    command = await start_sigmill(
        "keys", "create", "--tenant", "acme", "--key", "release", "--token", "acme", "--type", "p256", "--write",
        "--witness", "Ada", environ={"SIGMILL_CONFIG": str(ceremony_site.config)},
    )  # fmt: skip
    await until_async(
        lambda: marker.exists() and marker.read_text().endswith("."), "the evidence is collected"
    )

    command.send_signal(signal.SIGHUP)
    _, told = await command.communicate()

    assert command.returncode == 128 + signal.SIGHUP
    assert "the key was created (token acme, label 'acme.release.v1'" in told.decode()
    await until_async(
        lambda: not Path(f"/proc/{marker.read_text()[:-1]}").exists(), "the vendor's command ends"
    )
    (created,) = events_of(load_scope(ceremony_site.config))
    assert (created.event, created.witnesses) == ("created", ("Ada",))
    with_evidence(ceremony_site, "import os; print(os.environ['SIGMILL_PUBLIC_KEY'])")
    later = sigmill(
        "keys", "origin", "create", "--tenant", "acme", "--key", "release", "--json", config=ceremony_site.config
    )  # fmt: skip
    assert (later.code, later.json()[0]["how"]) == (0, "generated")


async def test_a_command_that_is_killed_before_it_has_the_tokens_answer_leaves_a_named_key(
    ceremony_site: OperatorSite, tmp_path: Path
) -> None:
    """With -9, and no second key is made: the opening of its ceremony names the key by a CKA_ID, and its witnesses."""
    faults = tmp_path / "faults"
    write_rules(faults, ["C_CloseSession hang once"])  # the key is made, and its answer never comes
    ceremony_site.put_behind_faults(faults)
    command = await start_sigmill(
        "keys", "create", "--tenant", "acme", "--key", "release", "--token", "acme", "--type", "p256", "--write",
        "--witness", "Ada", environ={"SIGMILL_CONFIG": str(ceremony_site.config)},
    )  # fmt: skip
    await until_async(lambda: any(tmp_path.glob("faults.*.done")), "the token has made the key")
    for pid in (command.pid, *descendants(command.pid)):
        os.kill(pid, signal.SIGKILL)
    await command.communicate()

    again = create(ceremony_site, "--witness", "Eve")

    assert "a ceremony of release/1 was interrupted" in again.error()["message"], again.out
    assert "sigmill keys origin create --tenant acme --key release" in again.error()["hint"]
    words = ("--tenant", "acme", "--key", "release", "--json")
    adopted = sigmill(
        "keys", "adopt", *words, "--token", "acme", "--label", "acme.release.v1", "--write", config=ceremony_site.config
    )  # fmt: skip
    assert adopted.code == 0, adopted.out
    others = sigmill("keys", "origin", "create", *words, "--witness", "Eve", config=ceremony_site.config)
    assert "with its witnesses (Ada): omit --witness" in others.error()["message"]
    later = sigmill("keys", "origin", "create", *words, config=ceremony_site.config)
    assert (later.code, later.json()[0]["how"]) == (0, "interrupted"), later.out
    said = verify(ceremony_site, later.json()[0]["statement"]).json()[0]["statement"]
    assert (said["how"], said["witnesses"], "generated_at" in said) == ("interrupted", ["Ada"], False)
    assert said["opened_at"] <= said["at"]
    assert list(ceremony_site.tenant_file().parent.glob("*.ceremony")) == []


def test_a_later_key_is_not_the_one_of_an_interrupted_ceremony(
    ceremony_site: OperatorSite, tmp_path: Path
) -> None:
    """The opening is left where the token was lost; a key that another tool makes afterwards has another CKA_ID."""
    faults = tmp_path / "faults"
    write_rules(faults, ["C_GenerateKeyPair rv=0x32"])  # CKR_DEVICE_REMOVED
    ceremony_site.put_behind_faults(faults)
    lost = create(ceremony_site, "--witness", "Ada")
    assert lost.code == 75, lost.out
    assert "origin create" in lost.error()["hint"]
    (opening,) = ceremony_site.tenant_file().parent.glob("*.ceremony")
    kept = opening.read_bytes()
    write_rules(faults, [])

    made = create(ceremony_site, "--no-origin")
    assert made.code == 0, made.out
    opening.write_bytes(kept)
    later = sigmill(
        "keys", "origin", "create", "--tenant", "acme", "--key", "release", "--json", config=ceremony_site.config
    )  # fmt: skip
    assert (later.code, later.json()[0]["how"]) == (0, "found")
    assert "names another key" in later.err


def test_a_record_of_another_service_key_is_told_and_proves_nothing(ceremony_site: OperatorSite) -> None:
    """A user who can write files can write a record: the statement says no more than that the key was found."""
    with_evidence(ceremony_site, "print('nothing')")
    assert create(ceremony_site).code == 2
    with_evidence(ceremony_site, "import os; print(os.environ['SIGMILL_PUBLIC_KEY'])")
    (record,) = ceremony_site.tenant_file().parent.glob("*.ceremony")
    record.write_bytes(record.read_bytes().replace(b'"opened":"', b'"opened":"AAAA'))

    later = sigmill(
        "keys", "origin", "create", "--tenant", "acme", "--key", "release", "--json", config=ceremony_site.config
    )  # fmt: skip

    assert (later.code, later.json()[0]["how"]) == (0, "found")
    assert "not signed by the pinned service key" in later.err
    assert record.exists()


def test_a_later_statement_replaces_none_of_the_ceremony(ceremony_site: OperatorSite) -> None:
    """The first statement, with its witnesses, stays on the disk; the later one says that the key was
    found.
    """
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
    assert files_of_tenants(ceremony_site.tenant_file().parent) == []
    made = create(ceremony_site, "--no-origin")
    assert (made.code, made.json()[0]["label"]) == (0, "acme.release.v1")


def test_a_service_key_that_is_not_in_its_token_makes_no_key(operator_site: OperatorSite) -> None:
    """With a service key that is not in its token no key is made, as after a restore without the token."""
    refused = create(operator_site)

    assert "no key was created" in refused.error()["message"]
    assert "--no-origin" in refused.error()["hint"]
    assert create(operator_site, "--no-origin").json()[0]["label"] == "acme.release.v1"
