"""Stop orders in force, by tenant."""

from __future__ import annotations

from dataclasses import replace

import pytest

from queueing.errors import KeyDisabled, PolicyDenied
from queueing.protocol.stop_orders import StopOrder
from tests.support.fakes.configurations import tenant
from workers.current_stop_orders import CurrentStopOrders


def order(number: int, *, tenant_name: str = "acme", key: str = "") -> StopOrder:
    return StopOrder(
        audience="test",
        order_id=bytes([number]) * 16,
        issued_at_ms=1,
        operator="alice",
        scope="key" if key else "tenant",
        tenant=tenant_name,
        name=key,
    )


@pytest.fixture
def orders() -> CurrentStopOrders:
    """One order against acme's key ``release``, and one against globex."""
    made = CurrentStopOrders()
    made.add(order(1, key="release"), b"signed-1")
    made.add(order(2, tenant_name="globex"), b"signed-2")
    return made


def test_the_lanes_of_a_tenant_get_its_orders_alone(orders: CurrentStopOrders) -> None:
    """In their signed form: a lane verifies them itself."""
    assert orders.signed_orders("acme") == (b"signed-1",)
    assert orders.signed_orders("initech") == ()


def test_an_order_stops_its_target(orders: CurrentStopOrders) -> None:
    """A key, or the whole tenant."""
    with pytest.raises(KeyDisabled):
        orders.stops_of(tenant("acme")).check_key("release")
    orders.stops_of(tenant("acme")).check_tenant()
    with pytest.raises(PolicyDenied):
        orders.stops_of(tenant("globex")).check_tenant()


def test_the_tenants_configuration_lifts_an_order(orders: CurrentStopOrders) -> None:
    """The order stays known, so that it is not taken for a new one."""
    lifting = replace(tenant("globex"), lifted_orders=frozenset({order(2).order_id}))
    orders.stops_of(lifting).check_tenant()
    assert order(2).order_id in orders


def test_an_order_is_counted_once(orders: CurrentStopOrders) -> None:
    """However often it is added."""
    orders.add(order(1, key="release"), b"signed-1")
    assert (len(orders), set(orders.order_ids())) == (2, {order(1).order_id, order(2).order_id})
    assert orders.signed(order(2).order_id) == b"signed-2"
