"""Check of relay.toml: one sentence for each mistake, with its place; one wrong table hides no other."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from tests.support.issuer.wrong_settings import text_of, wrong_tables
from workers.config.settings import LoggingSettings
from workers.config.values import ErrorList
from workers.dev.private_files import write_private
from workers.dev.trial_tls import write_authority_and_server
from workers.relay.checking import check_file
from workers.relay.settings import (
    RelayLimits,
    RelayMetricsSettings,
    RelaySettings,
    RelayTenantSettings,
    TlsSettings,
)

GOOD = {
    "": {"audience": '"prod"'},
    "tls": {"certificate_file": '"server.pem"', "private_key_file": '"server.key"'},
    "tenants.acme.redis": {"host": '"queue.example"', "password_file": '"acme.password"'},
}
STRUCTS: dict[str, type[msgspec.Struct]] = {
    "": RelaySettings,
    "tls": TlsSettings,
    "limits": RelayLimits,
    "metrics": RelayMetricsSettings,
    "logging": LoggingSettings,
    "tenants.acme": RelayTenantSettings,
}
WRONG = [*wrong_tables(GOOD, STRUCTS)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("relay")
    write_authority_and_server(made, host="127.0.0.1")
    write_private(made / "acme.password", "secret\n")
    return made


def mistakes(folder: Path, text: str) -> list[str]:
    file = folder / "relay.toml"
    file.write_text(text)
    errors = ErrorList()
    settings = check_file(file, errors)
    assert (settings is None) <= bool(errors.all)
    assert all(error.problem and error.remedy and error.file == str(file) for error in errors.all)
    return [error.key for error in errors.all]


def test_a_good_file_has_none(folder: Path) -> None:
    """With the files that it names."""
    assert mistakes(folder, text_of(GOOD)) == []


@pytest.mark.parametrize("key, text", WRONG, ids=[f"{key} {n}" for n, (key, _) in enumerate(WRONG)])
def test_each_wrong_setting_is_one_mistake(folder: Path, key: str, text: str) -> None:
    """Wrong in type, negative, huge, or missing: told once, at its key."""
    assert mistakes(folder, text) == [key]


def test_each_wrong_table_is_told(folder: Path) -> None:
    """The operator corrects all of them at once."""
    text = text_of(
        {
            "": {"audience": "7"},
            "tls": {"certificate_file": '"server.pem"'},
            "limits": {"requests": "0"},
            "tenants.acme": {"redis": "{}", "waiting": "1"},
            "tenants.globex.redis": {"host": "1"},
        }
    )
    assert mistakes(folder, text) == [
        "tls.private_key_file",
        "limits.requests",
        "tenants.acme.waiting",
        "tenants.globex.redis.host",
        "audience",
    ]


@pytest.mark.parametrize(
    "table, key, value, place",
    [
        ("tls", "certificate_file", '"nowhere.pem"', "tls.certificate_file"),
        ("tls", "private_key_file", '"acme.password"', "tls.certificate_file"),
        ("tls", "client_ca_file", '"server.key"', "tls.client_ca_file"),
        ("tenants.acme.redis", "password_file", '"nowhere"', "tenants.acme.redis.password_file"),
        ("tenants.acme.redis", "password_file", '"ca.pem"', "tenants.acme.redis.password_file"),
        ("tenants.acme.redis", "unix_socket", '"s"', "tenants.acme.redis"),
    ],
)
def test_files_that_cannot_be_used_are_told(
    folder: Path, table: str, key: str, value: str, place: str
) -> None:
    """Missing, of another kind, or readable by others."""
    assert mistakes(folder, text_of({**GOOD, table: {**GOOD[table], key: value}})) == [place]


def test_a_password_of_another_process_is_not_judged(folder: Path) -> None:
    """Under systemd only the relay's own process has its credentials."""
    redis = {"host": '"q"', "password_file": '"$CREDENTIALS_DIRECTORY/acme"'}
    assert mistakes(folder, text_of({**GOOD, "tenants.acme.redis": redis})) == []
