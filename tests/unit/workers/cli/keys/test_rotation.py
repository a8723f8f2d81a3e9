"""An activation says which versions change, and when, and activates nothing that an order stops."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from queueing.errors import ConfigError, KeyDisabled, KeyUnknown
from queueing.protocol.client_keys import ClientKey
from queueing.protocol.stop_orders import StopOrder, sign_order
from tests.support.fakes.key_sites import events_of, site_with
from workers.cli.keys import rotation
from workers.cli.keys.pinned_version import PinnedVersion, find_version
from workers.cli.keys.rotation import AT_ONCE, _activation, _moment, activate
from workers.cli.keys.version_states import change_states
from workers.cli.shell.output import Output
from workers.config.loading import ServiceScope
from workers.config.tenant_edits import Changes
from workers.config.tenant_file import load_tenant
from workers.state.stop_orders import StopOrderFolder

NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)
AT, UNTIL = NOW + timedelta(hours=1), NOW + timedelta(hours=3)


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
    """The hint says what to do instead."""
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


@pytest.mark.parametrize(
    "text",
    [
        "tomorrow",
        "2026-12-01T06:00:00",
        "2026-11-27T11:59:59Z",
        "",
        "9999-12-31T23:59:59-14:00",
        "0001-01-01T00:00:00+14:00",
        "2036-12-01T00:00:00Z",
    ],
)
def test_a_time_without_zone_in_the_past_or_far_ahead_is_refused(text: str) -> None:
    """The error repeats the time, and says what is wrong with it."""
    with pytest.raises(click.BadParameter, match=r"no time such as|no time zone|ten years|is over") as caught:
        _moment(text, NOW)
    assert repr(text) in caught.value.message


def test_a_change_by_another_operator_meanwhile_is_noticed(tmp_path: Path) -> None:
    """Nothing is written over it."""
    scope = site_with(tmp_path, "active", "next")
    pinned: PinnedVersion = find_version(scope, "acme", "release/2", wanted=())
    other: PinnedVersion = find_version(scope, "acme", "release/1", wanted=())
    change_states(other, {1: {"state": "retired"}}, dry_run=False)
    text = scope.tenant_file("acme").read_text()

    with pytest.raises(ConfigError, match="another operator"):
        change_states(pinned, {2: {"state": "active"}}, dry_run=False)
    assert scope.tenant_file("acme").read_text() == text


def run(scope: ServiceScope, *words: str) -> list[dict[str, Any]]:
    """``keys activate`` without a reload, in JSON."""
    command = ["--config", str(scope.file), "--tenant", "acme", "--key", *words, "--no-reload"]
    done = CliRunner().invoke(activate, command, obj=Output(as_json=True))
    if done.exception is not None:
        raise done.exception
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_a_dry_run_shows_the_difference_and_writes_nothing(tmp_path: Path) -> None:
    """As if it were activated at that time, in the next epoch."""
    scope = site_with(tmp_path, "active", "next")
    before = scope.tenant_file("acme").read_text()

    at = f"{datetime.now(UTC) + timedelta(days=30):%Y-%m-%dT%H:%M:%SZ}"
    lines = run(scope, "release", "--at", at, "--dry-run")

    assert f"+active_from = {at}" in lines[0]["difference"]
    assert "-epoch = 4" in lines[0]["difference"]
    assert [line["written"] for line in lines] == [None, None]
    assert scope.tenant_file("acme").read_text() == before


def test_each_changed_version_is_told_as_it_will_be(tmp_path: Path) -> None:
    """The former one ends with the overlap; one whose planned activation is void waits again."""
    scope = site_with(tmp_path, "active", "next\nactive_from = 2099-01-01T00:00:00Z", "next")

    lines = run(scope, "release/3", "--overlap", "1h")

    states = {line["version"]: (line["state"], line["until"] is None) for line in lines}
    assert states == {3: ("active", True), 1: ("active", False), 2: ("next", True)}
    (event,) = events_of(scope)
    assert (event.event, event.version) == ("activated", 3)
    assert {"3.active_from", "1.verify_only_from", "2.active_from"} <= set(event.changed)


@pytest.mark.parametrize("overlap", ["99999999999999999999d", "4000000d", "3654d"])
def test_an_overlap_of_more_than_ten_years_is_refused(tmp_path: Path, overlap: str) -> None:
    """As an option with a wrong value, not as an arithmetic error."""
    scope = site_with(tmp_path, "active", "next")
    command = ["--config", str(scope.file), "--tenant", "acme", "--key", "release", "--overlap", overlap]

    done = CliRunner().invoke(activate, command, obj=Output())

    assert done.exit_code == 2
    assert "more than ten years" in done.stderr


def stopped(scope: ServiceScope, name: str) -> str:
    """Id of an order that stops this version, or key, on this host."""
    order = StopOrder(
        audience=scope.audience,
        order_id=os.urandom(16),
        issued_at_ms=1,
        operator="ada",
        scope="version" if "/" in name else "key",
        tenant="acme",
        name=name,
        reason="by mistake",
    )
    StopOrderFolder(scope.state_dir).keep(order, sign_order(order, ClientKey.generate()))
    return order.hex_id


def test_a_version_that_an_order_stops_is_activated_only_when_the_order_is_lifted(tmp_path: Path) -> None:
    """Without --lift the error names the order, and the file stays; with it both changes are one epoch."""
    scope = site_with(tmp_path, "verify-only", "active")
    order, other = stopped(scope, "release/1"), stopped(scope, "release/2")
    before = scope.tenant_file("acme").read_text()

    with pytest.raises(KeyDisabled, match=order) as caught:
        run(scope, "release/1")
    assert "--lift" in caught.value.hint
    assert scope.tenant_file("acme").read_text() == before
    run(scope, "release/1", "--lift")

    tenant = load_tenant(scope.tenant_file("acme"), scope.tokens)
    assert tenant.lifted_orders == {bytes.fromhex(order)}
    assert other not in scope.tenant_file("acme").read_text()
    assert (tenant.epoch, tenant.keys["release"].versions[0].state) == (5, "active")


def test_two_operators_at_once_lift_both_orders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second one writes the ids that the file lifts by then, not those that it lifted when the command began."""
    scope = site_with(tmp_path, "verify-only", "verify-only")
    first, second = stopped(scope, "release/1"), stopped(scope, "release/2")
    file = scope.tenant_file("acme")

    def written_by_another(*arguments: Any, **options: Any) -> Any:
        text = file.read_text()
        file.write_text(text.replace("epoch = 4\n", f'epoch = 5\nlifted_orders = ["{first}"]\n'))
        return change_states(*arguments, **options)

    monkeypatch.setattr(rotation, "change_states", written_by_another)
    run(scope, "release/2", "--lift")

    lifted = load_tenant(file, scope.tokens).lifted_orders
    assert lifted == {bytes.fromhex(first), bytes.fromhex(second)}


def test_a_false_alarm_is_over_when_its_order_is_lifted(tmp_path: Path) -> None:
    """The version is active as before, and no other one changes."""
    scope = site_with(tmp_path, "active", "active")
    order = stopped(scope, "release/1")

    run(scope, "release/1", "--lift")

    tenant = load_tenant(scope.tenant_file("acme"), scope.tokens)
    assert tenant.lifted_orders == {bytes.fromhex(order)}
    assert [(v.state, v.verify_only_from_ms) for v in tenant.keys["release"].versions] == [
        ("active", None)
    ] * 2


def test_an_order_against_the_whole_key_is_a_warning(tmp_path: Path) -> None:
    """The operator stopped more than this version: --lift does not lift it."""
    scope = site_with(tmp_path, "active", "next")
    order = stopped(scope, "release")

    command = ["--config", str(scope.file), "--tenant", "acme", "--key", "release", "--lift", "--no-reload"]
    done = CliRunner().invoke(activate, command, obj=Output(as_json=False))

    assert done.exit_code == 0
    assert f"stops the key ({order}" in done.stderr
    assert not load_tenant(scope.tenant_file("acme"), scope.tokens).lifted_orders
