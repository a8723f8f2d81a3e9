"""Errors of `check-config`: of every file, and of what the files point to, without a secret."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from queueing.protocol.public_keys import PublicKey
from tests.support.fakes.config_files import CANARY_PIN, Site, p256_key, spki_text, tenant_text
from tests.support.keys import spki_of
from workers.config.validation import validate_all


def test_each_broken_file_is_reported(tmp_path: Path) -> None:
    """One tenant's mistake does not hide the next one's."""
    site = Site(tmp_path)
    site.tenants = {
        "acme": "tenant = 1\n",
        "globex": tenant_text("globex").replace("epoch = 4", "epoch = -4"),
    }

    found = validate_all(site.write().config)

    files = [Path(error.file).name for error in found.errors if "tenants" in error.file]
    assert files == ["acme.toml", "globex.toml"]


def test_each_table_of_a_file_is_reported(tmp_path: Path) -> None:
    """A mistake in one client or key does not hide the next, nor does it make one of what refers to it."""
    site = Site(tmp_path)
    text = tenant_text().replace("epoch = 4", "epoc = 4").replace("2099-01-01T00:00:00Z", '"never"')
    text = text.replace('clients = ["*"]', 'clients = ["build-1", "gone"]')
    site.tenants = {"acme": f"{text}\n[limits]\nweight = -1\n[keys.other]\nalgorithms = []\n"}

    found = validate_all(site.write().config)

    assert [error.key for error in found.errors if "tenants" in error.file] == [
        "epoc",
        "limits.weight",
        "keys.other.clients",
        "clients.build-1.expires",
        "keys.release.clients",
    ]


def test_each_table_of_the_services_file_is_reported(tmp_path: Path) -> None:
    """Tokens, operators and settings, each by its place."""
    site = Site(tmp_path)
    site.service = site.service.replace('audience = "test"', "").replace('host = "localhost"', "")
    site.service = site.service.replace('select = { label = "acme" }', "select = {}")
    site.service = site.service.replace("[tokens.globex]", '[tokens.globex]\nhsm = "rack-1"')
    site.service += '\n[operators.ada]\npublic_key = "x"\n[worker]\nlease_s = 1.0\n[metrixs]\n'

    found = validate_all(site.write().config)

    assert found.configuration is None
    assert [error.key for error in found.errors] == [
        "metrixs",
        "service.audience",
        "tokens.acme.select",
        "redis",
        "operators.ada.public_key",
        "tokens.globex.hsm",
        "worker.lease_s",
    ]


def test_what_the_files_point_to_is_looked_at(tmp_path: Path) -> None:
    """A module or a PIN file that is not there, or a PIN that others can read, is found before a lane starts."""
    site = Site(tmp_path)
    site.service = site.service.replace("/usr/lib/softhsm/libsofthsm2.so", "/nowhere/module.so")
    site.write()
    (tmp_path / "pins" / "acme").chmod(0o644)
    (tmp_path / "pins" / "globex").unlink()

    keys = {error.key: error for error in validate_all(site.config).errors}

    assert {f"tokens.{t}.module" for t in ("service", "acme", "globex")} <= keys.keys()
    assert "0644" in keys["tokens.acme.login.pin_file"].problem
    assert "cannot be read" in keys["tokens.globex.login.pin_file"].problem
    assert all(CANARY_PIN not in f"{m} {m.remedy}" for m in keys.values())


def test_a_credential_of_another_process_is_not_judged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A PIN that only a lane's own unit is given cannot be looked at from here; one that is given here, can."""
    site = Site(tmp_path)
    assert 'pin_file = "pins/acme"' in site.service
    site.service = site.service.replace("pins/acme", "$CREDENTIALS_DIRECTORY/acme")
    site.write()

    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    assert "tokens.acme.login.pin_file" not in {m.key for m in validate_all(site.config).errors}
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path / "nowhere"))
    assert "tokens.acme.login.pin_file" in {m.key for m in validate_all(site.config).errors}


def test_without_a_service_file_there_is_one_mistake(tmp_path: Path) -> None:
    """The tenants cannot be judged without the tokens."""
    found = validate_all(tmp_path / "sigmill.toml")

    assert (found.configuration, len(found.errors)) == (None, 1)


@pytest.mark.parametrize("content", [b"debian\n", b"", b"\x7fEL"])
def test_a_module_is_a_shared_library(tmp_path: Path, content: bytes) -> None:
    """A file of another kind is found before a lane loads it."""
    site = Site(tmp_path)
    (tmp_path / "module.so").write_bytes(content)
    site.service = site.service.replace("/usr/lib/softhsm/libsofthsm2.so", str(tmp_path / "module.so"))

    problems = [error.problem for error in validate_all(site.write().config).errors if "module" in error.key]

    assert problems == [f"{tmp_path}/module.so is not a shared library"] * 3


def test_a_token_selected_by_its_slot_alone_is_a_warning(tmp_path: Path) -> None:
    """Slot numbers move; with a label or serial the wrong token is not found."""
    site = Site(tmp_path)
    site.service = site.service.replace('{ label = "acme" }', "{ slot = 1 }")
    site.service = site.service.replace('{ label = "globex" }', '{ slot = 2, label = "globex" }')
    assert [error.key for error in validate_all(site.write().config).warnings] == ["tokens.acme.select"]


def test_a_service_key_whose_statements_older_openssl_does_not_verify_is_a_warning(tmp_path: Path) -> None:
    """Auditors of Debian 12 see `invalid digest` of a good statement."""
    site = Site(tmp_path)
    ed25519 = PublicKey.from_spki(spki_of(Ed25519PrivateKey.generate()))
    site.service = site.service.replace(spki_text(p256_key(99)), spki_text(ed25519))

    (warning,) = validate_all(site.write().config).warnings

    assert (warning.key, "OpenSSL before 3.5" in warning.problem) == ("service_key.public_key", True)


@pytest.mark.parametrize(
    "pin, errors, warnings",
    [
        (b"1234\n", 0, 0),
        (b"1234\r\n", 0, 0),
        (b" 1234 5678\n", 0, 0),
        (b"1234 \n", 0, 1),
        (b"\xef\xbb\xbf1234\n", 1, 0),
        (b"1234\n\n", 1, 0),
    ],
)
def test_what_another_system_adds_to_a_pin_is_told(
    tmp_path: Path, pin: bytes, errors: int, warnings: int
) -> None:
    """A byte order mark and a second line are never meant, a blank at the end seldom; CRLF is a line's end."""
    site = Site(tmp_path).write()
    (tmp_path / "pins" / "acme").write_bytes(pin)
    found = validate_all(site.config)
    told = [[e.key for e in kind if "login" in e.key] for kind in (found.errors, found.warnings)]
    assert told == [["tokens.acme.login.pin_file"] * errors, ["tokens.acme.login.pin_file"] * warnings]
    assert all("1234" not in str(error) for error in (*found.errors, *found.warnings))
