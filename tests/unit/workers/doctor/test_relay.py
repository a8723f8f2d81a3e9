"""The doctor's checks of a relay's file: what is wrong is named, with its fix."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from workers.dev.trial_tls import write_authority_and_server
from workers.doctor.findings import State
from workers.doctor.relay import check_relay

NOW_S = time.time()
DAY_S = 86_400


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A relay over a Redis that is away, with a certificate of a year."""
    write_authority_and_server(tmp_path, host="127.0.0.1")
    made = tmp_path / "relay.toml"
    made.write_text(
        'audience = "a"\n[tls]\ncertificate_file = "server.pem"\nprivate_key_file = "server.key"\n'
        '[tenants.acme.redis]\nunix_socket = "/nowhere"\n'
    )
    return made


def states(file: Path, now_s: float = NOW_S) -> dict[str, State]:
    """State of each subject, by the last part of its name."""
    return {finding.subject.rpartition("/")[2]: finding.state for finding in check_relay(file, now_s)}


def test_a_host_without_a_relay_has_no_finding(tmp_path: Path) -> None:
    """Most hosts run none."""
    assert states(tmp_path / "relay.toml") == {}


def test_a_good_file_is_good_and_a_redis_that_is_away_was_not_asked(file: Path) -> None:
    """Certificate, descriptors, and Redis of each tenant."""
    found = states(file)
    assert found.keys() == {"relay.toml", "server.pem", "limits.connections", "nowhere"}
    assert (found["relay.toml"], found["server.pem"], found["nowhere"]) == (State.OK, State.OK, State.SKIPPED)


@pytest.mark.parametrize("days, state", [(300, State.OK), (360, State.WARNING), (400, State.FAIL)])
def test_a_certificate_that_ends_is_told_in_time(file: Path, days: int, state: State) -> None:
    """Two weeks before its end, and after it."""
    assert states(file, NOW_S + days * DAY_S)["server.pem"] is state


@pytest.mark.parametrize("days, state", [(300, State.OK), (360, State.WARNING), (400, State.FAIL)])
def test_authorities_of_clients_that_end_are_told_in_time(file: Path, days: int, state: State) -> None:
    """After their end no client gets in."""
    file.write_text(file.read_text().replace("[tls]\n", '[tls]\nclient_ca_file = "ca.pem"\n'))
    assert states(file, NOW_S + days * DAY_S)["ca.pem"] is state


def test_a_file_with_a_mistake_has_one_finding(file: Path) -> None:
    """The finding is a failure and names the place in the file; nothing else of the file is judged."""
    file.write_text(file.read_text().replace("private_key_file", "private_keys_file"))
    (finding,) = check_relay(file, NOW_S)
    assert finding.state is State.FAIL
    assert "tls.private_key" in finding.subject
