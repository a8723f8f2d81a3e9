"""A changed configuration is adopted by the running worker and its lanes: at once, whole, and never an older one."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Sequence
from pathlib import Path

import pytest

from bench.hsm.simhsm import read_log
from queueing import Signature
from queueing.errors import SigningError
from queueing.protocol import keyspace
from queueing.protocol.algorithms import KeyKind
from queueing.protocol.client_keys import ClientKey
from tests.support.farm.farm import digests
from tests.support.farm.forging import Forger, enqueue, outcome_of, payload
from tests.support.rig.lane_handle import LaneHandle, spec_for
from tests.support.rig.operator import edit, reload, sigmill
from tests.support.rig.rig import MakeRig, client_block
from tests.support.rig.shared_rig import behind_simhsm
from tests.support.waiting import until, until_async
from workers.lanes.protocol import EnvelopeSlice

HANG_S = 60.0

TWO = {"acme": KeyKind.P256, "globex": KeyKind.P256}
SLOW_US = 20_000
JOBS = 600
"""Of eight digests: some 24 s of work, so that most of it waits, however long the command takes to start."""


def codes(outcomes: Sequence[object]) -> set[str]:
    return {o.reason for o in outcomes if isinstance(o, SigningError)}


def signed_of_mine(log: Path) -> int:
    """Signatures for the jobs of the client that is revoked."""
    mine = {digest[-8:] for i in range(JOBS) for digest in digests(8, salt=str(i))}
    return sum(record.input_tail in mine for record in read_log(log))


async def test_a_revoked_client_stops_with_its_jobs_in_the_queue(make_rig: MakeRig, tmp_path: Path) -> None:
    """Its jobs in the queue are refused; those of another client among them are all signed."""
    other = ClientKey.generate()
    rig = make_rig(
        wrap=behind_simhsm(tmp_path / "rig", sign_us=SLOW_US), more={"acme": client_block("other", other)}
    )
    worker = rig.start_worker()
    config = rig.directory / "sigmill-1.toml"
    redis = rig.connect()
    async with rig.client() as client:
        await client.sign("release", os.urandom(32), timeout_s=60)
        mine = [
            await enqueue(
                redis,
                "acme",
                payload(Forger(key=rig.keys["acme"]).seal(digests=tuple(digests(8, salt=str(i))))),
            )
            for i in range(JOBS)
        ]
        theirs = [
            await enqueue(redis, "acme", payload(Forger(key=other).seal(client="other"))) for _ in range(20)
        ]
        log = rig.directory / "acme.simhsm.log"
        await until_async(lambda: len(read_log(log)) > 1, "its jobs are being signed")
        edit(rig.tenant_file("acme"), "[clients.build-1]", '[clients.build-1]\nstate = "revoked"')
        (report,) = await asyncio.to_thread(reload, config)
        assert (report["outcome"], report["changed"]) == ("adopted", ["acme"])
        await until_async(
            lambda: worker.metric("sigmill_sessions_busy", token="acme") == 0, "the HSM has ended what it had"
        )
        signed = signed_of_mine(log)
        outcomes = [await outcome_of(redis, job) for job in mine]
        assert signed_of_mine(log) == signed, "it was signed for after the file was adopted"
        assert codes([await outcome_of(redis, job) for job in theirs]) == set()
    await redis.aclose()
    assert codes(outcomes) == {"client.revoked"}
    refused = sum(isinstance(o, SigningError) for o in outcomes)
    assert refused > 20, "the rest of the queue was refused"
    assert worker.alive
    assert worker.metric("sigmill_config_reloads_total", outcome="adopted") == 1


async def test_nothing_is_signed_for_a_suspended_tenant_once_its_file_is_adopted(
    make_rig: MakeRig, tmp_path: Path
) -> None:
    """The HSM's log stays the same, its lanes end, and it signs when it is active again."""
    rig = make_rig(wrap=behind_simhsm(tmp_path / "rig", sign_us=SLOW_US), tenants=TWO)
    worker = rig.start_worker()
    async with rig.client() as client, rig.client("globex") as neighbour:
        await client.sign("release", os.urandom(32), timeout_s=60)
        job = await client.submit("release", digests(2000))
        log = rig.directory / "acme.simhsm.log"
        await until_async(lambda: len(read_log(log)) > 1, "the HSM signs it")
        edit(rig.tenant_file("acme"), 'tenant = "acme"', 'tenant = "acme"\nstate = "suspended"')
        os.kill(worker.pid, signal.SIGHUP)
        await until_async(lambda: worker.events("config.adopted") == 1, "the file is adopted")
        await until_async(
            lambda: worker.metric("sigmill_sessions_busy", token="acme") == 0, "the HSM has ended what it had"
        )
        signed = len(read_log(log))
        assert signed < 1500
        outcomes = await client.wait(job, timeout_s=60)
        assert "policy.denied" in codes(outcomes)
        assert len(read_log(log)) == signed
        until(lambda: "acme" not in worker.lanes(), "its lanes have ended")
        assert isinstance(await neighbour.sign("release", os.urandom(32), timeout_s=60), Signature)
        edit(rig.tenant_file("acme"), 'state = "suspended"', 'state = "active"')
        reload(rig.directory / "sigmill-1.toml")
        assert isinstance(await client.sign("release", os.urandom(32), timeout_s=60), Signature)


async def test_a_broken_file_is_refused_whole_and_the_old_configuration_stays(make_rig: MakeRig) -> None:
    """The file and the mistake are named, a good change beside it is not adopted, and even a new lane starts."""
    rig = make_rig(tenants=TWO)
    worker = rig.start_worker()
    config = rig.directory / "sigmill-1.toml"
    edit(rig.tenant_file("globex"), 'tenant = "globex"', 'tenant = "globex"\nstate = "suspended"')
    good = rig.tenant_file("acme").read_text()
    rig.tenant_file("acme").write_text(good.replace("ECDSA_SHA_256", "ECDSA_SHA_1"))
    (report,) = reload(config, code=2)
    assert "acme.toml" in report["problem"]
    assert "ECDSA_SHA_1" in report["problem"]
    until(lambda: worker.events("config.refused") == 1, "it is logged")
    assert worker.metric("sigmill_config_reloads_total", outcome="refused") == 1
    async with rig.client() as client, rig.client("globex") as neighbour:
        for signer in (client, neighbour, client):
            assert isinstance(await signer.sign("release", os.urandom(32), timeout_s=60), Signature)
        for pid in worker.lanes()["acme"]:
            os.kill(pid, signal.SIGKILL)
        assert isinstance(await client.sign("release", os.urandom(32), timeout_s=60), Signature)
    rig.tenant_file("acme").write_text(good)
    (report,) = reload(config)
    assert report["changed"] == ["globex"]


def test_an_older_file_is_refused_also_by_a_restart(make_rig: MakeRig) -> None:
    """An epoch never falls; changed content needs a higher one; comments are free."""
    rig = make_rig()
    worker = rig.start_worker()
    config, file = rig.directory / "sigmill-1.toml", rig.tenant_file("acme")
    first = file.read_text()
    edit(file, "[clients.build-1]", '[clients.build-1]\nstate = "revoked"')
    reload(config)
    second = file.read_text()
    file.write_text(first)
    (report,) = reload(config, code=2)
    assert "was adopted before" in report["problem"]
    file.write_text(second.replace('state = "revoked"', 'state = "active"'))
    (report,) = reload(config, code=2)
    assert "is still 2" in report["problem"]
    assert "epoch = 3" in report["remedy"]
    file.write_text("# a comment\n" + second)
    assert reload(config)[0]["outcome"] == "unchanged"
    worker.child.stop(20)
    file.write_text(first)
    again = rig.start_worker(ready=False)
    until(lambda: not again.alive, "it refuses to start")
    assert "was adopted before" in again.log()


async def test_tenants_and_clients_are_added_and_removed_live(make_rig: MakeRig) -> None:
    """A new tenant's queue is served, its directory published; a removed one is signed for no more."""
    rig = make_rig(tenants=TWO)
    globex = rig.tenant_file("globex").read_text()
    rig.tenant_file("globex").unlink()
    worker = rig.start_worker()
    config = rig.directory / "sigmill-1.toml"
    rig.tenant_file("globex").write_text(globex)
    (report,) = reload(config)
    assert (report["changed"], report["tenants"]) == (["globex"], 2)
    late = ClientKey.generate()
    redis = rig.connect()
    async with rig.client("globex") as client:
        assert isinstance(await client.sign("release", os.urandom(32), timeout_s=60), Signature)
        rig.tenant_file("globex").write_text(
            globex.replace("epoch = 1", "epoch = 2") + client_block("late", late)
        )
        reload(config)
        job = await enqueue(redis, "globex", payload(Forger(key=late, tenant="globex").seal(client="late")))
        assert not isinstance(await outcome_of(redis, job), SigningError)
        rig.tenant_file("globex").unlink()
        (report,) = reload(config)
        assert report["gone"] == ["globex"]
        until(lambda: "globex" not in worker.lanes(), "its lanes have ended")
        job = await enqueue(redis, "globex", payload(Forger(key=late, tenant="globex").seal(client="late")))
        with pytest.raises(TimeoutError):
            await outcome_of(redis, job, within_s=1.0)
    await redis.aclose()


async def test_lanes_are_replaced_when_their_token_is_used_in_another_way(make_rig: MakeRig) -> None:
    """Under load: what they have is answered, the new ones take over, no job is lost or blamed."""
    rig = make_rig(token={"acme": "lanes = 1"})
    worker = rig.start_worker()
    config = rig.directory / "sigmill-1.toml"
    async with rig.client() as client:
        await client.sign("release", os.urandom(32), timeout_s=60)
        (before,) = worker.lanes()["acme"]
        await until_async(lambda: worker.metric("sigmill_signatures_total") == 1, "the first is counted")
        job = await client.submit("release", digests(4000))
        await until_async(lambda: worker.metric("sigmill_signatures_total") > 1, "it is under way")
        config.write_text(config.read_text().replace("lanes = 1", "lanes = 1\ncall_timeout_s = 11.0"))
        (report,) = await asyncio.to_thread(reload, config)
        assert report["outcome"] == "adopted"
        outcomes = await client.wait(job, timeout_s=40)
    assert all(isinstance(o, Signature) for o in outcomes)
    until(lambda: before not in worker.lanes().get("acme", []), "the lane was replaced")
    assert worker.metric("sigmill_lane_restarts_total") == 0


async def test_a_changed_tenants_directory_is_published_at_once(make_rig: MakeRig) -> None:
    """Clients learn of new keys, and of those that are gone, by the next look at the directory."""
    rig = make_rig()
    rig.start_worker()
    redis = rig.connect()
    before = await redis.get(keyspace.directory("acme"))
    edit(rig.tenant_file("acme"), 'state = "active"', 'state = "verify-only"')
    reload(rig.directory / "sigmill-1.toml")
    async with asyncio.timeout(HANG_S):
        while await redis.get(keyspace.directory("acme")) == before:  # noqa: ASYNC110 - no such event
            await asyncio.sleep(0.01)
    await redis.aclose()
    async with rig.client() as client:
        with pytest.raises(SigningError) as caught:
            await client.sign("release", os.urandom(32), timeout_s=60)
    assert caught.value.reason == "key.disabled"


def test_what_cannot_change_in_a_running_process_is_refused(make_rig: MakeRig) -> None:
    """Another audience is another cluster; [metrics] and the like wait for a restart, and it is said so."""
    rig = make_rig()
    worker = rig.start_worker()
    config = rig.directory / "sigmill-1.toml"
    text = config.read_text()
    config.write_text(text.replace('audience = "', 'audience = "other-'))
    (report,) = reload(config, code=2)
    assert "service.audience" in report["problem"]
    config.write_text(text.replace("slow_poll_s = 0.2", "slow_poll_s = 0.3"))
    (report,) = reload(config)
    assert (report["outcome"], report["waiting"]) == ("adopted", ["worker"])
    assert worker.alive


async def test_a_lane_reads_its_own_files_on_sighup(make_rig: MakeRig) -> None:
    """A lane applies a changed file without a message of its worker."""
    rig = make_rig()
    forger = Forger(key=rig.keys["acme"])
    async with LaneHandle(spec_for(rig, "acme", sessions=1)) as lane:
        (before,) = (await lane.sign([EnvelopeSlice(forger.seal(), 0, 1)])).items
        assert before.error is None
        edit(rig.tenant_file("acme"), "[clients.build-1]", '[clients.build-1]\nstate = "revoked"')
        os.kill(lane.ready.pid, signal.SIGHUP)
        async with asyncio.timeout(HANG_S):
            while (after := (await lane.sign([EnvelopeSlice(forger.seal(), 0, 1)])).items[0]).error is None:  # noqa: ASYNC110 - its own time
                await asyncio.sleep(0.01)
        assert after.error.code == "client.revoked"


def test_without_a_worker_there_is_nobody_to_tell(make_rig: MakeRig) -> None:
    """A number that a dead worker left behind is not signalled."""
    rig = make_rig()
    worker = rig.start_worker()
    worker.child.kill()
    config = rig.directory / "sigmill-1.toml"
    assert (rig.state_dir() / "workers" / str(worker.pid)).exists()
    done = sigmill("tenants", "reload", "--config", str(config))
    assert (done.returncode, "no worker runs" in done.stderr) == (75, True)
