"""Bounds of a relay: what is in hand is counted, given back, and shed beyond the limits."""

from __future__ import annotations

import contextlib

import pytest

from tests.support.clocks.fixed_random import FixedRandom
from tests.support.relay.relay_settings import at_hosts, settings
from workers.relay import admission as module
from workers.relay.admission import Admission, Shed


def admission(randomness: float = 0.0, **tenants: int | None) -> Admission:
    return Admission(settings(**(tenants or {"acme": None})), randomness=FixedRandom(randomness))


def cause(shed: pytest.ExceptionInfo[Shed]) -> str:
    return shed.value.cause


def test_requests_beyond_the_limit_are_told_to_come_later() -> None:
    """One that has ended makes room for the next one, also when it failed."""
    made = admission()
    with made.request("acme"):
        with pytest.raises(ZeroDivisionError), made.request("acme"):
            _ = 1 / 0
        with made.request("acme"), pytest.raises(Shed) as shed, made.request("acme"):
            pass
    assert cause(shed) == "requests"
    assert made.requests == 0


@pytest.mark.parametrize("randomness, wait_s", [(0.0, 1.0), (0.5, 3.0), (1.0, 5.0)])
def test_clients_that_are_shed_come_back_spread(randomness: float, wait_s: float) -> None:
    """Not all of them in one moment."""
    made = admission(randomness)
    with made.request("acme"), made.request("acme"), pytest.raises(Shed) as shed, made.request("acme"):
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
    "tenants, share",
    [
        ({"acme": None}, 4),
        ({"acme": 9}, 4),
        ({"acme": 1, "globex": None}, 1),
        ({"acme": 4, "globex": None}, 4),
        ({"acme": None, "globex": None}, 3),
    ],
)
def test_a_tenants_share_is_its_own_setting_or_what_leaves_room(
    tenants: dict[str, int | None], share: int
) -> None:
    """Never more than there is."""
    made = Admission(settings(**tenants))
    with contextlib.ExitStack() as stack:
        for _ in range(share):
            stack.enter_context(made.waiting_client("acme", 1))
        with pytest.raises(Shed), made.waiting_client("acme", 1):
            pass


def test_a_tenant_leaves_as_many_requests_to_others_as_it_has() -> None:
    """Of two it has one; the other tenant gets the last one, also when the first tenant asks again."""
    made = admission(acme=None, globex=None)
    with made.request("acme"):
        with pytest.raises(Shed) as own, made.request("acme"):
            pass
        with made.request("globex"), pytest.raises(Shed) as all_of_them, made.request("acme"):
            pass
    assert (cause(own), cause(all_of_them)) == ("tenant_requests", "requests")
    assert (own.value.tenant, all_of_them.value.tenant) == ("acme", "")
    assert made.requests == 0


def test_unread_answers_of_a_tenant_leave_room_for_those_of_others() -> None:
    """Three quarters of the bytes; an answer alone may be as long as all, and none longer."""
    most = module.MOST_ANSWER_BYTES_IN_HAND
    made = admission(acme=None, globex=None)
    with made.answer("acme", most // 2), made.answer("acme", most // 4):
        with pytest.raises(Shed) as own, made.answer("acme", 1):
            pass
        with made.answer("globex", most // 8):
            assert made.answer_bytes == most // 2 + most // 4 + most // 8
    assert (cause(own), own.value.tenant, made.answer_bytes) == ("answers", "acme", 0)
    with made.answer("acme", most), pytest.raises(Shed), made.answer("globex", 1):
        pass


def test_tenants_of_one_redis_leave_room_for_those_of_another() -> None:
    """Each for its own would leave none: the second tenant of a silent Redis is told to come later, that of another one is not."""
    made = Admission(at_hosts(settings(acme=None, globex=None, initech=None), initech="other.example"))
    with made.request("acme"):
        with pytest.raises(Shed) as request, made.request("globex"):
            pass
        with made.request("initech"):
            pass
    with made.waiting_client("acme", 1), made.waiting_client("acme", 1), made.waiting_client("acme", 1):
        with pytest.raises(Shed) as poll, made.waiting_client("globex", 1):
            pass
        with made.waiting_client("initech", 1):
            pass
    assert (cause(request), cause(poll)) == ("tenant_requests", "tenant")


def test_few_polls_for_many_jobs_leave_room_for_others() -> None:
    """As many clients of one job do."""
    made = admission(acme=None, globex=None)
    with made.waiting_client("acme", 3 * module.JOBS_PER_CLIENT):
        with pytest.raises(Shed) as shed, made.waiting_client("acme", 1):
            pass
        with made.waiting_client("globex", module.JOBS_PER_CLIENT):
            pass
    assert (cause(shed), shed.value.tenant) == ("tenant", "acme")


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
    with made.request("acme"), made.waiting_client("acme", 1):
        made.draining = True
        with pytest.raises(Shed) as request, made.request("acme"):
            pass
        with pytest.raises(Shed) as poll, made.waiting_client("acme", 1):
            pass
        assert (made.requests, made.waiting) == (1, 1)
    assert (cause(request), cause(poll)) == ("draining", "draining")
