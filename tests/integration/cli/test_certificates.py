"""Certificates of keys in tokens: an authority of openssl issues, the chain is attached, and nothing wrong gets in."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.fakes.key_sites import events_of, files_of_tenants
from tests.support.openssl import Authority, openssl
from tests.support.sigmill_cli import Ran, environment, sigmill
from workers.config.loading import load_configuration, load_scope

if TYPE_CHECKING:
    from tests.integration.cli.conftest import OperatorSite

SUBJECT = "CN=Example Ltd,O=Example Ltd,C=DE"


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """A certificate authority, made once."""
    return Authority(tmp_path_factory.mktemp("authority") / "ca")


def create(site: OperatorSite, request: Path, *, tenant: str = "acme") -> None:
    """A P-256 key of the tenant with the request for its certificate."""
    ran = sigmill(
        "keys", "create", "--tenant", tenant, "--key", "release", "--token", tenant, "--type", "p256", "--write",
        "--request", "--no-origin", "--subject", SUBJECT, "--out", request, config=site.config,
    )  # fmt: skip
    assert ran.code == 0, ran.err


def attach(site: OperatorSite, chain: Path, *more: str, key: str = "release") -> Ran:
    """``keys attach-certificate`` for acme, in JSON."""
    words = ["keys", "attach-certificate", "--tenant", "acme", "--key", key, "--json", *more]
    return sigmill(*words, chain, config=site.config)


def stray_files(site: OperatorSite) -> list[str]:
    """Names in the tenants' folder that are no tenants' files."""
    return [file.name for file in files_of_tenants(site.tenant_file().parent) if file.suffix != ".toml"]


def test_the_first_certificate_of_a_key(
    operator_site: OperatorSite, authority: Authority, tmp_path: Path
) -> None:
    """Issued from the request, attached, shown by list and show, printed as it came, and renewed with its subject."""
    create(operator_site, tmp_path / "first.csr")
    chain = authority.chain(tmp_path / "first.csr")
    epoch = load_configuration(operator_site.config).tenants["acme"].epoch

    preview = attach(operator_site, chain, "--dry-run")
    assert preview.code == 0, preview.out
    assert load_configuration(operator_site.config).tenants["acme"].epoch == epoch
    assert stray_files(operator_site) == []
    told = sigmill(
        "keys", "attach-certificate", "--tenant", "acme", "--key", "release", chain, "--dry-run",
        config=operator_site.config,
    )  # fmt: skip
    assert "the chain ends below `CN=Test root`: verifiers must have that as a root" in told.err

    ran = attach(operator_site, chain)

    assert ran.code == 0, ran.out
    (line,) = ran.json()
    assert line["difference"] == preview.json()[0]["difference"]
    assert f"+epoch = {epoch + 1}" in line["difference"]
    requested, created, event = events_of(load_scope(operator_site.config))
    assert (requested.event, created.event) == ("requested", "created")
    assert (event.event, event.version, event.changed) == ("attached", 1, ("certificates",))
    assert line["version"] == 1
    assert (line["subject"], line["trust_anchor"]) == (SUBJECT, "CN=Test root")
    assert line["warnings"] == []
    tenant = load_configuration(operator_site.config).tenants["acme"]
    assert tenant.epoch == epoch + 1
    assert len(tenant.keys["release"].versions[0].certificates) == 2
    printed = sigmill(
        "keys", "certificate", "--tenant", "acme", "--key", "release", config=operator_site.config
    )
    assert printed.out == chain.read_text()
    (listed,) = sigmill("keys", "list", "--json", config=operator_site.config).json()
    assert listed["certificate_ends"] == line["not_after"]
    table = sigmill("keys", "list", config=operator_site.config).out
    assert f"until {line['not_after'][:10]}" in table
    leaf = tmp_path / "leaf.pem"
    leaf.write_text(printed.out)
    assert openssl("verify", "-CAfile", authority.root, "-untrusted", authority.intermediate, leaf).code == 0
    as_der = tmp_path / "leaf.der"
    done = subprocess.run(
        [sys.executable, "-m", "workers.cli", "keys", "certificate", "--tenant", "acme", "--key", "release", "--der"],
        env=environment({"SIGMILL_CONFIG": str(operator_site.config)}), check=True, capture_output=True, timeout=60,
    )  # fmt: skip
    as_der.write_bytes(done.stdout)
    assert openssl("x509", "-inform", "DER", "-in", as_der, "-noout", "-subject").code == 0
    renewal = sigmill(
        "keys", "request", "--tenant", "acme", "--key", "release", "--json", config=operator_site.config
    )
    assert renewal.json()[0]["subject"] == SUBJECT


def test_a_second_authority_has_a_name(
    operator_site: OperatorSite, authority: Authority, tmp_path: Path
) -> None:
    """Both chains stay; the one that ends first counts."""
    create(operator_site, tmp_path / "two.csr")
    attach(operator_site, authority.chain(tmp_path / "two.csr"))
    other = Authority(tmp_path / "other", name="Other")

    ran = attach(operator_site, other.chain(tmp_path / "two.csr", "-days", "90"), "--name", "other")

    assert ran.code == 0, ran.out
    (line,) = ran.json()
    named = sigmill(
        "keys", "certificate", "--tenant", "acme", "--key", "release/1", "--name", "other", "--json",
        config=operator_site.config,
    )  # fmt: skip
    assert named.json()[0]["issuer"] == "CN=Other intermediate"
    (listed,) = sigmill("keys", "list", "--json", config=operator_site.config).json()
    assert listed["certificate_ends"] == line["not_after"]
    assert [(each["name"], each["issuer"]) for each in listed["certificates"]] == [
        ("other", "CN=Other intermediate"), ("", "CN=Test intermediate"),
    ]  # fmt: skip
    first = listed["certificates"][1]["ends"][:10]
    table = sigmill("keys", "list", config=operator_site.config).out
    assert f"other until {line['not_after'][:10]}; until {first}" in table
    shown = sigmill("keys", "show", "release", config=operator_site.config).out
    assert f"certificate other until {line['not_after'][:10]}, by CN=Other intermediate" in shown
    assert f"certificate until {first}, by CN=Test intermediate" in shown
    missing = sigmill(
        "keys", "certificate", "--tenant", "acme", "--key", "release", "--name", "third", "--json",
        config=operator_site.config,
    )  # fmt: skip
    assert "by name it has other" in missing.error()["message"]


def test_wrong_chains_change_nothing(
    operator_site: OperatorSite, authority: Authority, tmp_path: Path
) -> None:
    """Each is told with its reason; the file stays as it was, and no chain is left beside it."""
    create(operator_site, tmp_path / "bad.csr")
    create(operator_site, tmp_path / "globex.csr", tenant="globex")
    chain = authority.chain(tmp_path / "bad.csr").read_text()
    leaf, intermediate = (
        chain.split("-----END CERTIFICATE-----\n")[0] + "-----END CERTIFICATE-----\n",
        authority.intermediate.read_text(),
    )
    text = operator_site.tenant_file().read_text()
    wrong = {
        "order": (intermediate + leaf, "wrong order"),
        "alone": (leaf, "the certificate of the issuer `CN=Test intermediate` is missing"),
        "root": (leaf + authority.root.read_text(), "an intermediate certificate is missing"),
        "huge": ("\n" * 10_000_000, "larger than 256 kB"),
        "foreign": (authority.chain(tmp_path / "globex.csr").read_text(), "its key is release/1 of globex"),
        "unknown": (authority.root.read_text(), "none of this configuration (SHA-256 of its SPKI: "),
        "expired": (
            authority.chain(tmp_path / "bad.csr", "-startdate", "20250101000000Z", "-enddate", "20250201000000Z").read_text(),
            "expired on 2025-02-01",
        ),
    }  # fmt: skip
    for name, (content, problem) in wrong.items():
        file = tmp_path / f"{name}.pem"
        file.write_text(content)

        ran = attach(operator_site, file)

        assert ran.code == 2, name
        assert problem in ran.error()["message"], name
        assert ran.error()["hint"]
    os.mkfifo(tmp_path / "pipe.pem")
    for place in ("pipe.pem", "nothing.pem", "."):
        assert "cannot be read" in attach(operator_site, tmp_path / place).error()["message"]
    (tmp_path / "good.pem").write_text(chain)
    named = attach(operator_site, tmp_path / "good.pem", "--name", "Other CA")
    assert "is no name" in named.error()["message"]
    assert operator_site.tenant_file().read_text() == text
    assert stray_files(operator_site) == []
    windows = tmp_path / "windows.pem"
    windows.write_bytes(b"\xef\xbb\xbf" + chain.replace("\n", "\r\n").encode())
    assert attach(operator_site, windows).code == 0, "a byte order mark and CRLF change nothing"


def test_two_operators_at_once_lose_nothing(
    operator_site: OperatorSite, authority: Authority, tmp_path: Path
) -> None:
    """Each chain is in the file, under its name, and the file is valid."""
    create(operator_site, tmp_path / "race.csr")
    chain = authority.chain(tmp_path / "race.csr")

    with ThreadPoolExecutor() as pool:
        runs = list(pool.map(lambda name: attach(operator_site, chain, "--name", name), ["a", "b", "c"]))

    assert [ran.code for ran in runs] == [0, 0, 0]
    (version,) = load_configuration(operator_site.config).tenants["acme"].keys["release"].versions
    assert sorted(version.chains) == ["a", "b", "c"]


def test_a_configuration_with_another_keys_certificate_is_refused(
    operator_site: OperatorSite, authority: Authority, tmp_path: Path
) -> None:
    """check-config finds it in a file that was edited by hand."""
    create(operator_site, tmp_path / "hand.csr")
    (operator_site.tenant_file().parent / "root.pem").write_text(authority.root.read_text())
    text = operator_site.tenant_file().read_text()
    operator_site.tenant_file().write_text(text + 'certificates = ["root.pem"]\n')

    ran = sigmill("check-config", "--json", config=operator_site.config)

    assert ran.code == 2
    assert "begins with a certificate for another key" in ran.out
