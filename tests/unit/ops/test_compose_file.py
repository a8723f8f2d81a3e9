"""Tests of docker-compose.yml without an engine: its files exist, and every image can be replaced.

That it comes up and signs is shown by ops/compose-check.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from workers.cli.commands import COMMANDS
from workers.config.settings import WorkerSettings

ROOT = Path(__file__).parents[3]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
CHECK = (ROOT / "ops" / "compose-check").read_text()


def test_every_part_is_there() -> None:
    """The trial has two workers, Redis, exporter, relay, issuer, monitoring, a build host, and a stand-in for a CI system."""
    parts = {"redis", "worker-1", "worker-2", "exporter", "prometheus", "alertmanager", "grafana"}
    edge = {"relay", "issuer", "issuer-lane", "issuer-refresh", "ci"}
    assert parts | edge | {"setup", "build"} == set(SERVICES)


@pytest.mark.parametrize("name", SERVICES)
def test_an_image_is_a_variable_with_a_version(name: str) -> None:
    """Every image is a variable whose default has a fixed version."""
    found = re.fullmatch(r"\$\{([A-Z]+_IMAGE):-([^}]+)\}", SERVICES[name]["image"])
    assert found
    assert re.search(r":[\w.-]+$", found.group(2))
    assert not found.group(2).endswith(":latest")


def test_ours_is_built_from_a_base_that_is_an_argument() -> None:
    for name in (
        "setup",
        "worker-1",
        "worker-2",
        "exporter",
        "relay",
        "issuer",
        "issuer-lane",
        "issuer-refresh",
        "ci",
        "build",
    ):
        build = SERVICES[name]["build"]
        assert build["args"]["BASE_IMAGE"].startswith("${BASE_IMAGE:-")
        assert (ROOT / build["context"] / build["dockerfile"]).is_file()


@pytest.mark.parametrize("name", SERVICES)
def test_what_is_mounted_is_there(name: str) -> None:
    """A mount is a read-only file of the repository or a declared volume."""
    for mount in SERVICES[name].get("volumes", []):
        source, _, rest = mount.partition(":")
        if source.startswith("./"):
            assert (ROOT / source).exists(), mount
            assert rest.endswith(":ro"), mount
        else:
            assert source in COMPOSE["volumes"], mount


@pytest.mark.parametrize("name", SERVICES)
def test_a_container_has_no_right_that_it_does_not_need(name: str) -> None:
    service = SERVICES[name]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))


def test_a_pin_is_where_the_workers_are_and_nowhere_else() -> None:
    """Only a worker, and the setup, mount the volume with its PIN: exporter, Redis and build host do not."""
    mounts = {name: service.get("volumes", []) for name, service in SERVICES.items()}
    assert all(f"{name}:/var/lib/sigmill" in mounts[name] for name in ("worker-1", "worker-2"))
    for name, service in SERVICES.items():
        mounted = {mount.partition(":")[0] for mount in service.get("volumes", [])}
        workers = {volume for volume in mounted if volume.startswith("worker-")}
        assert name == "setup" or workers <= {name}, name


def test_commands_are_ours_and_a_worker_may_drain() -> None:
    for name in ("worker-1", "worker-2", "exporter", "relay", "issuer", "issuer-lane", "issuer-refresh"):
        assert SERVICES[name]["command"][0] in COMMANDS
    grace = SERVICES["worker-1"]["stop_grace_period"]
    assert float(grace.removesuffix("s")) > WorkerSettings().drain_s


def test_the_issuers_token_is_where_its_lane_is_and_nowhere_else() -> None:
    """Front, lane and workers are three users; the lane has a network without a way out, and only it mounts the token with its PIN."""
    holders = {name for name, service in SERVICES.items() if "issuer-lane" in str(service.get("volumes", []))}
    mounts = {
        name: {mount.partition(":")[0] for mount in SERVICES[name].get("volumes", [])} for name in holders
    }
    assert {name for name, volumes in mounts.items() if "issuer-lane" in volumes} == {"setup", "issuer-lane"}
    assert SERVICES["issuer-lane"]["networks"] == ["nowhere"]
    assert COMPOSE["networks"]["nowhere"] == {"internal": True}
    users = {SERVICES[name]["user"] for name in ("worker-1", "issuer", "issuer-lane")}
    assert len(users) == 3
    assert {f"--front-owner={SERVICES['issuer']['user'].partition(':')[0]}"} <= set(
        SERVICES["setup"]["entrypoint"]
    )


def test_the_keys_of_providers_are_written_by_the_refresh_alone() -> None:
    """As a user of its own, which has neither token nor PIN, and a network without a way out in a trial."""
    writers = {
        name
        for name, service in SERVICES.items()
        for mount in service.get("volumes", [])
        if mount.startswith("issuer-keys:") and not mount.endswith(":ro")
    }
    assert writers == {"setup", "issuer-refresh"}
    user = SERVICES["issuer-refresh"]["user"]
    assert user not in {service.get("user") for name, service in SERVICES.items() if name != "issuer-refresh"}
    assert f"--refresh-owner={user.partition(':')[0]}" in SERVICES["setup"]["entrypoint"]
    mounted = {mount.partition(":")[0] for mount in SERVICES["issuer-refresh"]["volumes"]}
    assert mounted == {"issuer", "issuer-keys", "issuer-refresh"}


def test_the_relay_has_no_key_of_a_tenant() -> None:
    """It mounts its own certificate and the passwords of the tenants' users of Redis."""
    assert SERVICES["relay"]["volumes"] == ["relay:/etc/sigmill-relay:ro"]


def test_the_check_starts_every_service_but_what_it_says() -> None:
    """The check starts every service except Grafana without an image, and the build host, which only signs."""
    (line,) = re.findall(r"^SERVICES='(.+)'$", CHECK, re.MULTILINE)
    assert set(line.split()) == set(SERVICES) - {"grafana", "build"}
    assert "NOT CHECKED: grafana" in CHECK
