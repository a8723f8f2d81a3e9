"""`sigmill stop` names something that exists before an order is signed."""

from __future__ import annotations

from pathlib import Path

import click
import pytest

from queueing.errors import ConfigError
from queueing.protocol.stop_orders import Scope
from tests.support.fakes.config_files import Site, tenant_text
from tests.support.fakes.grants import issuer_text
from workers.cli.operate.order_sender import OrderSender
from workers.cli.operate.stop import _check_exists, _check_subject, _named
from workers.config.service_file import load_service


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """A service with the tenant acme, its key `release` and its client `build-1`."""
    return Site(tmp_path).write()


@pytest.mark.parametrize("scope, name", [("tenant", ""), ("key", "release"), ("client", "build-1")])
def test_names_of_the_tenants_file_can_be_stopped(site: Site, scope: Scope, name: str) -> None:
    """The tenant, its key and its client pass."""
    _check_exists(load_service(site.config), "acme", scope, name)


@pytest.mark.parametrize(
    "tenant, scope, name, remedy",
    [
        ("acne", "tenant", "", "Did you mean `acme`?"),
        ("../tenants/acme", "tenant", "", "acme"),
        ("", "tenant", "", "acme"),
        ("acme", "key", "relase", "Did you mean `release`?"),
        ("acme", "version", "relase/1", "Did you mean `release`?"),
        ("acme", "key", "", "Known here: release."),
        ("acme", "key", "build-1", "Known here: release."),
        ("acme", "client", "build-11", "Did you mean `build-1`?"),
        ("acme", "client", "", "Known here: build-1."),
        ("acme", "client", "release", "Known here: build-1."),
    ],
)
def test_an_unknown_name_is_refused_and_a_near_one_suggested(
    site: Site, tenant: str, scope: Scope, name: str, remedy: str
) -> None:
    """An order against a name that does not exist would stop nothing."""
    with pytest.raises(ConfigError, match="nothing was sent") as caught:
        _check_exists(load_service(site.config), tenant, scope, name)
    assert remedy in caught.value.remedy
    assert "--unchecked" in caught.value.remedy


def test_a_version_of_a_key_can_be_stopped_by_itself(site: Site) -> None:
    """KEY/VERSION is one version; one that the file does not have is answered with those that it has."""
    assert _named("release/1", None, None, None)[0] == ("version", "release/1")
    assert _named("release", None, None, None)[0] == ("key", "release")
    _check_exists(load_service(site.config), "acme", "version", "release/1")
    with pytest.raises(ConfigError, match="nothing was sent") as caught:
        _check_exists(load_service(site.config), "acme", "version", "release/7")
    assert "It has 1." in caught.value.remedy


def test_issuers_of_the_file_their_grants_and_any_subject_can_be_stopped(tmp_path: Path) -> None:
    """Grants and subjects are in no file: a name of one of the issuers, or a text that can be one passes."""
    text = tenant_text() + issuer_text()
    service = load_service(Site(tmp_path, tenants={"acme": text}).write().config)
    _check_exists(service, "acme", "issuer", "ci")
    _check_exists(service, "acme", "subject", "repo:acme/app")
    with pytest.raises(ConfigError, match=r"issuers\.cj"):
        _check_exists(service, "acme", "issuer", "cj")
    grant = "0123456789abcdef" * 2
    _check_exists(service, "acme", "client", f"ci.{grant}")
    for client in (f"cj.{grant}", f"ci.{grant[1:]}", f"ci.{grant.upper()}", "ci", f".{grant}", grant):
        with pytest.raises(ConfigError, match=r"clients\."):
            _check_exists(service, "acme", "client", client)
    _check_subject("repo:acme/app:ref:refs/heads/main")
    for subject in ("", "größe", "two\nlines", "s" * 513):
        with pytest.raises(click.UsageError, match="subject"):
            _check_subject(subject)


def test_a_mistake_elsewhere_in_the_tenants_file_holds_up_no_stop(site: Site) -> None:
    """Names are read without the rules of a tenant's file."""
    file = site.tenant_file()
    file.write_text('epoc = 1\nclients = "none"\n' + file.read_text().replace("[clients.", "[clients_of."))
    service = load_service(site.config)
    _check_exists(service, "acme", "key", "release")
    with pytest.raises(ConfigError, match=r"clients\.build-1"):
        _check_exists(service, "acme", "client", "build-1")


@pytest.mark.parametrize(
    "content, remedy", [(None, "--operator-key"), (b"no key", "sigmill operators create")]
)
def test_an_operators_key_that_cannot_be_read_is_not_taken_for_a_clients(
    site: Site, tmp_path: Path, content: bytes | None, remedy: str
) -> None:
    """The remedy names the option and the command of operators."""
    file = tmp_path / "ada.key"
    if content is not None:
        file.write_bytes(content)
        file.chmod(0o600)
    with pytest.raises(ConfigError) as caught:
        OrderSender.of(load_service(site.config), "ada", file)
    assert remedy in caught.value.remedy
    assert "client" not in caught.value.remedy
