"""Durations, combined options, the request id and the choice of tenants."""

from __future__ import annotations

from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from queueing.errors import ConfigError
from tests.support.fakes.config_files import Site, tenant_text
from tests.support.sigmill_cli import environment
from workers.cli.shell.options import Duration, chosen_request_id, chosen_tenants, combined
from workers.cli.signing.cancel import cancel
from workers.cli.signing.wait import wait
from workers.cli.status.status import status
from workers.config.loading import load_configuration


@pytest.mark.parametrize(
    "text, seconds", [("90", 90), ("2h", 7200), ("1h30m", 5400), ("500ms", 0.5), ("1.5s", 1.5), ("1d", 86400)]
)
def test_durations(text: str, seconds: float) -> None:
    """Units of a duration add up; a bare number is seconds."""
    assert Duration().convert(text, None, None) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "soon", "-1", "2h-", "nan", "inf", "1x", "h"])
def test_a_malformed_duration_is_a_usage_error(text: str) -> None:
    """A duration is a finite number of seconds from 0, or numbers with units."""
    with pytest.raises(click.BadParameter):
        Duration().convert(text, None, None)


def test_combined_options_keep_their_order() -> None:
    """The help shows combined options in the order in which they are listed."""

    @click.command()
    @combined(click.option("--first"), click.option("--second"), click.argument("rest", nargs=-1))
    def command(first: str, second: str, rest: tuple[str, ...]) -> None:
        click.echo(f"{first} {second} {rest}")

    assert [parameter.name for parameter in command.params] == ["first", "second", "rest"]
    ran = CliRunner().invoke(command, ["--second", "2", "--first", "1", "x", "y"])
    assert ran.output == "1 2 ('x', 'y')\n"


@pytest.mark.parametrize("command", [cancel, status, wait], ids=["cancel", "status", "wait"])
def test_an_empty_job_id_is_a_usage_error(command: click.Command, tmp_path: Path) -> None:
    """Of an unset variable; it would be shown as a blank, and asked for."""
    file = tmp_path / "client.toml"
    file.touch()
    ran = CliRunner().invoke(command, ["--config", str(file), "{acme}1", ""])
    assert ran.exit_code == 2
    assert "the id is empty; a variable of the shell may be unset" in ran.output


@pytest.fixture
def no_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    """No variable of a CI run is set."""
    monkeypatch.setattr("os.environ", environment())


def test_a_given_request_id_is_used(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """--request-id has precedence over a variable, and is printed on stderr with its source."""
    monkeypatch.setattr("os.environ", environment({"SIGMILL_REQUEST_ID": "nightly"}))
    assert chosen_request_id(None) == "explicit/nightly"
    capsys.readouterr()
    assert chosen_request_id("build-7") == "build-7"
    assert capsys.readouterr() == ("", "request id: build-7 (from --request-id)\n")


def test_a_missing_request_id_is_reported(no_ci: None, capsys: pytest.CaptureFixture[str]) -> None:
    """Without a request id the run gets a random one, and the command prints it, so that a rerun is possible."""
    made = chosen_request_id(None)
    assert made.startswith("run-")
    assert made != chosen_request_id(None)
    assert f"request id: {made}" in capsys.readouterr().err


def test_tenants_are_chosen_by_name(tmp_path: Path) -> None:
    """None chooses all tenants; an unknown name is a mistake with a remedy."""
    site = Site(tmp_path)
    site.tenants["globex"] = tenant_text("globex")
    configuration = load_configuration(site.write().config)
    assert [tenant.name for tenant in chosen_tenants(configuration, None)] == ["acme", "globex"]
    assert [tenant.name for tenant in chosen_tenants(configuration, "globex")] == ["globex"]
    with pytest.raises(ConfigError, match="no such tenant") as caught:
        chosen_tenants(configuration, "initech")
    assert "sigmill tenants list" in caught.value.remedy
