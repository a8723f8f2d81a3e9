"""``sigmill stop``: what an operator takes away stops on every host, and stays away."""

from __future__ import annotations

import asyncio
import os
import re
from pathlib import Path

import msgspec
import pytest

from bench.hsm.simhsm import read_log
from queueing.coordination import stop_order_feed
from queueing.errors import SigningError
from queueing.protocol import keyspace
from queueing.protocol.algorithms import KeyKind
from queueing.protocol.client_keys import ClientKey
from tests.support.farm.farm import digests
from tests.support.redis.planting import plant_list
from tests.support.rig.operator import edit, operator_block, order_by, reload, sigmill
from tests.support.rig.rig import MakeRig, Rig
from tests.support.rig.shared_rig import behind_simhsm
from tests.support.waiting import until, until_async

HANG_S = 60.0

SLOW_US = 20_000


@pytest.fixture
def ada() -> ClientKey:
    return ClientKey.generate()


def stop(rig: Rig, key: ClientKey, *words: str, code: int = 0) -> dict[str, object]:
    """``sigmill stop`` by the operator ada; what it printed."""
    file = rig.directory / "ada.key"
    if not file.exists():
        key.write(file)
    done = sigmill(
        "stop", "--config", str(rig.directory / "sigmill-1.toml"), "--operator", "ada", "--operator-key", str(file),
        "--reason", "a test", "--tenant", "acme", *words, "--json",
    )  # fmt: skip
    assert done.returncode == code, done.stdout + done.stderr
    line: dict[str, object] = msgspec.json.decode(done.stdout)
    return line


async def reason(rig: Rig, tenant: str = "acme") -> str | None:
    """The code with which a digest of the tenant ends; None where it is signed."""
    async with rig.client(tenant) as client:
        try:
            await client.sign("release", os.urandom(32), algorithm="ECDSA_SHA_256", timeout_s=60)
        except SigningError as error:
            return error.reason
    return None


@pytest.mark.parametrize(
    "words, code",
    [
        ((), "policy.denied"),
        (("--key", "release"), "key.disabled"),
        (("--key", "release/1"), "key.disabled"),
        (("--client", "build-1"), "client.revoked"),
    ],
    ids=["tenant", "key", "version", "client"],
)
async def test_an_order_stops_what_it_names_until_the_tenants_file_lifts_it(
    make_rig: MakeRig, ada: ClientKey, words: tuple[str, ...], code: str
) -> None:
    """The other tenant signs; a restart with an empty Redis keeps the order; a replayed lifted order does
    nothing.
    """
    rig = make_rig(service=operator_block("ada", ada), tenants={"acme": KeyKind.P256, "globex": KeyKind.P256})
    worker = rig.start_worker()
    assert await reason(rig) is None
    line = stop(rig, ada, *words)
    order = str(line["order"])
    assert len(msgspec.convert(line["adopted_by"], list[str])) == line["workers"] == 1
    assert await reason(rig) == code
    assert await reason(rig, "globex") is None
    redis = rig.connect()
    signed = (await stop_order_feed.poll(redis, ())).new[bytes.fromhex(order)]
    assert await redis.ttl(keyspace.ORDERS) == -1
    worker.child.stop(20)
    await redis.delete(keyspace.ORDERS)
    rig.start_worker()
    assert await reason(rig) == code
    async with asyncio.timeout(HANG_S):  # it is put up again
        while bytes.fromhex(order) not in (await stop_order_feed.poll(redis, ())).new:  # noqa: ASYNC110 - no event
            await asyncio.sleep(0.05)
    edit(rig.tenant_file("acme"), 'tenant = "acme"', f'tenant = "acme"\nlifted_orders = ["{order}"]')
    reload(rig.directory / "sigmill-1.toml")
    assert await reason(rig) is None
    await stop_order_feed.publish(redis, {os.urandom(16): signed, bytes.fromhex(order): signed})
    await asyncio.sleep(1.0)  # meanwhile it is not obeyed
    assert await reason(rig) is None
    await redis.aclose()


async def test_jobs_in_the_queue_and_in_the_lane_stop_when_the_order_is_acknowledged(
    make_rig: MakeRig, ada: ClientKey, tmp_path: Path
) -> None:
    """After both workers acknowledged the order the HSM's log stays the same, and the rest ends
    `key.disabled`.
    """
    rig = make_rig(service=operator_block("ada", ada), wrap=behind_simhsm(tmp_path / "rig", sign_us=SLOW_US))
    workers = [rig.start_worker(number) for number in (1, 2)]
    log = rig.directory / "acme.simhsm.log"
    async with rig.client() as client:
        await client.sign("release", os.urandom(32), timeout_s=60)
        jobs = [await client.submit("release", digests(100, salt=str(i))) for i in range(20)]
        await until_async(lambda: len(read_log(log)) > 1, "the HSM signs them")
        redis = rig.connect()
        order, signed = order_by(ada, scope="key", name="release")
        await stop_order_feed.publish(redis, {order.order_id: signed})
        async with asyncio.timeout(HANG_S):
            while len(await stop_order_feed.acknowledged_by(redis, order.hex_id)) < 2:  # noqa: ASYNC110 - no event
                await asyncio.sleep(0.02)
        await until_async(
            lambda: all(each.metric("sigmill_sessions_busy", token="acme") == 0 for each in workers),
            "the HSM has ended what it had",
        )
        count = len(read_log(log))
        assert 0 < count < 1500
        outcomes = [o for job in jobs for o in await client.wait(job, timeout_s=60)]
        assert len(read_log(log)) == count
        assert {o.reason for o in outcomes if isinstance(o, SigningError)} == {"key.disabled"}
        await redis.aclose()


async def test_orders_that_no_operator_signed_are_counted_and_ignored(
    make_rig: MakeRig, ada: ClientKey
) -> None:
    """Other keys, unlisted operators, other clusters, other kinds of signatures, rubbish, wrong types."""
    rig = make_rig(service=operator_block("ada", ada))
    worker = rig.start_worker()
    mallory = ClientKey.generate()
    _, good = order_by(ada)
    forged = {
        "signature": [order_by(mallory)[1], order_by(rig.keys["acme"])[1], _flip(good)],
        "operator": [order_by(mallory, operator="mallory")[1]],
        "audience": [order_by(ada, audience="another")[1]],
        "malformed": [b"", b"\xc1", good + b"\x00", good[:-1], order_by(ada, name="release")[1], b"x" * 5000],
    }
    redis = rig.connect()
    for each in [raw for group in forged.values() for raw in group]:
        await stop_order_feed.publish(redis, {os.urandom(16): each})
    wanted = {why: float(len(group)) for why, group in forged.items()}
    await until_async(
        lambda: (
            {why: worker.metric("sigmill_stop_orders_refused_total", reason=why) for why in wanted} == wanted
        ),
        "each is counted once",
    )
    assert await reason(rig) is None
    assert worker.metric("sigmill_stop_orders") == 0
    await plant_list(redis, keyspace.ORDERS)
    stop(rig, ada)
    assert await reason(rig) == "policy.denied"
    await redis.aclose()


async def test_an_order_is_found_among_rubbish_by_a_worker_that_starts_later(
    make_rig: MakeRig, ada: ClientKey
) -> None:
    """It heard no bell, and Redis has 2,000 damaged orders beside it, which are logged in one line."""
    rig = make_rig(service=operator_block("ada", ada))
    redis = rig.connect()
    order, signed = order_by(ada, scope="key", name="release")
    rubbish = {os.urandom(16): b"\xc1" + os.urandom(8) for _ in range(2000)}
    await stop_order_feed.publish(redis, {**rubbish, order.order_id: signed})
    await redis.aclose()
    worker = rig.start_worker()
    until(lambda: worker.metric("sigmill_stop_orders") == 1, "it is found")
    assert await reason(rig) == "key.disabled"
    assert worker.events("order.refused") == 1


def _flip(signed: bytes) -> bytes:
    return signed[:-1] + bytes([signed[-1] ^ 1])


async def test_an_operator_who_leaves_gives_no_rights_back(make_rig: MakeRig, ada: ClientKey) -> None:
    """The order stays in force when its operator is not listed any more; the command refuses the operator's
    next one.
    """
    rig = make_rig(service=operator_block("ada", ada))
    worker = rig.start_worker()
    stop(rig, ada, "--key", "release")
    config = rig.directory / "sigmill-1.toml"
    config.write_text(config.read_text().replace(operator_block("ada", ada), ""))
    reload(config)
    assert await reason(rig) == "key.disabled"
    worker.child.stop(20)
    rig.service = ""
    worker = rig.start_worker()
    assert await reason(rig) == "key.disabled"
    done = sigmill(
        "stop", "--config", str(config), "--operator", "ada", "--operator-key", str(rig.directory / "ada.key"),
        "--reason", "again", "--tenant", "acme",
    )  # fmt: skip
    assert (done.returncode, "operators.ada" in done.stderr) == (2, True)


async def test_a_stop_of_a_name_that_does_not_exist_sends_nothing(make_rig: MakeRig, ada: ClientKey) -> None:
    """A mistyped name is exit code 2 before anything is in Redis; --unchecked sends it."""
    rig = make_rig(service=operator_block("ada", ada))
    rig.start_worker()
    assert "Did you mean `release`?" in str(stop(rig, ada, "--key", "relase", code=2))
    redis = rig.connect()
    try:
        assert not await redis.exists(keyspace.ORDERS)
        stop(rig, ada, "--key", "relase", "--unchecked")
        assert await redis.exists(keyspace.ORDERS)
    finally:
        await redis.aclose()


def test_an_operator_key_is_made_for_the_file(make_rig: MakeRig, tmp_path: Path) -> None:
    """Mode 0600, never overwritten; the printed block is what sigmill.toml takes."""
    file = tmp_path / "ada.key"
    done = sigmill("operators", "create", "ada", "--out", str(file))
    assert done.returncode == 0, done.stderr
    assert re.match(r"\[operators\.ada\]\npublic_key = \"[A-Za-z0-9+/=]+\"\n", done.stdout)
    assert file.stat().st_mode & 0o777 == 0o600
    assert sigmill("operators", "create", "ada", "--out", str(file)).returncode == 2
    rig = make_rig(service=done.stdout)
    assert rig.load().service.operators["ada"].spki == ClientKey.from_file(file).public_spki


async def test_orders_in_force_are_shown(make_rig: MakeRig, ada: ClientKey) -> None:
    """`tenants show` and `tenants list` have the order, which the client's digest obeys."""
    rig = make_rig(service=operator_block("ada", ada))
    rig.start_worker()
    order = str(stop(rig, ada, "--client", "build-1")["order"])
    until(lambda: any((rig.state_dir() / "orders").glob("*.order")), "it is kept")
    done = sigmill("tenants", "show", "acme", "--config", str(rig.directory / "sigmill-1.toml"))
    assert f"stop {order}: client build-1, by ada, in force: a test" in done.stdout
    listed = sigmill("tenants", "list", "--config", str(rig.directory / "sigmill-1.toml"), "--json")
    assert msgspec.json.decode(listed.stdout)["stops"][0]["order"] == order
    async with rig.client() as client:
        with pytest.raises(SigningError):
            await client.sign("release", os.urandom(32), timeout_s=60)
