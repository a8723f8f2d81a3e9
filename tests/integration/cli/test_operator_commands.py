"""``tokens list``, ``clients list|revoke`` and ``check-config`` as processes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.support.fakes.config_files import client_line
from tests.support.sigmill_cli import sigmill
from workers.config.loading import load_configuration

if TYPE_CHECKING:
    from tests.integration.cli.conftest import OperatorSite


def enter_client(site: OperatorSite) -> None:
    """A tenant with one client and no key."""
    site.tenant_file().write_text(
        f'tenant = "acme"\n[clients.build-1]\npublic_key = "{client_line()}"\nexpires = 2099-01-01T00:00:00Z\n'
    )


def test_tokens_are_described_without_a_login(operator_site: OperatorSite) -> None:
    """tokens list shows label, serial, model and kind of login without logging in."""
    operator_site.pin_file().write_text("wrong\n")

    ran = sigmill("tokens", "list", "--json", config=operator_site.config)

    lines = {line["token"]: line for line in ran.json()}
    assert (ran.code, set(lines)) == (0, {"service", "acme", "globex"})
    assert (lines["acme"]["found"], lines["acme"]["label"], lines["acme"]["login"]) == (
        True,
        "acme",
        "pin-file",
    )
    assert lines["acme"]["serial"]
    assert (lines["acme"]["owner"], lines["service"]["owner"]) == (None, "the service")
    assert lines["acme"]["pin_refused"] is False


def test_a_token_that_is_not_there_says_what_is(operator_site: OperatorSite) -> None:
    """A token that is not found is reported with those that exist, and the other tokens are listed."""
    text = operator_site.config.read_text().replace('label = "globex"', 'label = "elsewhere"')
    operator_site.config.write_text(text)

    ran = sigmill("tokens", "list", "--json", config=operator_site.config)

    lines = {line["token"]: line for line in ran.json()}
    assert (ran.code, lines["acme"]["found"], lines["globex"]["found"]) == (75, True, False)
    assert "0 tokens match label='elsewhere'" in lines["globex"]["error"]["message"]


def test_a_module_that_cannot_be_loaded_is_an_answer(operator_site: OperatorSite) -> None:
    """The token of the module is not found, with exit code 75, and the other tokens are listed."""
    text = operator_site.config.read_text()
    operator_site.config.write_text(text.replace(str(operator_site.softhsm.module_path), "/dev/null", 1))

    ran = sigmill("tokens", "list", "--json", config=operator_site.config)

    found = [line["found"] for line in ran.json()]
    assert (ran.code, sorted(found)) == (75, [False, True, True])


def test_a_revoked_client_is_revoked_in_the_file(operator_site: OperatorSite) -> None:
    """Revoking writes the state and the next epoch; a second time changes nothing."""
    enter_client(operator_site)

    first = sigmill("clients", "revoke", "build-1", "--tenant", "acme", "--json", config=operator_site.config)
    again = sigmill("clients", "revoke", "build-1", "--tenant", "acme", "--json", config=operator_site.config)

    assert (first.code, first.json()[0]["was_active"], first.json()[0]["epoch"]) == (0, True, 1)
    assert (again.code, again.json()[0]["was_active"], again.json()[0]["epoch"]) == (0, False, 1)
    assert load_configuration(operator_site.config).tenants["acme"].clients["build-1"].revoked
    listed = sigmill("clients", "list", "--json", config=operator_site.config).json()
    assert [(x["client"], x["state"]) for x in listed] == [("build-1", "revoked")]


def test_an_unknown_client_cannot_be_revoked(operator_site: OperatorSite) -> None:
    """Revoking an unknown client ends with 77 and `client.unknown`."""
    enter_client(operator_site)

    ran = sigmill("clients", "revoke", "build-7", "--tenant", "acme", "--json", config=operator_site.config)

    assert (ran.code, ran.error()["code"]) == (77, "client.unknown")


def test_check_config_finds_no_mistake_where_there_is_none(operator_site: OperatorSite) -> None:
    """A valid configuration gives a summary on stdout and exit code 0."""
    enter_client(operator_site)

    ran = sigmill("check-config", config=operator_site.config)

    assert ran.code == 0, ran.err
    assert "acme" in ran.out
    assert "no mistakes" in ran.err


def test_check_config_names_every_mistake(operator_site: OperatorSite) -> None:
    """Each mistake has file, key path, problem and remedy; the exit code is 2."""
    operator_site.tenant_file("acme").write_text('tenant = "acme"\nepoc = 1\n')
    operator_site.tenant_file("globex").write_text('tenant = "globes"\n')
    operator_site.pin_file("globex").chmod(0o640)

    ran = sigmill("check-config", "--json", config=operator_site.config)

    answer = ran.json()[0]
    assert (ran.code, answer["ok"]) == (2, False)
    assert [mistake["key"] for mistake in answer["mistakes"]] == [
        "epoc",
        "tenant",
        "tokens.globex.login.pin_file",
    ]
    assert all(mistake["file"] and mistake["problem"] and mistake["remedy"] for mistake in answer["mistakes"])
    assert answer["mistakes"][0]["remedy"] == "Did you mean `epoch`?"
