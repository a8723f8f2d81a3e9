"""Waiting clients of a relay: results reach those that wait for them, and are kept for no other."""

from __future__ import annotations

import pytest

from workers.relay import waiting as module
from workers.relay.waiting import WaitingClients


@pytest.fixture
def clients() -> WaitingClients:
    return WaitingClients()


def test_a_result_reaches_each_client_that_names_its_job(clients: WaitingClients) -> None:
    """And no other; one for which no client waits is dropped, since Redis has it."""
    with clients.waiting(["a", "b"], 0.0) as first, clients.waiting(["b"], 0.0) as second:
        clients.hand_over({"b": b"result", "c": b"of no client"})
        assert first.found == second.found == {"b": b"result"}
        assert first.some.is_set()
        assert not first.complete
        assert second.complete


def test_the_table_is_empty_when_the_last_client_has_gone(clients: WaitingClients) -> None:
    """Nothing is read from Redis then."""
    with clients.waiting(["a"], 0.0), clients.waiting(["a", "a"], 0.0):
        assert clients.some.is_set()
        assert clients.jobs() == ["a"]
    assert len(clients) == 0
    assert clients.jobs() == []
    assert not clients.some.is_set()


def test_an_answer_ends_before_it_is_too_large(
    clients: WaitingClients, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client asks for the rest again; one result alone may be larger."""
    monkeypatch.setattr(module, "MOST_ANSWER_BYTES", 10)
    with clients.waiting(["a", "b", "c"], 0.0) as client:
        clients.hand_over({"a": bytes(20)})
        clients.hand_over({"b": bytes(5)})
        assert client.found == {"a": bytes(20)}
    with clients.waiting(["a", "b", "c"], 0.0) as client:
        clients.hand_over({"a": bytes(5), "b": bytes(5), "c": bytes(5)})
        assert list(client.found) == ["a", "b"]


def test_jobs_that_are_not_there_are_an_answer(clients: WaitingClients) -> None:
    """The client sends them again, or ends them."""
    with clients.waiting(["a"], 0.0) as client:
        client.lacks([])
        assert not client.some.is_set()
        client.lacks(["a"])
        assert client.some.is_set()
        assert client.complete


def test_clients_are_looked_up_once_after_a_while(clients: WaitingClients) -> None:
    """If they have waited long enough, and were not looked up."""
    with clients.waiting(["a"], 1.0) as old, clients.waiting(["b"], 3.0):
        assert clients.unchecked(2.0) == [old]
        old.checked = True
        assert clients.unchecked(2.0) == []


def test_all_are_released_at_once(clients: WaitingClients) -> None:
    """At the end of the relay they are answered with what there is."""
    with clients.waiting(["a"], 0.0) as first, clients.waiting(["b"], 0.0) as second:
        clients.release()
        assert first.some.is_set()
        assert second.some.is_set()
        assert not first.found
