"""Bounds of a relay: what is in hand is counted, given back, and shed beyond the limits."""

from __future__ import annotations

import pytest

from tests.support.clocks.fixed_random import FixedRandom
from tests.support.relay.relay_settings import settings
from workers.relay import admission as module
from workers.relay.admission import Admission, Shed


def admission(randomness: float = 0.0, **tenants: int | None) -> Admission:
    return Admission(settings(**(tenants or {"acme": None})), randomness=FixedRandom(randomness))


def cause(shed: pytest.ExceptionInfo[Shed]) -> str:
    return shed.value.cause


def test_requests_beyond_the_limit_are_told_to_come_later() -> None:
    """One that has ended makes room for the next one, also when it failed."""
    made = admission()
    with made.request():
        with pytest.raises(ZeroDivisionError), made.request():
            _ = 1 / 0
        with made.request(), pytest.raises(Shed) as shed, made.request():
            pass
    assert cause(shed) == "requests"
    assert made.requests == 0


@pytest.mark.parametrize("randomness, wait_s", [(0.0, 1.0), (0.5, 3.0), (1.0, 5.0)])
def test_clients_that_are_shed_come_back_spread(randomness: float, wait_s: float) -> None:
    """Not all of them in one moment."""
    made = admission(randomness)
    with made.request(), made.request(), pytest.raises(Shed) as shed, made.request():
        pass
    assert shed.value.retry_after_s == wait_s
    assert shed.value.retryable


def test_waiting_clients_are_bounded_over_all_tenants() -> None:
    """And one tenant among several leaves a quarter to the others."""
    made = admission(acme=None, globex=None)
    with made.waiting_client("acme", 1), made.waiting_client("acme", 1), made.waiting_client("acme", 1):
        with pytest.raises(Shed) as own, made.waiting_client("acme", 1):
            pass
        with (
            made.waiting_client("globex", 1),
            pytest.raises(Shed) as all_of_them,
            made.waiting_client("globex", 1),
        ):
            pass
    assert (cause(own), cause(all_of_them)) == ("tenant", "waiting")
    assert made.waiting == 0


@pytest.mark.parametrize(
    "tenants, share", [({"acme": None}, 4), ({"acme": 9}, 4), ({"acme": 1, "globex": None}, 1)]
)
def test_a_tenants_share_is_its_own_setting_or_what_leaves_room(
    tenants: dict[str, int | None], share: int
) -> None:
    """Never more than there is."""
    assert settings(**tenants).share("acme") == share


def test_the_jobs_of_waiting_clients_are_bounded_too() -> None:
    """A few clients that each name a thousand jobs cost as much memory as many."""
    made = admission()
    many = made.waiting_client("acme", 4 * module.JOBS_PER_CLIENT)
    with many, pytest.raises(Shed) as shed, made.waiting_client("acme", 1):
        pass
    assert cause(shed) == "waiting"
    with made.waiting_client("acme", 4 * module.JOBS_PER_CLIENT):
        pass


def test_bytes_of_bodies_are_bounded_and_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also those of a body that was refused in its middle."""
    monkeypatch.setattr(module, "MOST_BODY_BYTES_IN_HAND", 10)
    made = admission()
    for _ in range(3):
        with made.body() as body:
            body.add(b"12345")
            with pytest.raises(Shed) as shed, made.body() as other:
                other.add(b"1234567")
            body.add(b"12345")
            assert body.raw == b"1234512345"
        assert cause(shed) == "bodies"


def test_nothing_new_is_taken_while_it_is_drained() -> None:
    """Requests in hand stay counted until they have ended."""
    made = admission()
    with made.request(), made.waiting_client("acme", 1):
        made.draining = True
        with pytest.raises(Shed) as request, made.request():
            pass
        with pytest.raises(Shed) as poll, made.waiting_client("acme", 1):
            pass
        assert (made.requests, made.waiting) == (1, 1)
    assert (cause(request), cause(poll)) == ("draining", "draining")
