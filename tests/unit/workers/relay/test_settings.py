"""``relay.toml``: read strictly, with absolute paths."""

from __future__ import annotations

from pathlib import Path

import pytest

from queueing.errors import ConfigError
from workers.relay.settings import RelaySettings

GOOD = """
audience = "prod"
host = "[::1]"
[tls]
certificate_file = "relay.pem"
private_key_file = "relay.key"
[tenants.acme.redis]
host = "queue.example"
password_file = "secrets/acme"
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    made = tmp_path / "relay.toml"
    made.write_text(GOOD)
    return made


def test_paths_count_from_the_file(file: Path) -> None:
    """Certificate, key and passwords are found beside relay.toml."""
    settings = RelaySettings.from_file(file)
    assert settings.tls.certificate_file == str(file.parent / "relay.pem")
    assert settings.tls.private_key_file == str(file.parent / "relay.key")
    assert settings.tenants["acme"].redis.password_file == str(file.parent / "secrets/acme")
    assert settings.host == "::1"


@pytest.mark.parametrize(
    "old, new, key",
    [
        ('host = "queue.example"', "", "tenants.acme.redis"),
        ('host = "queue.example"', 'host = "q"\nunix_socket = "s"', "tenants.acme.redis"),
        ("[tenants.acme.redis]", "[tenants.Acme.redis]", "tenants"),
        ('audience = "prod"', 'audience = "prod"\ndrains = 1', "drains"),
        ("[tls]", "[limits]\nwaiting_clients = 0\n[tls]", "limits.waiting_clients"),
        ('private_key_file = "relay.key"', "", "tls.private_key_file"),
    ],
)
def test_what_is_wrong_is_named(file: Path, old: str, new: str, key: str) -> None:
    """By its place in the file."""
    file.write_text(GOOD.replace(old, new))
    with pytest.raises(ConfigError) as refused:
        RelaySettings.from_file(file)
    assert refused.value.key.startswith(key)


def test_tenants_of_one_redis_are_known_by_its_address(file: Path) -> None:
    """With any user and database, and with Sentinels and nodes in any order."""
    tables = {
        "a": 'host = "q"',
        "b": 'host = "q"\nusername = "b"\ndatabase = 1',
        "c": 'host = "q"\nport = 6380',
        "d": 'unix_socket = "q"',
        "e": 'cluster = ["q:1", "r:2"]',
        "f": 'cluster = ["r:2", "q:1"]',
        "g": 'sentinel = { nodes = ["q:1", "r:2"], primary = "p" }',
        "h": 'sentinel = { nodes = ["r:2", "q:1"], primary = "p" }',
        "i": 'sentinel = { nodes = ["q:1", "r:2"], primary = "other" }',
    }
    file.write_text(GOOD + "".join(f"[tenants.{name}.redis]\n{text}\n" for name, text in tables.items()))
    found = RelaySettings.from_file(file).redis_of()
    assert found["a"] == found["b"]
    assert found["e"] == found["f"]
    assert found["g"] == found["h"]
    assert len(set(found.values())) == 7
