"""TOML text and the [redis] table of a new client's file."""

from __future__ import annotations

import tomllib

import click
import pytest

from workers.cli.clients.create import redis_table, toml_text


def test_redis_urls_become_tables() -> None:
    """Each form of --redis is read, and a malformed one is a usage error that does not repeat a password."""
    assert redis_table("redis://u@h/3", None) == {"host": "h", "port": 6379, "database": 3, "username": "u"}
    assert redis_table("unix:///run/r.sock?db=2", None) == {"unix_socket": "/run/r.sock", "database": 2}
    assert redis_table("rediss://h:1", "/ca.pem")["tls"] == {"ca_file": "/ca.pem"}
    for url in ("rediss://h", "http://h", "redis://", "redis://h/x", "redis://h:x", "redis://:pw@h"):
        with pytest.raises(click.UsageError) as caught:
            redis_table(url, None)
        assert "pw" not in caught.value.message


def test_toml_text_is_read_back() -> None:
    """Any string, numbers, booleans, lists and tables are read back as they were; None is refused."""
    table = {"s": 'a"b\\c\n\x7f\té', "n": 3, "f": 1.5, "b": True, "l": ["x", "y"], "t": {"u v": {"w": "x"}}}
    assert tomllib.loads(toml_text(table)) == table
    with pytest.raises(TypeError):
        toml_text({"x": None})
