"""Malformed answers to a worker: an error of their tenant, and of no other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import pytest
from redis.asyncio import Redis

from queueing.broker.claims import (
    ClaimedJob,
    ClaimRequest,
    ClaimResult,
    Claims,
    Commit,
    CommitStatus,
    Retention,
)
from queueing.errors import QueueUnavailable
from queueing.redis import scripts
from queueing.redis.scripts import ScriptCall
from tests.unit.queueing.broker.test_claim_values import answer_with
from tests.unit.queueing.broker.test_claim_values import job as reply_of

REQUESTS = [ClaimRequest(tenant=name, most_jobs=1, most_digests=64) for name in ("acme", "globex")]


class Server:
    """Answers to the scripts, in place of Redis."""

    def __init__(self) -> None:
        self.answers: list[Any] = []

    async def run(self, *_: object, **__: object) -> tuple[list[Any], list[bool]]:
        return self.answers, [True] * len(self.answers)

    async def run_each(self, _: Redis, calls: Sequence[ScriptCall]) -> list[Any]:
        return self.answers[: len(calls)]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Server:
    made = Server()
    monkeypatch.setattr(scripts, "run_confirmed", made.run)
    monkeypatch.setattr(scripts, "run_each", made.run_each)
    return made


@pytest.fixture
def claims(server: Server) -> Claims:
    return Claims(cast("Redis", server), owner="h1", lease_ms=15_000)


def leased(tenant: str) -> ClaimedJob:
    return ClaimedJob(tenant=tenant, job_id=b"a", due_ms=b"1", attempt=1, payload=b"", lease=b"h1:7")


async def test_a_malformed_claim_is_the_error_of_its_tenant(server: Server, claims: Claims) -> None:
    """The other tenant's jobs are claimed. What the script leased is unknown, so the charge counts as lost."""
    server.answers = [[b"what"], answer_with(reply_of(b"a"))]
    bad, good = await claims.claim(REQUESTS)
    assert isinstance(bad, QueueUnavailable)
    assert bad.perhaps_done
    assert isinstance(good, ClaimResult)


@pytest.mark.parametrize("answer", [[1], [1, 7], [1, b"1"], b"OK", None])
async def test_a_malformed_commit_is_the_error_of_its_tenant(
    server: Server, claims: Claims, answer: object
) -> None:
    """Its results are committed again; the other tenant's are done."""
    batch = [Commit(b"a", b"h1:7", b"result", ""), Commit(b"b", b"h1:7", b"result", "")]
    server.answers = [answer, [1, 2]]
    answers = await claims.commit({"acme": batch, "globex": batch}, Retention(result_ms=1))
    assert isinstance(answers["acme"], QueueUnavailable)
    assert answers["globex"] == [CommitStatus.COMMITTED, CommitStatus.REPEATED]


async def test_a_malformed_extension_loses_no_lease(server: Server, claims: Claims) -> None:
    """It is an outage, and its leases are kept; those of another tenant that are lost are returned."""
    jobs = {"acme": [leased("acme")], "globex": [leased("globex")]}
    server.answers = [[1, 1], [1]]
    with pytest.raises(QueueUnavailable, match="extend leases"):
        await claims.extend(jobs)
    server.answers = [b"OK", [0]]
    assert await claims.extend(jobs) == jobs["globex"]
