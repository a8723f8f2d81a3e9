"""The rules of a key hold on the whole way: who, when and how much."""

from __future__ import annotations

import asyncio
import os
from datetime import UTC, datetime

import pytest
from arq.connections import ArqRedis

from queueing import Signature
from queueing.errors import SigningError
from queueing.protocol.client_keys import ClientKey
from tests.support.farm.farm import digests
from tests.support.farm.forging import Forger, enqueue, outcome_of, payload
from tests.support.redis.planting import plant_list
from tests.support.rig.operator import edit, reload
from tests.support.rig.rig import MakeRig, client_block

HANG_S = 60.0
SPENT = "sigmill:{acme}:spent:*"
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


async def test_a_key_signs_for_the_clients_it_lists(make_rig: MakeRig) -> None:
    """Another client of the same tenant is told the rule, and nothing is signed for it."""
    other = ClientKey.generate()
    rig = make_rig(more={"acme": client_block("other", other)})
    edit(rig.tenant_file("acme"), 'clients = ["*"]', 'clients = ["build-1"]')
    rig.start_worker()
    redis = rig.connect()
    job = await enqueue(redis, "acme", payload(Forger(key=other).seal(client="other")))
    outcome = await outcome_of(redis, job)
    await redis.aclose()
    assert isinstance(outcome, SigningError)
    assert (outcome.reason, "rule `clients`" in outcome.message) == ("policy.denied", True)
    async with rig.client() as client:
        assert isinstance(await client.sign("release", os.urandom(32), timeout_s=60), Signature)


async def test_a_key_signs_in_its_windows(make_rig: MakeRig) -> None:
    """Outside them it is denied, with the window in the message; inside it signs."""
    rig = make_rig()
    today = DAYS[datetime.now(UTC).weekday()]
    far = DAYS[(DAYS.index(today) + 3) % 7]
    edit(rig.tenant_file("acme"), 'clients = ["*"]', f'clients = ["*"]\nwindows = [{{ days = ["{far}"] }}]')
    rig.start_worker()
    async with rig.client() as client:
        with pytest.raises(SigningError) as caught:
            await client.sign("release", os.urandom(32), timeout_s=60)
        assert (caught.value.reason, far in caught.value.message) == ("policy.denied", True)
        near = f'days = ["{today}", "{DAYS[(DAYS.index(today) + 1) % 7]}"]'  # midnight may pass
        edit(rig.tenant_file("acme"), f'days = ["{far}"]', near)
        reload(rig.directory / "sigmill-1.toml")
        assert isinstance(await client.sign("release", os.urandom(32), timeout_s=60), Signature)


async def until_spent(redis: ArqRedis, digests: int) -> None:
    """The counters of acme's keys have come to this; what was refused is given back after its answer."""
    async with asyncio.timeout(HANG_S):
        while digests != sum([int(await redis.get(key) or 0) for key in await redis.keys(SPENT)]):  # noqa: ASYNC110 - no event
            await asyncio.sleep(0.02)


async def test_a_budget_holds_over_workers_and_counts_what_was_signed(make_rig: MakeRig) -> None:
    """Refused digests cost nothing; a digest over the budget has a time to retry; a counter of a foreign type
    restarts at 0.
    """
    rig = make_rig()
    edit(rig.tenant_file("acme"), 'clients = ["*"]', 'clients = ["*"]\nbudget = { digests = 200 }')
    rig.start_worker()
    rig.start_worker(2)
    redis = rig.connect()
    forger = Forger(key=rig.keys["acme"])
    stranger = Forger(key=ClientKey.generate())
    for _ in range(5):
        await outcome_of(
            redis, await enqueue(redis, "acme", payload(stranger.seal(digests=tuple(digests(40)))))
        )
    await until_spent(redis, 0)
    jobs = [
        await enqueue(redis, "acme", payload(forger.seal(digests=tuple(digests(20, salt=str(i))))))
        for i in range(15)
    ]
    outcomes = [await outcome_of(redis, job) for job in jobs]
    over = [o for o in outcomes if isinstance(o, SigningError)]
    signed = len(jobs) - len(over)
    assert signed <= 10
    assert {o.reason for o in over} == {"limit.budget"}
    assert all("rule `budget`" in o.message and 0 < (o.retry_after_s or 0) <= 86_400 for o in over)
    (counter,) = await redis.keys(SPENT)
    await until_spent(redis, 20 * signed)
    for i in range(
        signed, 10
    ):  # a job that a busy worker returned was reserved twice for a moment, and so refused
        job = await enqueue(redis, "acme", payload(forger.seal(digests=tuple(digests(20, salt=f"late{i}")))))
        assert not isinstance(await outcome_of(redis, job), SigningError)
    await until_spent(redis, 200)
    assert 86_400 < await redis.ttl(counter) <= 2 * 86_400
    await plant_list(redis, counter.decode())
    job = await enqueue(redis, "acme", payload(forger.seal()))
    assert not isinstance(await outcome_of(redis, job), SigningError)
    await redis.aclose()
