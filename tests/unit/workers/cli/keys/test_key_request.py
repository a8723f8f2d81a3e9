"""A requested key is checked against the configuration before it is created."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from pathlib import Path

import click
import pytest

from queueing.errors import ConfigError
from queueing.protocol.algorithms import KeyKind
from queueing.protocol.public_keys import placeholder_key
from tests.support.fakes.config_files import Site, p256_key
from workers.cli.keys.create_adopt import KeyArguments, adopt, create
from workers.cli.keys.key_request import KIND_NAMES, KeyRequest
from workers.cli.keys.origins.options import OriginArguments
from workers.cli.keys.request import RequestArguments
from workers.config.loading import load_scope


@pytest.fixture
def request_of_acme(tmp_path: Path) -> KeyRequest:
    """A request for another version of acme's key, with defaults."""
    return KeyRequest(
        scope=load_scope(Site(tmp_path).write().config),
        tenant="acme",
        key="release",
        token="acme",
        version=None,
        state=None,
        algorithms=(),
        profile="code-signing",
        clients=(),
        write=False,
    )


def test_an_existing_key_gets_its_next_version(request_of_acme: KeyRequest) -> None:
    """A later version is `next`, so that clients learn of it before it signs."""
    new = request_of_acme.new_version(p256_key(2))
    assert (new.version, new.state) == (2, "next")


def test_a_new_key_starts_with_an_active_version(request_of_acme: KeyRequest) -> None:
    """Version 1 of a new key is active, for every client, with the usual algorithm of its kind."""
    new = replace(request_of_acme, key="nightly").new_version(p256_key(2))
    assert (new.version, new.state, new.clients) == (1, "active", ("*",))
    assert list(map(str, new.algorithms)) == ["ECDSA_SHA_256"]


def test_the_printed_lines_are_what_is_written(request_of_acme: KeyRequest) -> None:
    """The tenant's file ends with the lines that the command prints for pasting."""
    new = request_of_acme.new_version(p256_key(2))
    file = request_of_acme.write_version(new)
    assert file.read_text().endswith(request_of_acme.toml(new))
    assert [v["version"] for v in tomllib.loads(file.read_text())["keys"]["release"]["versions"]] == [1, 2]


def test_a_key_that_the_file_cannot_take_is_refused(request_of_acme: KeyRequest) -> None:
    """A version with a number that exists already is a mistake, and the file is unchanged."""
    before = request_of_acme.file().read_text()
    with pytest.raises(ConfigError):
        replace(request_of_acme, version=1).check(p256_key(2))
    assert request_of_acme.file().read_text() == before


def test_an_unknown_token_is_refused(request_of_acme: KeyRequest) -> None:
    """A token that is not configured is a mistake with the table to add."""
    with pytest.raises(ConfigError) as caught:
        replace(request_of_acme, token="initech").token_admin()
    assert "[tokens.initech]" in caught.value.remedy


def test_the_service_key_needs_a_token_of_its_own(request_of_acme: KeyRequest) -> None:
    """The service key may not be in a tenant's token, and its lines are added by hand."""
    service = replace(request_of_acme, tenant=None, key="service")
    with pytest.raises(ConfigError, match="belongs to"):
        service.check(p256_key(2))
    own = replace(service, token="service")
    own.check(p256_key(2))
    new = own.new_version(p256_key(2))
    assert tomllib.loads(own.toml(new))["service_key"]["token"] == "service"
    with pytest.raises(ConfigError):
        own.write_version(new)


@pytest.mark.parametrize("kind", list(KeyKind))
def test_a_placeholder_has_its_kind(kind: KeyKind) -> None:
    """Each kind of key has a placeholder, and a name for --type."""
    assert placeholder_key(kind).kind is kind
    assert kind in KIND_NAMES.values()


@pytest.mark.parametrize("command", [create, adopt])
def test_click_passes_what_the_type_declares(command: click.Command) -> None:
    """create and adopt get exactly the arguments of KeyArguments, beside their own."""
    names = {parameter.name for parameter in command.params if parameter.expose_value}
    own = {
        "kind_name",
        "label",
        "key_id",
        "with_request",
        "dry_run",
        *RequestArguments.__annotations__,
        *OriginArguments.__annotations__,
    }
    assert names - own == KeyArguments.__annotations__.keys()
