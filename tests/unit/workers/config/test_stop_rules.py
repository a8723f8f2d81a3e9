"""Stop orders of one tenant: the denial that each scope causes, and lifted orders."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from queueing.errors import ClientRevoked, KeyDisabled, PolicyDenied
from queueing.protocol.stop_orders import Scope, StopOrder
from tests.support.fakes.config_files import Site
from workers.config.loading import load_configuration
from workers.config.stop_rules import NO_STOPS, Stops
from workers.config.tenants import Tenant


@pytest.fixture
def acme(tmp_path: Path) -> Tenant:
    return load_configuration(Site(tmp_path).write().config).tenants["acme"]


def order(scope: Scope, name: str = "", tenant: str = "acme") -> StopOrder:
    return StopOrder(
        audience="test",
        order_id=b"0123456789abcdef",
        issued_at_ms=0,
        operator="ada",
        scope=scope,
        tenant=tenant,
        name=name,
    )


def test_an_order_stops_the_tenant(acme: Tenant) -> None:
    """The denial names the order by its id."""
    with pytest.raises(PolicyDenied, match=order("tenant").hex_id):
        Stops.of(acme, [order("tenant")]).check_tenant()


def test_an_order_stops_one_key_or_one_client(acme: Tenant) -> None:
    """Other keys and clients of the tenant are not affected."""
    stops = Stops.of(acme, [order("key", "release"), order("client", "build-1")])
    stops.check_tenant()
    stops.check_key("other")
    stops.check_client("other")
    with pytest.raises(KeyDisabled):
        stops.check_key("release")
    with pytest.raises(ClientRevoked):
        stops.check_client("build-1")


def test_an_order_stops_one_version_of_a_key(acme: Tenant) -> None:
    """The key itself, and its other versions, are not affected."""
    stops = Stops.of(acme, [order("version", "release/1")])
    stops.check_key("release")
    stops.check_version("release", 2)
    stops.check_version("other", 1)
    with pytest.raises(KeyDisabled, match="version 1"):
        stops.check_version("release", 1)


def test_lifted_orders_and_those_of_other_tenants_stop_nothing(acme: Tenant) -> None:
    """``lifted_orders`` of the tenant's file makes an order void."""
    lifted = replace(acme, lifted_orders=frozenset({order("tenant").order_id}))
    assert Stops.of(lifted, [order("tenant")]) == NO_STOPS
    assert Stops.of(acme, [order("tenant", tenant="globex")]) == NO_STOPS
