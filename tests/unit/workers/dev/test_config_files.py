"""The written configuration of a private stack is valid."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from queueing import ClientConfig, ClientKey
from queueing.protocol.algorithms import KeyKind
from queueing.protocol.public_keys import placeholder_key
from tests.support.fakes.config_files import p256_key
from workers.config.loading import load_configuration
from workers.config.settings import PinLogin, SelectSettings, TokenSettings
from workers.dev.config_files import (
    issuer_file,
    service_file,
    tenant_text,
    token_client,
    token_table,
    write_client,
)
from workers.dev.private_files import write_private
from workers.dev.tenants import CLIENT, KEY, SERVICE_TOKEN, TENANTS
from workers.issuer.issuer_file import load_issuer
from workers.issuer.tenant_rules import TenantFiles


@dataclass(frozen=True, slots=True)
class Address:
    """Socket and password file of a server that does not run."""

    socket: Path
    password_file: Path


@pytest.fixture
def redis(tmp_path: Path) -> Address:
    """A password file, and the path of a socket."""
    write_private(tmp_path / "password", "secret\n")
    return Address(tmp_path / "redis.sock", tmp_path / "password")


def token(folder: Path, name: str) -> TokenSettings:
    """A token with a PIN file and a module, which need not work."""
    pin = folder / f"{name}.pin"
    write_private(pin, "1234\n")
    module = folder / "module.so"
    module.touch()
    return TokenSettings(
        module=str(module),
        select=SelectSettings(label=name),
        login=PinLogin(pin_file=str(pin)),
        environment={"SOFTHSM2_CONF": str(folder / "softhsm2.conf")},
        sessions=2,
    )


@pytest.mark.parametrize("record", [False, True])
def test_the_files_of_a_stack_load(tmp_path: Path, redis: Address, record: bool) -> None:
    """The service's file and each tenant's load, with the keys, clients and tokens that were given, and a record if it is asked for."""
    names = [SERVICE_TOKEN, *(tenant.name for tenant in TENANTS)]
    config = tmp_path / "sigmill.toml"
    config.write_text(
        service_file(
            redis=redis,
            tokens={name: token(tmp_path, name) for name in names},
            service_key=p256_key(99),
            metrics_port=9464,
            state_dir="state",
            record=record,
        )
    )
    (tmp_path / "tenants").mkdir()
    for tenant in TENANTS:
        text = tenant_text(tenant, placeholder_key(tenant.kind), ClientKey.generate())
        (tmp_path / "tenants" / f"{tenant.name}.toml").write_text(text)
    loaded = load_configuration(config)
    assert loaded.tenants.keys() == {tenant.name for tenant in TENANTS}
    assert list(loaded.service.tokens) == names
    assert loaded.service.record.enabled == record
    for tenant in TENANTS:
        found = loaded.tenants[tenant.name]
        assert (list(found.clients), found.tokens) == ([CLIENT], frozenset({tenant.name}))
        assert [v.public_key.kind for v in found.keys[KEY].versions] == [tenant.kind]


def test_the_files_of_an_issuer_load(tmp_path: Path) -> None:
    """Tenant and issuer name the same providers, and the same bounds of a grant."""
    key, tenant = placeholder_key(KeyKind.P256), TENANTS[1]
    (tmp_path / "tenants").mkdir()
    text = tenant_text(tenant, placeholder_key(tenant.kind), ClientKey.generate(), key)
    (tmp_path / "tenants" / f"{tenant.name}.toml").write_text(text)
    file = tmp_path / "issuer.toml"
    lines = 'state_dir = "state"\nkeys_dir = "keys"'
    file.write_text(
        issuer_file(
            token=token(tmp_path, "issuer"), public_key=key, issuer=lines, http="port = 0", metrics="port = 0"
        )
    )
    made = load_issuer(file)
    found = TenantFiles(made).read(made.tenant_file(tenant.name))
    assert found is not None
    urls = [rule.issuer_url for rule in found[0].keys[KEY].rules]
    assert urls == [provider.issuer_url for provider in made.providers.values()]
    assert (found[0].max_grant_ms, found[0].max_digests) == (made.grant_ms, made.max_digests)


def test_the_file_of_a_build_with_a_token_loads(tmp_path: Path) -> None:
    """It names the token beside it, and no key."""
    client = tmp_path / "client.toml"
    relay, issuer = 'url = "https://relay.example"', 'issuer = { url = "https://issuer.example" }'
    client.write_text(token_client(TENANTS[0], placeholder_key(KeyKind.P256), relay=relay, issuer=issuer))
    config = ClientConfig.from_file(client)
    assert config.identity is not None
    assert config.identity.file == str(tmp_path / "token")
    assert config.client_key() is None


def test_the_file_of_a_client_loads(tmp_path: Path, redis: Address) -> None:
    """client.toml names its tenant, its key file and the server's socket."""
    file = write_client(
        tmp_path / "client", TENANTS[0], ClientKey.generate(), redis, placeholder_key(KeyKind.P256)
    )
    config = ClientConfig.from_file(file)
    assert (config.tenant, config.client) == (TENANTS[0].name, CLIENT)
    assert config.redis is not None
    assert config.redis.unix_socket == str(redis.socket)
    key = config.client_key()
    assert key is not None
    assert key.kind == "ed25519"


def test_a_token_without_a_pin_is_a_programming_error(tmp_path: Path) -> None:
    """Tokens of a private stack have PIN files; anything else is refused at once."""
    settings = token(tmp_path, "acme")
    with pytest.raises(TypeError):
        token_table(
            "acme", TokenSettings(module=settings.module, select=settings.select, login="protected-path")
        )
