"""``keys set`` changes what it is told and nothing else, and writes nothing that a worker would refuse."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from queueing.errors import ConfigError
from tests.support.fakes.config_files import Site
from tests.support.fakes.key_sites import events_of
from workers.cli.keys.rules import set_rules
from workers.cli.shell.output import Output
from workers.config.loading import load_scope


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """acme with a commented key."""
    made = Site(tmp_path)
    made.tenants["acme"] = made.tenants["acme"].replace('clients = ["*"]', 'clients = ["*"]   # for now')
    return made.write()


def run(site: Site, *words: str) -> Any:
    """The command, in JSON; a usage error's message where it fails as one."""
    command = ["--config", str(site.config), "--tenant", "acme", "--key", "release", *words]
    done = CliRunner().invoke(set_rules, command, obj=Output(as_json=True))
    if done.exit_code == 2:
        return done.output
    if done.exception is not None:
        raise done.exception
    return json.loads(done.output)


def key_of(site: Site) -> dict[str, Any]:
    """The key's table."""
    table: dict[str, Any] = tomllib.loads(site.tenant_file().read_text())["keys"]["release"]
    return table


def test_each_rule_is_written_and_the_rest_stays(site: Site) -> None:
    """With the comment, and a higher epoch."""
    line = run(
        site, "--client", "build-1", "--budget", "5000/hour", "--window", "mon-wed,fri 08:00-18:30", "--window",
        "sun 00:00-24:00",
    )  # fmt: skip

    key = key_of(site)
    assert (key["clients"], key["algorithms"]) == (["build-1"], ["ECDSA_SHA_256"])
    assert key["budget"] == {"digests": 5000, "per": "hour"}
    for rule in (
        "clients: build-1",
        "mon,tue,wed,fri 08:00-18:30",
        "sun 00:00-24:00",
        "budget: 5000 in 3600 s",
    ):
        assert rule in line["policy"]
    assert '-clients = ["*"]   # for now' in line["difference"]
    assert '+clients = ["build-1"]   # for now' in line["difference"]
    assert tomllib.loads(site.tenant_file().read_text())["epoch"] == 5
    (event,) = events_of(load_scope(site.config))
    assert (event.event, event.key, event.version) == ("set", "release", 0)
    assert event.changed == ("clients", "budget", "windows")
    run(site, "--budget", "none", "--window", "none", "--client", "+*", "--client", "-build-1")
    assert {*key_of(site)} == {"clients", "algorithms", "versions"}
    assert key_of(site)["clients"] == ["*"]


def test_a_dry_run_shows_the_difference_and_writes_nothing(site: Site) -> None:
    """A file that a worker would refuse is an error nevertheless."""
    before = site.tenant_file().read_text()

    line = run(site, "--budget", "10/day", "--dry-run")

    assert '+budget = { digests = 10, per = "day" }' in line["difference"]
    assert line["written"] is None
    with pytest.raises(ConfigError, match="no client `nobody`"):
        run(site, "--client", "nobody", "--dry-run")
    assert site.tenant_file().read_text() == before
    assert events_of(load_scope(site.config)) == []


@pytest.mark.parametrize(
    "words",
    [["--budget", "none"], ["--client", "*"], ["--algorithm", "+ECDSA_SHA_256"], ["--window", "none"]],
)
def test_what_is_so_already_is_not_written_again(site: Site, words: list[str]) -> None:
    """A script may set the same rules every day without a new epoch for each."""
    before = site.tenant_file().read_text()

    line = run(site, *words)

    assert (line["difference"], line["written"]) == ("", None)
    assert site.tenant_file().read_text() == before


def test_a_key_without_clients_is_warned_of(site: Site) -> None:
    """It is a valid configuration, and denies each job."""
    command = ["--config", str(site.config), "--tenant", "acme", "--key", "release", "--client", "-*"]

    done = CliRunner().invoke(set_rules, command, obj=Output())

    assert done.exit_code == 0
    assert "no client may use release" in done.stderr


@pytest.mark.parametrize(
    "words, problem",
    [
        (["--algorithm", "+ED25519"], "does not fit version 1"),
        (["--client", "nobody"], "no client `nobody`"),
        (["--default-algorithm", "ECDSA_SHA_384"], "is not among `algorithms`"),
    ],
)
def test_what_a_worker_would_refuse_is_not_written(site: Site, words: list[str], problem: str) -> None:
    """The changed file is read as a worker reads it."""
    before = site.tenant_file().read_text()

    with pytest.raises(ConfigError, match=problem):
        run(site, *words)
    assert site.tenant_file().read_text() == before


@pytest.mark.parametrize(
    "words, problem",
    [
        ([], "name a rule"),
        (["--algorithm", "ECDSA-SHA256"], "Did you mean"),
        (["--client", "+a", "--client", "b"], "either every value"),
        (["--client", "-build-9"], "is not there"),
        (["--budget", "many"], "no budget such as"),
        (["--budget", "0/day"], "no budget such as"),
        (["--window", "weekdays 08:00-18:00"], "no window such as"),
        (["--window", "fri-mon 08:00-18:00"], "no window such as"),
        (["--window", "mon 25:00-26:00"], "no window such as"),
    ],
)
def test_a_wrong_value_is_named_with_a_right_one(site: Site, words: list[str], problem: str) -> None:
    """A usage error."""
    assert problem in run(site, *words)
