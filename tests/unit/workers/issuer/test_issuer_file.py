"""Check of issuer.toml: one sentence for each mistake, with its place; one wrong table hides no other."""

from __future__ import annotations

import base64
import sys
from pathlib import Path

import msgspec
import pytest

from queueing.errors import ConfigError
from queueing.protocol.algorithms import KeyKind
from queueing.protocol.public_keys import placeholder_key
from tests.support.issuer.wrong_settings import text_of, wrong_tables
from workers.config.settings import LoggingSettings, MetricsSettings
from workers.config.values import ErrorList
from workers.dev.private_files import write_private
from workers.dev.trial_tls import write_authority_and_server
from workers.issuer.checking import broken_references, check_files
from workers.issuer.issuer_file import load_issuer, read_issuer
from workers.issuer.settings import (
    CertificatesSettings,
    HttpSettings,
    IssuerSettings,
    ProviderSettings,
)

KEY = base64.b64encode(placeholder_key(KeyKind.P256).spki).decode()
GOOD = {
    "issuer": {
        "name": '"ci"',
        "audience": '"prod"',
        "token": '"issuer"',
        "public_key": f'"{KEY}"',
        "state_dir": '"state"',
        "keys_dir": '"keys"',
    },
    "http": {"certificate": '"server.pem"', "private_key": '"server.key"', "client_ca": '"ca.pem"'},
    "tokens.issuer": {
        "module": f'"{Path(sys.executable).resolve()}"',  # a file of machine code, which is not loaded
        "select": '{ label = "issuer" }',
        "login": '{ pin_file = "pin" }',
    },
    "providers.github": {"issuer_url": '"https://token.example"'},
    "certificates.mesh": {"ca_file": '"ca.pem"'},
}
STRUCTS: dict[str, type[msgspec.Struct]] = {
    "issuer": IssuerSettings,
    "http": HttpSettings,
    "providers.github": ProviderSettings,
    "certificates.mesh": CertificatesSettings,
    "metrics": MetricsSettings,
    "logging": LoggingSettings,
}
WRONG = [*wrong_tables(GOOD, STRUCTS)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("issuer")
    write_authority_and_server(made, host="127.0.0.1")
    write_private(made / "pin", "1234\n")
    (made / "tenants").mkdir()
    return made


def mistakes(folder: Path, text: str) -> list[str]:
    file = folder / "issuer.toml"
    file.write_text(text)
    errors = ErrorList()
    configuration = read_issuer(file, errors)
    if configuration is not None:
        check_files(configuration, errors)
        errors.all += broken_references(configuration)
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
    changed = {
        "issuer": {**GOOD["issuer"], "grant_s": "59"},
        "http": {**GOOD["http"], "port": "65536"},
        "providers.github": {"issuer_url": '"http://token.example"'},
        "providers.gitlab": {"issuer_url": '"https://gitlab.example"', "algorithms": '["HS256"]'},
        "providers.far": {"issuer_url": '"https://far.example"', "jwks_url": '"https://far.example:99999/"'},
        "providers.nowhere": {"issuer_url": '"https:///keys"'},
        "other": {"x": "1"},
    }
    found = mistakes(folder, text_of({**GOOD, **changed}))
    assert sorted(found) == [
        "http.port",
        "issuer.grant_s",
        "other",
        "providers.far.jwks_url",
        "providers.github.issuer_url",
        "providers.gitlab.algorithms[0]",
        "providers.nowhere.issuer_url",
    ]


@pytest.mark.parametrize(
    "table, key, value, place",
    [
        ("http", "certificate", '"nowhere.pem"', "http.certificate"),
        ("http", "private_key", '"pin"', "http.certificate"),
        ("http", "client_ca", '"pin"', "http.client_ca"),
        ("tokens.issuer", "module", '"pin"', "tokens.issuer.module"),
        ("tokens.issuer", "login", '{ pin_file = "nowhere" }', "tokens.issuer.login.pin_file"),
        ("certificates.mesh", "ca_file", '"server.key"', "certificates.mesh.ca_file"),
        ("issuer", "tenants_dir", '"nowhere"', "issuer.tenants_dir"),
        ("issuer", "token", '"other"', "issuer.token"),
    ],
)
def test_files_that_cannot_be_used_are_told(
    folder: Path, table: str, key: str, value: str, place: str
) -> None:
    """Missing, or of another kind."""
    assert mistakes(folder, text_of({**GOOD, table: {**GOOD[table], key: value}})) == [place]


def test_an_ipv6_address_may_be_in_brackets(folder: Path) -> None:
    """As in relay.toml and in the addresses of metrics."""
    http = {**GOOD["http"], "host": '"[::1]"'}
    assert mistakes(folder, text_of({**GOOD, "http": http})) == []
    assert load_issuer(folder / "issuer.toml").http.host == "::1"


@pytest.mark.parametrize("kind", [KeyKind.ED25519, KeyKind.P384], ids=str)
def test_a_key_of_another_kind_than_p256_is_refused_by_what_signs(folder: Path, kind: KeyKind) -> None:
    """Lanes of the service take grants of Ed25519 issuers, too; the sentence says whose limit it is."""
    key = base64.b64encode(placeholder_key(kind).spki).decode()
    issuer = {**GOOD["issuer"], "public_key": f'"{key}"'}
    assert mistakes(folder, text_of({**GOOD, "issuer": issuer})) == ["issuer.public_key"]
    with pytest.raises(ConfigError, match="the issuer's lane signs grants by P-256"):
        load_issuer(folder / "issuer.toml")


def test_two_names_for_one_authority_are_refused(folder: Path) -> None:
    """By their order a certificate would be an identity of the one or of the other; the sentence names both."""
    twice = text_of(
        {**GOOD, "certificates.hosts": {"ca_file": '"ca.pem"', "trust_domain": '"build.example"'}}
    )
    assert mistakes(folder, twice) == ["certificates.mesh.ca_file"]
    with pytest.raises(ConfigError, match=r"certificates\.mesh\.ca_file.* of certificates\.hosts"):
        load_issuer(folder / "issuer.toml").authorities()  # as the lane does at its start


def test_secrets_of_other_processes_are_not_judged(folder: Path) -> None:
    """Front and lane have each its own credentials; neither has the other's."""
    http = {**GOOD["http"], "private_key": '"$CREDENTIALS_DIRECTORY/issuer.key"'}
    token = {**GOOD["tokens.issuer"], "login": '{ pin_file = "$CREDENTIALS_DIRECTORY/issuer" }'}
    assert mistakes(folder, text_of({**GOOD, "http": http, "tokens.issuer": token})) == []
