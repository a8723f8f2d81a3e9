"""Scripts whose answers are none of ours, on a real Redis: each reader raises ``QueueUnavailable``, or has it for the tenant."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Awaitable, Callable

import pytest
from arq.connections import ArqRedis

from queueing.broker import dead_letters
from queueing.broker.cancel import cancel
from queueing.broker.claims import ClaimRequest, Claims, CommitStatus
from queueing.broker.dead_letters import DeadLetter, StoredLetter
from queueing.errors import QueueUnavailable
from queueing.protocol.client_keys import ClientKey
from queueing.protocol.envelope import seal
from queueing.redis import scripts
from queueing.redis.scripts import Script
from tests.support.farm.forging import payload
from tests.support.farm.queued import KEEP, LEASE_MS, TENANT, commit_of, publish, put, submission, take

ANSWERS = [
    "return {}",
    "return {9, 9, 9}",
    "return 'OK'",
    "return {{'accepted', 'x'}, -1, -1, -1}",
    "return false",
]

Replace = Callable[[Script, str], Awaitable[None]]


@pytest.fixture
def replace(redis: ArqRedis, monkeypatch: pytest.MonkeyPatch) -> Replace:
    """Runs another script instead of one of ours, as after a mistake with versions or behind a proxy."""

    async def run_instead(script: Script, lua: str) -> None:
        await redis.script_load(lua)
        monkeypatch.setitem(scripts._DIGESTS, script, hashlib.sha1(lua.encode()).hexdigest())  # noqa: S324 - Redis' name for it

    return run_instead


@pytest.mark.parametrize("lua", ANSWERS)
async def test_a_claim_is_refused_for_its_tenant(redis: ArqRedis, replace: Replace, lua: str) -> None:
    """The tenant's place in the answers has the error."""
    await replace(Script.CLAIM, lua)
    claims = Claims(redis, owner="one", lease_ms=LEASE_MS)
    (answer,) = await claims.claim([ClaimRequest(tenant=TENANT, most_jobs=1, most_digests=64)])
    assert isinstance(answer, QueueUnavailable)
    assert "another shape" in str(answer)


@pytest.mark.parametrize("lua", ANSWERS)
async def test_a_commit_and_an_extension_are_repeated(
    redis: ArqRedis, replace: Replace, monkeypatch: pytest.MonkeyPatch, lua: str
) -> None:
    """The job keeps its lease, and its result is stored when the answers are ours again."""
    made = submission(1)
    await put(redis, made)
    claims = Claims(redis, owner="one", lease_ms=LEASE_MS)
    claimed = await take(claims)
    (job,) = claimed.jobs
    await replace(Script.COMMIT, lua)
    await replace(Script.EXTEND, lua)
    answers = await claims.commit({TENANT: [commit_of(claimed, made)]}, KEEP)
    assert isinstance(answers[TENANT], QueueUnavailable)
    with pytest.raises(QueueUnavailable):
        await claims.extend({TENANT: [job]})
    monkeypatch.undo()
    assert await claims.extend({TENANT: [job]}) == []
    assert await publish(claims, commit_of(claimed, made)) == [CommitStatus.COMMITTED]


@pytest.mark.parametrize("lua", ANSWERS)
async def test_a_client_is_told_of_an_outage(redis: ArqRedis, replace: Replace, lua: str) -> None:
    """A submit and a cancellation raise ``QueueUnavailable``."""
    made = submission(1)
    waiting = dataclasses.replace(made, sealed=seal(made.envelope, ClientKey.generate()))
    await put(redis, waiting)
    await replace(Script.CANCEL, lua)
    with pytest.raises(QueueUnavailable):
        await cancel(redis, TENANT, waiting.envelope.client, [waiting.job_id], now_ms=1)
    await replace(Script.SUBMIT, lua)
    with pytest.raises(QueueUnavailable):
        await put(redis, submission(2))


@pytest.mark.parametrize("lua", ANSWERS)
async def test_an_operator_is_told_of_an_outage(redis: ArqRedis, replace: Replace, lua: str) -> None:
    """The requeue of a dead letter raises ``QueueUnavailable``."""
    letter = DeadLetter(
        reason="job.poisoned", message="", at_ms=1, worker="w", attempts=1, crashes=1, payload=payload(b"")
    )
    await replace(Script.REQUEUE_DEAD_LETTER, lua)
    with pytest.raises(QueueUnavailable):
        await dead_letters.requeue(
            redis, [StoredLetter(TENANT, b"a", dead_letters.encode_letter(letter), letter)]
        )
