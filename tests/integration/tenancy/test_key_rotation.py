"""Keys are rotated under load, and ended on every host, without a failed job or a signature by another
version.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import os
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from bench.hsm.simhsm import read_log
from queueing import Signature, SigningClient
from queueing.client.signatures import Outcome
from queueing.coordination import stop_order_feed
from queueing.errors import SigningError
from queueing.protocol.algorithms import KeyKind
from queueing.protocol.client_keys import ClientKey
from queueing.protocol.stop_orders import read_order
from tests.support.hsm.tokens import new_token
from tests.support.rig.operator import operator_block, reload, sigmill
from tests.support.rig.rig import MakeRig, Rig
from tests.support.rig.shared_rig import CANARY_TAILS, behind_simhsm
from tests.support.waiting import until_async

DIGESTS_OF_A_JOB = 16
WORKERS = 2
CHANGES = 2
LOADS = 4
PLANNED_S = 3.0
"""Until a planned activation, beside the time that its command takes."""

CLOSE = timedelta(seconds=2)
"""Time before the change from which on signatures are made without a pause."""

pytestmark = pytest.mark.timeout(240)  # commands beside two workers and a load


def rig_of_two_workers(make_rig: MakeRig, folder: Path) -> Rig:
    """A cluster with two workers, an operator, and a token of its own: the shelf's tokens get no further keys."""
    token = new_token(folder, "acme", {"acme.release.v1": KeyKind.P256})
    ada = ClientKey.generate()
    ada.write(folder / "ada.key")
    rig = make_rig(
        tokens={"acme": token}, wrap=behind_simhsm(folder / "rig"), service=operator_block("ada", ada)
    )
    rig.start_worker(1)
    rig.start_worker(2)
    return rig


def config(rig: Rig, number: int) -> str:
    return str(rig.directory / f"sigmill-{number}.toml")


async def keys(rig: Rig, *words: str) -> None:
    """A command of an operator on the first host; then the second host gets the file, too."""
    done = await asyncio.to_thread(
        sigmill, "keys", words[0], "--config", config(rig, 1), "--tenant", "acme", "--key", *words[1:]
    )
    assert done.returncode == 0, done.stdout + done.stderr
    await asyncio.to_thread(reload, rig.directory / "sigmill-2.toml")


async def issued_at_ms(rig: Rig, order_id: str) -> int:
    """Time of the operator's order, which was signed right before it was sent."""
    redis = rig.connect()
    try:
        signed = (await stop_order_feed.poll(redis, ())).new[bytes.fromhex(order_id)]
    finally:
        await redis.aclose()
    return read_order(signed, rig.load().service.audience).issued_at_ms


async def sign_without_pause(
    client: SigningClient,
    key: str,
    outcomes: list[Outcome],
    over: asyncio.Event,
    asked: list[bytes] | None = None,
) -> None:
    """Sign new digests until it is over; those that were ``asked`` for are added."""
    while not over.is_set():
        digests = [os.urandom(32) for _ in range(DIGESTS_OF_A_JOB)]
        if asked is not None:
            asked += digests
        batch = client.sign_many(key, digests, timeout_s=60)
        async with contextlib.aclosing(batch):
            outcomes += [outcome async for outcome in batch]


async def test_a_rotation_under_load_fails_no_job_and_signs_with_no_other_version(
    make_rig: MakeRig, tmp_path: Path
) -> None:
    """Jobs without a version get the old one, then the new one; jobs that name the old one get it during the
    overlap.

    By the module's own history: each digest was signed once, and its signature was returned, and verified by the client with
    the version's public key. Only a job that a change of a worker met before its outcome may be signed again,
    whole: a lane begins no work that was authorised before the change, also for jobs that name a version.
    """
    rig = rig_of_two_workers(make_rig, tmp_path)
    free: list[Outcome] = []
    named: list[Outcome] = []
    asked_free: list[bytes] = []
    asked_named: list[bytes] = []
    over = asyncio.Event()
    async with rig.client() as client, asyncio.TaskGroup() as tasks:
        tasks.create_task(sign_without_pause(client, "release", free, over, asked_free))
        tasks.create_task(sign_without_pause(client, "release/1", named, over, asked_named))
        await until_async(lambda: len(named) > 64 and len(free) > 64, "the load has begun")
        await keys(rig, "rotate", "release", "--no-request")
        await keys(rig, "activate", "release", "--overlap", "1h")
        await until_async(
            lambda: any(isinstance(o, Signature) and o.key_version == 2 for o in free),
            "the new version signs",
        )
        after = len(free)
        await until_async(lambda: len(free) > after + 64 and len(named) > 128, "the load continues")
        over.set()
    assert [type(outcome) for outcome in free + named] == [Signature] * len(free + named)
    assert {o.key_version for o in free if isinstance(o, Signature)} == {1, 2}
    assert {o.key_version for o in free[after + 32 :] if isinstance(o, Signature)} == {2}
    assert {o.key_version for o in named if isinstance(o, Signature)} == {1}
    returned = [o for o in free + named if isinstance(o, Signature)]
    made = [r for r in read_log(rig.directory / "acme.simhsm.log") if r.input_tail not in CANARY_TAILS]
    assert all(signature.verified for signature in returned)
    made_of = Counter(record.input_tail for record in made)
    assert made_of.keys() == {digest[-8:] for digest in asked_free + asked_named}
    again = {tail for tail, count in made_of.items() if count > 1}
    for asked in (asked_free, asked_named):
        jobs_again = {place // DIGESTS_OF_A_JOB for place, digest in enumerate(asked) if digest[-8:] in again}
        assert len(jobs_again) <= CHANGES * WORKERS, "no more than the job that a change of each worker met"
    heads = {each.raw()[:8] for each in returned}
    assert {record.signature_head for record in made if record.input_tail not in again} <= heads
    assert heads <= {record.signature_head for record in made}


async def test_a_planned_activation_changes_over_at_its_time(make_rig: MakeRig, tmp_path: Path) -> None:
    """On a real lane, by the host's clock: nothing of the new version before, nothing of the old one for jobs after."""
    rig = rig_of_two_workers(make_rig, tmp_path)
    async with rig.client() as client:
        began = time.monotonic()
        await keys(rig, "rotate", "release", "--no-request")
        command_s = time.monotonic() - began  # on a busy machine the next one takes as long
        at = datetime.now(UTC).replace(microsecond=0) + timedelta(
            seconds=math.ceil(PLANNED_S + 3 * command_s)
        )
        await keys(rig, "activate", "release", "--at", at.isoformat())
        changed = max(at, datetime.now(UTC))  # the workers have the file when the command ends
        versions: list[tuple[datetime, int, datetime]] = []
        while not versions or versions[-1][0] <= changed:
            submitted = datetime.now(UTC)
            signature = await client.sign("release", os.urandom(32), timeout_s=60)
            versions.append((submitted, signature.key_version, datetime.now(UTC)))
            if submitted < at - CLOSE:
                await asyncio.sleep(
                    0.1
                )  # without a pause these seconds would cost two processors and show no more
    assert {version for _, version, done in versions if done < at} == {1}
    assert {version for submitted, version, _ in versions if submitted > changed} == {2}


@pytest.mark.parametrize("command", ["retire", "revoke"])
async def test_an_ended_version_signs_on_no_host_though_one_host_alone_has_the_file(
    make_rig: MakeRig, tmp_path: Path, command: str
) -> None:
    """The HSM's log has no signature of it after the command, while both workers get jobs; the other version
    signs.

    The worker with the older file returns what it refuses, some seconds each time: other loads do not wait for such a job.
    """
    rig = rig_of_two_workers(make_rig, tmp_path)
    loads: list[list[Outcome]] = [[] for _ in range(LOADS)]
    over = asyncio.Event()
    async with rig.client() as client, asyncio.TaskGroup() as tasks:
        await keys(rig, "rotate", "release", "--no-request")
        await keys(rig, "activate", "release", "--overlap", "1h")
        for outcomes in loads:
            tasks.create_task(sign_without_pause(client, "release/1", outcomes, over))
        await until_async(lambda: all(len(outcomes) > 64 for outcomes in loads), "the loads have begun")
        while (await client.sign("release", os.urandom(32), timeout_s=60)).key_version == 1:
            continue

        ended = await asyncio.to_thread(
            sigmill, "keys", command, "--config", config(rig, 1), "--tenant", "acme", "--key", "release/1",
            "--operator", "ada", "--operator-key", str(tmp_path / "ada.key"), "--json",
        )  # fmt: skip

        told_us = time.time_ns() // 1000
        assert ended.returncode == 0, ended.stdout + ended.stderr
        line = json.loads(ended.stdout)
        assert len(line["stop"]["adopted_by"]) == line["stop"]["workers"] == 2
        await until_async(
            lambda: all(isinstance(outcomes[-1], SigningError) for outcomes in loads), "its jobs are refused"
        )
        counts = [len(outcomes) for outcomes in loads]
        await until_async(lambda: sum(map(len, loads)) > sum(counts) + 64, "the loads continue")
        over.set()
        signed = read_log(rig.directory / "acme.simhsm.log")
        last_us = max(record.at_us for record in signed if record.input_tail not in CANARY_TAILS)
        assert last_us < told_us, "both workers had confirmed the order when the command ended"
        within_us = 1_000_000 * line["stop"]["within_s"]
        issued_us = 1000 * await issued_at_ms(rig, line["stop"]["order"])
        assert last_us < issued_us + within_us + 1000, "no signature begins later than the command says"
        later = [o for outcomes, count in zip(loads, counts, strict=True) for o in outcomes[count:]]
        assert {o.reason if isinstance(o, SigningError) else "" for o in later} == {"key.disabled"}
        signature = await client.sign("release", os.urandom(32), timeout_s=60)
        assert signature.key_version == 2


async def test_without_an_operator_the_command_names_the_other_host(
    make_rig: MakeRig, tmp_path: Path
) -> None:
    """Exit code 75: the other worker may sign until it has the file, and the message has the order that stops it."""
    rig = rig_of_two_workers(make_rig, tmp_path)
    words = ["--config", config(rig, 1), "--tenant", "acme", "--key", "release/1"]

    ended = await asyncio.to_thread(sigmill, "keys", "retire", *words)

    assert ended.returncode == 75, ended.stderr
    assert f"({rig.workers[1].pid}): may sign with release/1" in ended.stderr
    assert "sigmill stop --tenant acme --key release/1" in ended.stderr
