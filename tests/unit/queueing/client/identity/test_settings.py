"""``identity`` and ``issuer`` in client.toml: each mistake is named before anything is sent."""

from __future__ import annotations

import base64
import os
import ssl
from pathlib import Path
from typing import NoReturn

import pytest

from queueing.client.config import ClientConfig
from queueing.client.identity import issuer_client
from queueing.client.identity.credentials import StaticIdentity
from queueing.client.identity.grants import GrantedIdentity
from queueing.client.identity.issuer_client import IssuerClient
from queueing.client.identity.opening import identity_of
from queueing.client.identity.requests import Request, RequestFailed
from queueing.client.identity.settings import url_problem
from queueing.errors import ConfigError, IssuerUnavailable
from queueing.protocol.client_keys import ClientKey
from queueing.protocol.grants.grant_request import GrantRequest
from tests.support.fakes.config_files import p256_key

HEAD = f"""
audience = "test"
tenant = "acme"
service_public_keys = ["{base64.b64encode(p256_key(1).spki).decode()}"]
"""
IDENTITY = """
identity = { from = "file", file = "token" }
issuer = { url = "https://issuer.example:8443", ca_file = "ca.pem" }
"""
PLAIN = IDENTITY.replace("https://issuer.example", "http://localhost")
PAIR = 'certificate_file = "c", private_key_file = "k"'
REDIS = '\n[redis]\nhost = "localhost"\n'


def load(folder: Path, text: str) -> ClientConfig:
    file = folder / "client.toml"
    file.write_text(HEAD + text + REDIS)
    return ClientConfig.from_file(file)


def test_a_client_with_an_identity_needs_no_key(tmp_path: Path) -> None:
    """Paths are relative to the file."""
    config = load(tmp_path, IDENTITY)
    assert config.identity is not None
    assert config.issuer is not None
    assert (config.client, config.client_key()) == (None, None)
    assert config.identity.file == str(tmp_path / "token")
    assert config.issuer.ca_file == str(tmp_path / "ca.pem")


@pytest.mark.parametrize(
    "text, key, words",
    [
        ("", "client", "is missing"),
        ('client = "ci"', "private_key_file", "is missing"),
        ('client = "ci"\nprivate_key_file = "k"' + IDENTITY, "identity", "neither"),
        (IDENTITY.splitlines()[1], "identity", "issuer"),
        (IDENTITY.splitlines()[2], "identity", "issuer"),
        (IDENTITY.replace("https", "http"), "issuer.url", "in the clear"),
        (IDENTITY.replace("https://issuer.example:8443", "issuer"), "issuer.url", "no address"),
        (IDENTITY.replace('from = "file", ', 'from = "bamboo", '), "identity.from", "'bamboo'"),
        (IDENTITY.replace('file = "token"', 'files = "token"'), "identity.files", "not known"),
        (IDENTITY.replace(', file = "token"', ""), "identity", "`file` is missing"),
        (IDENTITY.replace('from = "file"', 'from = "github"'), "identity", "`audience` is missing"),
        (
            IDENTITY.replace('from = "file", file = "token"', 'from = "command", command = [""]'),
            "identity.command[0]",
            "is empty",
        ),
        (IDENTITY.replace('file = "token"', 'file = "t", certificate_file = "c"'), "identity", "one pair"),
        (IDENTITY.replace('file = "token"', 'file = "t", variable = "A B"'), "identity.variable", ""),
        (IDENTITY.replace('8443"', '8443?a=b"'), "issuer.url", "query"),
        (PLAIN, "issuer.url", "`issuer.ca_file`"),
        (PLAIN.replace('"token"', f'"token", {PAIR}'), "issuer.url", "`identity.certificate_file`"),
        (
            PLAIN.replace('from = "file", file = "token"', f'from = "spiffe", {PAIR}')
            .replace(', ca_file = "ca.pem"', ""),
            "issuer.url",
            "`identity.certificate_file`",
        ),
        (
            IDENTITY.replace('from = "file", file', 'from = "jenkins", variable = "TOKEN", file'),
            "identity",
            "two sources",
        ),
    ],
)  # fmt: skip
def test_a_mistake_is_named(tmp_path: Path, text: str, key: str, words: str) -> None:
    """By its place, with a remedy."""
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text)
    assert caught.value.key == key
    assert words in caught.value.problem
    assert caught.value.remedy


SOURCES = {
    "audience": '"https://sign.example"',
    "variable": '"TOKEN"',
    "file": '"token"',
    "command": '["token"]',
    "service_connection": '"0a-1b"',
}
TAKEN = {
    "github": ["audience"],
    "gitlab": ["variable"],
    "azure": ["service_connection"],
    "jenkins": ["variable", "file"],
    "kubernetes": ["file"],
    "file": ["file"],
    "command": ["command"],
    "spiffe": ["file"],
}


@pytest.mark.parametrize("platform", TAKEN)
def test_a_source_of_another_platform_is_a_mistake(tmp_path: Path, platform: str) -> None:
    """It would be ignored, or taken instead of the one that is meant."""
    for own in TAKEN[platform]:
        text = f'from = "{platform}", {own} = {SOURCES[own]}'
        load(tmp_path, IDENTITY.replace('from = "file", file = "token"', text))
        for other in SOURCES.keys() - set(TAKEN[platform]):
            more = f"{text}, {other} = {SOURCES[other]}"
            with pytest.raises(ConfigError, match="would be ignored") as caught:
                load(tmp_path, IDENTITY.replace('from = "file", file = "token"', more))
            assert caught.value.key == f"identity.{other}"


def test_plain_http_to_this_host_is_taken_where_nothing_needs_tls(tmp_path: Path) -> None:
    """For trials."""
    issuer = load(tmp_path, PLAIN.replace(', ca_file = "ca.pem"', "")).issuer
    assert issuer is not None
    assert not issuer.has_tls


async def test_a_scheme_has_no_case(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Authorities and certificates are those of the file, however HTTPS is written."""
    config = load(tmp_path, IDENTITY.replace("https", "HTTPS").replace(', ca_file = "ca.pem"', ""))
    assert config.identity is not None
    assert config.issuer is not None
    contexts: list[ssl.SSLContext | None] = []

    async def send(_: Request, *, timeout_s: float, tls: ssl.SSLContext | None) -> NoReturn:
        contexts.append(tls)
        raise RequestFailed(f"{timeout_s}")

    monkeypatch.setattr(issuer_client, "send", send)
    request = GrantRequest(token="t", public_key=bytes(32), proof=bytes(64), tenant="acme")
    with pytest.raises(IssuerUnavailable):
        await IssuerClient(config.issuer, config.identity).request(request)
    assert [type(each) for each in contexts] == [ssl.SSLContext]


@pytest.mark.parametrize(
    "url, good",
    [
        ("https://issuer.example", True),
        ("https://[::1]:8443/path", True),
        ("http://127.0.0.1:8080", True),
        ("http://localhost", True),
        ("http://127.0.0.1.example", False),
        ("http://10.0.0.1", False),
        ("https://user@issuer.example", False),
        ("https://issuer.example:99999", False),
        ("https://issuer.example/a b", False),
        ("https://", False),
        ("ftp://issuer.example", False),
        ("https://issu\u0435r.example", False),
    ],
)
def test_tokens_go_by_tls_or_to_this_host(url: str, good: bool) -> None:
    """An address of another scheme, or without TLS to another host, is refused."""
    assert (url_problem(url) is None) is good


def test_the_identity_follows_from_the_file(tmp_path: Path) -> None:
    """With its own key, or by grants for one that is made in memory."""
    granted = load(tmp_path, IDENTITY.replace(', ca_file = "ca.pem"', ""))
    assert isinstance(identity_of(granted, None, lambda: 0), GrantedIdentity)
    own = load(tmp_path, 'client = "ci"\nprivate_key_file = "k"')
    assert isinstance(identity_of(own, ClientKey.generate(), lambda: 0), StaticIdentity)
    with pytest.raises(ConfigError, match="ca_file"):
        identity_of(load(tmp_path, IDENTITY), None, lambda: 0)
    with pytest.raises(ConfigError, match="neither"):
        identity_of(own, None, lambda: 0)


def test_further_processes_of_a_build_use_the_key_of_its_file(tmp_path: Path) -> None:
    """A platform that gives one token for the whole job: the issuer binds it to the first key."""
    text = IDENTITY.replace(', ca_file = "ca.pem"', "").replace(
        'file = "token"', 'file = "token", key_file = "ephemeral.key"'
    )
    publics = []
    for _ in range(2):
        identity = identity_of(load(tmp_path, text), None, lambda: 0)
        assert isinstance(identity, GrantedIdentity)
        publics.append(identity._public)
    assert publics[0] == publics[1]
    assert (tmp_path / "ephemeral.key").stat().st_mode & 0o777 == 0o600


def test_processes_of_a_build_that_begin_at_once_have_one_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second begins while the first writes the file, and makes its own; the first takes that one."""
    text = IDENTITY.replace(', ca_file = "ca.pem"', "").replace(
        'file = "token"', 'file = "token", key_file = "ephemeral.key"'
    )
    config = load(tmp_path, text)
    publics: list[bytes] = []
    sync = os.fsync

    def begin_another(descriptor: int) -> None:
        monkeypatch.setattr(os, "fsync", sync)
        publics.append(identity_of(config, None, lambda: 0)._public)  # type: ignore[attr-defined]
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", begin_another)
    publics.append(identity_of(config, None, lambda: 0)._public)  # type: ignore[attr-defined]
    assert publics[0] == publics[1]
    assert [each.name for each in tmp_path.iterdir() if "key" in each.name] == ["ephemeral.key"]
