"""An activation says which versions change, and when; what cannot be undone needs its version."""

from __future__ import annotations

import shlex
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from queueing.errors import ConfigError, KeyDisabled, KeyUnknown
from tests.support.fakes.config_files import Site, p256_key, version_lines
from workers.cli.keys.pinned_version import PinnedVersion, find_version
from workers.cli.keys.rotation import AT_ONCE, _activation, _edit, _moment, _named_version, retire, revoke
from workers.cli.operate.stop import stop
from workers.cli.shell.output import Exit, Output
from workers.config.loading import ServiceScope, load_scope
from workers.config.tenant_edits import Changes

NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)
AT, UNTIL = NOW + timedelta(hours=1), NOW + timedelta(hours=3)


def site_with(tmp_path: Path, *states: str) -> ServiceScope:
    """acme with versions 1, 2, … in these states; a state may be followed by further lines."""
    site = Site(tmp_path)
    head, header, _ = site.tenants["acme"].partition("[[keys.release.versions]]\n")
    blocks = []
    for number, state in enumerate(states, 1):
        name, _, more = state.partition("\n")
        lines = version_lines(p256_key(number), version=number, state=name)
        blocks.append(f"{header}{lines}{more}\n")
    site.tenants["acme"] = head + "\n".join(blocks)
    return load_scope(site.write().config)


def activation(tmp_path: Path, *states: str, version: int) -> dict[int, Changes]:
    """Changes that activate this version."""
    pinned = find_version(site_with(tmp_path, *states), "acme", f"release/{version}", wanted=())
    return _activation(pinned.key, pinned.version, now=NOW, at=AT, until=UNTIL)


def test_the_new_version_begins_and_every_active_one_ends(tmp_path: Path) -> None:
    """With the overlap in between; versions that have ended are not touched."""
    changes = activation(tmp_path, "retired", "active", "active", "next", version=4)

    ends = {"state": "active", "active_from": None, "verify_only_from": UNTIL}
    assert changes == {4: {"state": "next", "active_from": AT, "verify_only_from": None}, 2: ends, 3: ends}


def test_a_planned_activation_gives_way_to_another(tmp_path: Path) -> None:
    """Two versions never become active at two times by two commands."""
    changes = activation(tmp_path, "active", "next\nactive_from = 2027-01-01T00:00:00Z", "next", version=3)

    assert changes[2] == {"active_from": None}


@pytest.mark.parametrize(
    "state, why", [("retired", "permanent"), ("revoked", "permanent"), ("active", "already")]
)
def test_what_cannot_be_activated_is_refused(tmp_path: Path, state: str, why: str) -> None:
    """With the way out."""
    with pytest.raises(KeyDisabled, match=why) as caught:
        activation(tmp_path, state, version=1)
    assert caught.value.hint


def test_a_former_version_comes_back_at_once_only(tmp_path: Path) -> None:
    """Until a later time it would be `next`, in which state clients believe no signature of it."""
    pinned = find_version(site_with(tmp_path, "verify-only", "active"), "acme", "release/1", wanted=())
    soon = NOW + AT_ONCE

    back = _activation(pinned.key, pinned.version, now=NOW, at=soon, until=soon)
    assert back[1] == {"state": "active", "active_from": None, "verify_only_from": None}
    with pytest.raises(KeyDisabled, match="at once only"):
        _activation(pinned.key, pinned.version, now=NOW, at=AT, until=AT)


def test_a_version_is_chosen_by_the_state_that_it_has_today(tmp_path: Path) -> None:
    """The file may still say `next` and `active` of versions that have changed over."""
    scope = site_with(
        tmp_path,
        "active\nverify_only_from = 2020-01-01T00:00:00Z",
        "next\nactive_from = 2020-01-01T00:00:00Z",
    )

    assert find_version(scope, "acme", "release", wanted=("active",)).version.version == 2
    with pytest.raises(KeyUnknown, match="it has 1 verify-only, 2 active"):
        find_version(scope, "acme", "release", wanted=("next",))


@pytest.mark.parametrize("text", ["tomorrow", "2026-12-01T06:00:00", "2026-11-27T11:59:59Z", ""])
def test_a_time_without_zone_or_in_the_past_is_refused(text: str) -> None:
    """The error says what is right."""
    with pytest.raises(click.BadParameter):
        _moment(text, NOW)


def test_an_end_needs_the_number_of_its_version(tmp_path: Path) -> None:
    """The usage error lists them."""
    scope = site_with(tmp_path, "active", "next")

    with pytest.raises(click.UsageError, match=r"release/1 \(active\), release/2 \(next\)"):
        _named_version(scope, "acme", "release")


@pytest.mark.parametrize("command", [retire, revoke])
def test_the_end_of_a_version_says_how_to_stop_it_on_the_other_hosts(
    tmp_path: Path, command: click.Command
) -> None:
    """The file of this host reaches the others later; the printed command line is one that `sigmill stop` takes."""
    scope = site_with(tmp_path, "active", "active")
    words = ["--config", str(scope.file), "--tenant", "acme", "--key", "release/1", "--no-reload"]

    ended = CliRunner().invoke(command, words, obj=Output(as_json=False), standalone_mode=False)

    assert ended.return_value == Exit.DONE
    printed = shlex.split(ended.stderr.rpartition("sigmill stop ")[2])
    order = stop.make_context("stop", [*printed, "--config", str(scope.file)]).params
    assert (order["tenant"], order["key"], order["client"]) == ("acme", "release/1", None)


def test_a_change_by_another_operator_meanwhile_is_noticed(tmp_path: Path) -> None:
    """Nothing is written over it."""
    scope = site_with(tmp_path, "active", "next")
    pinned: PinnedVersion = find_version(scope, "acme", "release/2", wanted=())
    other: PinnedVersion = find_version(scope, "acme", "release/1", wanted=())
    _edit(other, {1: {"state": "retired"}})
    text = scope.tenant_file("acme").read_text()

    with pytest.raises(ConfigError, match="another operator"):
        _edit(pinned, {2: {"state": "active"}})
    assert scope.tenant_file("acme").read_text() == text
