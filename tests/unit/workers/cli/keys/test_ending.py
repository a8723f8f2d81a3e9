"""The end of a version says what happened, here and on other hosts, and what is left to be done."""

from __future__ import annotations

import base64
import json
import os
import shlex
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from queueing.errors import ConfigError, KeyDisabled, QueueUnavailable
from queueing.protocol.client_keys import ClientKey
from tests.support.fakes.config_files import p256_key
from tests.support.fakes.key_sites import events_of, site_with
from workers.cli.keys import ending
from workers.cli.keys.ending import named_version, retire, revoke
from workers.cli.operate.order_sender import OrderSender, StopLine
from workers.cli.operate.stop import stop
from workers.cli.shell.output import Output
from workers.config.loading import ServiceScope
from workers.config.tenant_file import load_tenant
from workers.state.running_workers import PidLock


@dataclass
class Cluster:
    """What orders and questions of the command meet: ``confirmed`` of ``workers``, or no Redis."""

    workers: int = 2
    confirmed: int = 2
    redis: bool = True
    others: list[str] = field(default_factory=lambda: ["b.example (7)"])
    sent: list[dict[str, str]] = field(default_factory=list)

    def send(self, **order: Any) -> StopLine:
        """In the place of ``OrderSender.send``."""
        if not self.redis:
            raise QueueUnavailable("Redis does not answer")
        self.sent.append(order)
        adopted = tuple(f"worker-{i}" for i in range(self.confirmed))
        order.pop("reason")
        return StopLine(order="0f" * 16, adopted_by=adopted, workers=self.workers, within_s=0.25, **order)

    def other_workers(self, *_: object) -> list[str]:
        """In the place of the registry."""
        if not self.redis:
            raise QueueUnavailable("Redis does not answer")
        return self.others


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Cluster:
    """Two workers that confirm each order, one of them on another host."""
    made = Cluster()
    monkeypatch.setattr(OrderSender, "send", lambda _, **order: made.send(**order))
    monkeypatch.setattr(ending, "_other_workers", made.other_workers)
    return made


@dataclass
class Room:
    """A tenant's file with versions, and the operator ada with her key."""

    scope: ServiceScope
    key: Path

    @property
    def states(self) -> list[str]:
        """The states in the file."""
        tenant = load_tenant(self.scope.tenant_file("acme"), self.scope.tokens)
        return [version.state for version in tenant.keys["release"].versions]

    def run(
        self,
        command: click.Command,
        *words: str,
        key: str = "release/1",
        operator: bool = True,
        as_json: bool = False,
    ) -> Result:
        """The command without a reload."""
        given = ["--config", str(self.scope.file), "--tenant", "acme", "--key", key, "--no-reload", *words]
        if operator:
            given += ["--operator", "ada", "--operator-key", str(self.key)]
        done = CliRunner().invoke(command, given, obj=Output(as_json=as_json), standalone_mode=False)
        if done.exception is not None:
            raise done.exception
        return done


@pytest.fixture
def room(tmp_path: Path) -> Room:
    """Two active versions."""
    return make_room(tmp_path, "active", "active")


def make_room(tmp_path: Path, *states: str) -> Room:
    """Versions in these states."""
    ada = ClientKey.generate()
    ada.write(tmp_path / "ada.key")
    public = base64.b64encode(ada.public_spki).decode()
    scope = site_with(tmp_path, *states, service=f'\n[operators.ada]\npublic_key = "{public}"\n')
    return Room(scope=scope, key=tmp_path / "ada.key")


@pytest.mark.parametrize("command, state", [(retire, "retired"), (revoke, "revoked")])
def test_file_and_order_end_the_version(
    room: Room, cluster: Cluster, command: click.Command, state: str
) -> None:
    """The file has the state, and every worker confirmed the order: exit code 0."""
    done = room.run(command, as_json=True)

    assert done.return_value == 0
    assert room.states == [state, "active"]
    assert cluster.sent == [{"scope": "version", "tenant": "acme", "name": "release/1"}]
    line = json.loads(done.stdout)
    assert (line["state"], line["stop"]["order"], line["stop_error"]) == (state, "0f" * 16, None)
    assert "on every host: 2 workers confirmed it within 0.25 s" in done.stderr
    (event,) = events_of(room.scope)
    assert (event.event, event.tenant, event.key, event.version) == (state, "acme", "release", 1)
    assert event.public_key_sha256 == p256_key(1).sha256


def test_an_order_that_not_every_worker_confirmed_is_told(room: Room, cluster: Cluster) -> None:
    """Exit code 75, with the workers that did."""
    cluster.confirmed = 1

    done = room.run(retire)

    assert done.return_value == 75
    assert "1 of 2 workers confirmed it within 0.25 s: worker-0" in done.stderr


def test_without_redis_the_file_is_changed_and_the_rest_is_told(room: Room, cluster: Cluster) -> None:
    """Exit code 75; the same command again sends the order, and leaves the file as it is."""
    cluster.redis = False

    done = room.run(revoke)

    assert done.return_value == 75
    assert room.states == ["revoked", "active"]
    assert "the stop order was not sent" in done.stderr
    assert "Run this command again" in done.stderr
    text = room.scope.tenant_file("acme").read_text()
    cluster.redis = True
    assert room.run(revoke).return_value == 0
    assert len(cluster.sent) == 1
    assert room.scope.tenant_file("acme").read_text() == text


@pytest.mark.parametrize("command", [retire, revoke])
def test_without_an_operator_other_hosts_are_named_with_the_command_that_stops_them(
    room: Room, cluster: Cluster, command: click.Command
) -> None:
    """Exit code 75; the printed command line is one that `sigmill stop` takes."""
    done = room.run(command, "--reason", "Ada's laptop", operator=False)

    assert done.return_value == 75
    assert "b.example (7): may sign with release/1" in done.stderr
    printed = shlex.split(done.stderr.rpartition("sigmill stop ")[2])
    order = stop.make_context("stop", [*printed, "--config", str(room.scope.file)]).params
    assert (order["tenant"], order["key"], order["client"]) == ("acme", "release/1", None)
    assert order["reason"] == "Ada's laptop"
    assert cluster.sent == []


def test_without_an_operator_and_redis_other_hosts_are_unknown(room: Room, cluster: Cluster) -> None:
    """It is not taken for granted that there are none."""
    cluster.redis = False

    done = room.run(retire, operator=False)

    assert (done.return_value, room.states[0]) == (75, "retired")
    assert "so they are unknown" in done.stderr


def test_a_single_host_needs_no_order(room: Room, cluster: Cluster) -> None:
    """No other worker is registered: exit code 0."""
    cluster.others = []

    done = room.run(retire, operator=False)

    assert done.return_value == 0
    assert "no other worker is registered" in done.stderr


def test_workers_of_this_host_that_were_not_reloaded_are_named(room: Room, cluster: Cluster) -> None:
    """They sign until they have the file, so that the version is not stopped: exit code 75."""
    cluster.others = []
    lock = PidLock(room.scope.state_dir)
    lock.set()
    try:
        done = room.run(retire, operator=False)
    finally:
        lock.remove()

    assert done.return_value == 75
    assert f"worker {os.getpid()} of this host: may sign with release/1" in done.stderr
    assert "stopped everywhere" not in done.stderr


@pytest.mark.parametrize("state", ["verify-only", "next", "active\nverify_only_from = 2020-01-01T00:00:00Z"])
def test_a_version_that_signs_nothing_needs_no_order(tmp_path: Path, cluster: Cluster, state: str) -> None:
    """The routine end of a rotation: its overlap is over."""
    done = make_room(tmp_path, state, "active").run(retire, operator=False)

    assert (done.return_value, cluster.sent) == (0, [])


def test_this_host_alone_is_a_choice(room: Room, cluster: Cluster) -> None:
    """No order is sent, though there is an operator: exit code 0."""
    done = room.run(retire, "--this-host")

    assert (done.return_value, cluster.sent) == (0, [])
    assert "until they have the file" in done.stderr


def test_a_dry_run_shows_the_difference_and_does_nothing(room: Room, cluster: Cluster) -> None:
    """Neither file nor order."""
    done = room.run(retire, "--dry-run")

    assert '-state = "active"' in done.stdout
    assert '+state = "retired"' in done.stdout
    assert "ada would send" in done.stderr
    assert (room.states, cluster.sent) == (["active", "active"], [])
    assert events_of(room.scope) == []


def test_an_event_that_cannot_be_kept_is_a_warning(room: Room, cluster: Cluster) -> None:
    """The version has ended already: the command says what is not on record."""
    room.scope.state_dir.write_text("a file in the place of the folder")

    done = room.run(retire, "--this-host")

    assert (done.return_value, room.states[0]) == (0, "retired")
    assert "warning: `retired` of release is not on record" in done.stderr


def test_an_operator_whose_order_no_worker_takes_changes_nothing(room: Room, cluster: Cluster) -> None:
    """Checked before the file is written."""
    with pytest.raises(ConfigError, match=r"operators\.bob"):
        room.run(retire, "--operator", "bob", "--operator-key", str(room.key), operator=False)
    with pytest.raises(click.UsageError, match="--operator NAME and --operator-key FILE"):
        room.run(retire, "--operator", "ada", operator=False)
    assert (room.states, cluster.sent) == (["active", "active"], [])


def test_a_file_with_a_mistake_is_no_dead_end_in_an_emergency(room: Room, cluster: Cluster) -> None:
    """The error names the order that needs no valid file."""
    file = room.scope.tenant_file("acme")
    file.write_text("nonsense = 1\n" + file.read_text())

    with pytest.raises(ConfigError, match="nonsense") as caught:
        room.run(revoke)
    assert "`sigmill stop --tenant acme --key release/1" in caught.value.remedy
    assert cluster.sent == []


@pytest.mark.parametrize(
    "state, command, why", [("revoked", retire, "permanent"), ("revoked", revoke, "permanent"), ("retired", retire, "already")]
)  # fmt: skip
def test_what_has_ended_stays_as_it_is(
    tmp_path: Path, cluster: Cluster, state: str, command: click.Command, why: str
) -> None:
    """A revoked version is never merely retired."""
    room = make_room(tmp_path, state, "active")

    with pytest.raises(KeyDisabled, match=why):
        room.run(command, operator=False)
    assert (room.states, cluster.sent) == ([state, "active"], [])


def test_the_last_active_version_is_warned_of(tmp_path: Path, cluster: Cluster) -> None:
    """Builds that name no version would be refused."""
    cluster.others = []
    done = make_room(tmp_path, "active").run(retire, operator=False)

    assert "no version of release is active now" in done.stderr


def test_an_end_needs_the_number_of_its_version(tmp_path: Path) -> None:
    """The usage error lists them."""
    scope = site_with(tmp_path, "active", "next")

    with pytest.raises(click.UsageError, match=r"release/1 \(active\), release/2 \(next\)"):
        named_version(scope, "acme", "release")
