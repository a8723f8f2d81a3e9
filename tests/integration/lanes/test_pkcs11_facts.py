"""The five facts about PKCS#11 on which lanes are built, held by real lanes."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from pathlib import Path

import pytest

from bench.hsm.simhsm import read_log, write_rules
from queueing import Signature
from queueing.protocol.algorithms import KeyKind
from tests.support.farm.farm import digests
from tests.support.farm.forging import Forger
from tests.support.rig.lane_handle import LaneHandle, spec_for
from tests.support.rig.processes import command_of
from tests.support.rig.rig import MakeRig
from tests.support.rig.shared_rig import SharedRig, behind_simhsm
from tests.support.waiting import until_async
from workers.dev.signature_checks import sha256_check
from workers.lanes.protocol import EnvelopeSlice


@pytest.mark.parametrize("sign_s", [2.0, pytest.param(10.0, marks=pytest.mark.slow)])
async def test_two_session_threads_sign_side_by_side(make_rig: MakeRig, sign_s: float) -> None:
    """Both sessions sign without a crash, and each 64th signature verifies."""
    rig = make_rig(redis=False)
    rig.wrap = behind_simhsm(rig.directory)
    forger = Forger(key=rig.keys["acme"])
    check = sha256_check(rig.tokens["acme"].keys["acme.release.v1"].spki)
    signed = 0
    async with LaneHandle(spec_for(rig, "acme", sessions=2)) as lane:
        assert (lane.ready.sessions, lane.ready.wanted) == (2, 2)
        end = time.monotonic() + sign_s
        while time.monotonic() < end or signed < 1000:
            given = tuple(os.urandom(32) for _ in range(256))
            (outcome,) = (await lane.sign([EnvelopeSlice(forger.seal(digests=given), 0, 256)])).items
            assert outcome.error is None
            for signature, digest in zip(outcome.signatures[::64], given[::64], strict=True):
                assert signature is not None
                check(signature, digest)
            signed += len([s for s in outcome.signatures if s])
    records = read_log(rig.directory / "acme.simhsm.log")
    assert len(records) == signed
    sessions = [record.session for record in records]
    assert len(set(sessions)) == 2
    assert min(sessions.count(session) for session in set(sessions)) > signed // 10


async def test_no_signature_is_another_tenants_after_lanes_were_killed(make_rig: MakeRig) -> None:
    """Lanes of two tenants die again and again under load: every signature is of its tenant's own key."""
    rig = make_rig(tenants={"acme": KeyKind.P256, "globex": KeyKind.P256}, worker={"poison_attempts": 50})
    worker = rig.start_worker()
    stop = asyncio.Event()

    async def sign_until_stopped(tenant: str) -> int:
        spki = rig.tokens[tenant].keys[f"{tenant}.release.v1"].spki
        check, count = sha256_check(spki), 0
        async with rig.client(tenant) as client:
            while not stop.is_set():
                given = digests(256, salt=f"{tenant}{count}")
                outcomes = [o async for o in client.sign_many("release", given, timeout_s=40)]
                for outcome, digest in zip(outcomes, given, strict=True):
                    assert isinstance(outcome, Signature), outcome
                    check(outcome.signature, digest)
                count += len(outcomes)
        return count

    def signed(tenant: str) -> float:
        return worker.metric("sigmill_signatures_total", tenant=tenant)

    def logged_in(tenant: str) -> bool:
        return 0 < len(worker.lanes().get(tenant, [])) <= worker.metric("sigmill_lanes", token=tenant)

    async def kill_lanes() -> None:
        for tenant in ("acme", "globex") * 3:
            before = signed(tenant)
            await until_async(lambda t=tenant, b=before: signed(t) > b, f"{tenant} is under way")  # type: ignore[misc]
            # What is counted may be the work of lanes that were killed before; and SoftHSM rewrites token.object at a login, so that
            # a lane that is killed then leaves no token.
            await until_async(lambda t=tenant: logged_in(t), f"{tenant} has lanes, and all are logged in")  # type: ignore[misc]
            for pid in worker.lanes()[tenant]:
                os.kill(pid, signal.SIGKILL)
        stop.set()

    acme, globex, _ = await asyncio.gather(
        sign_until_stopped("acme"), sign_until_stopped("globex"), kill_lanes()
    )
    assert min(acme, globex) >= 256
    await until_async(
        lambda: worker.metric("sigmill_lane_restarts_total", reason="signal_9") >= 6,
        "each lane's end is counted",
    )


async def test_oversized_raw_input_cannot_reach_the_module(make_rig: MakeRig) -> None:
    """Raw RSA input of a wrong length would end the process: each is refused by its length, and the lane
    signs afterwards.
    """
    rig = make_rig(redis=False, tenants={"raw": KeyKind.RSA_3072})
    rig.wrap = behind_simhsm(rig.directory)
    forger = Forger(key=rig.keys["raw"], tenant="raw")
    algorithms = [
        f"RSASSA_{scheme}_SHA_{bits}" for scheme in ("PKCS1_V1_5", "PSS") for bits in (256, 384, 512)
    ]
    rig.tenant_file("raw").write_text(
        rig.tenant_file("raw")
        .read_text()
        .replace('["RSASSA_PKCS1_V1_5_SHA_256"]', "[" + ", ".join(f'"{a}"' for a in algorithms) + "]")
    )
    wrong = tuple(bytes(n) for n in range(129) if n not in {32, 48, 64})
    async with LaneHandle(spec_for(rig, "raw", sessions=1)) as lane:
        items = [EnvelopeSlice(forger.seal(algorithm=a, digests=wrong), 0, len(wrong)) for a in algorithms]
        for outcome in (await lane.sign(items)).items:
            assert outcome.error is None
            assert {note.code for note in outcome.errors.values()} == {"digest.length"}
            assert len(outcome.errors) == len(wrong)
        assert not read_log(rig.directory / "raw.simhsm.log")
        good = EnvelopeSlice(forger.seal(algorithm=algorithms[0]), 0, 1)
        assert (await lane.sign([good])).items[0].signatures[0]


async def test_replacing_one_session_leaves_the_others_logged_in(make_rig: MakeRig) -> None:
    """A device error on one session of three: it is replaced, the same process signs everything."""
    rig = make_rig(redis=False)
    rig.wrap = behind_simhsm(rig.directory)
    forger = Forger(key=rig.keys["acme"])
    async with LaneHandle(spec_for(rig, "acme", sessions=3)) as lane:
        before = (await lane.sign([EnvelopeSlice(forger.seal(digests=tuple(digests(300))), 0, 300)])).items[0]
        assert all(before.signatures)
        write_rules(rig.directory / "acme.faults", ["C_Sign rv=0x30 nth=30 once"])
        await asyncio.sleep(0.05)
        after = (await lane.sign([EnvelopeSlice(forger.seal(digests=tuple(digests(600))), 0, 600)])).items[0]
        assert all(after.signatures), after.errors
    records = read_log(rig.directory / "acme.simhsm.log")
    (failed,) = [i for i, record in enumerate(records) if record.rv]
    assert {record.pid for record in records} == {lane.ready.pid}
    later = {record.session for record in records[failed + 1 :]}
    earlier = {record.session for record in records[:failed]}
    assert records[failed].session not in later
    assert len(later & earlier) == 2


async def test_lanes_are_execed_and_the_worker_never_loads_a_module(shared_rig: SharedRig) -> None:
    """The worker's memory maps no PKCS#11 module; each lane is a program of its own, started by it."""
    async with shared_rig.rig.client("acme") as client:
        await client.sign("release", os.urandom(32), timeout_s=60)
    maps = Path(f"/proc/{shared_rig.worker.pid}/maps").read_text()
    assert "softhsm" not in maps
    assert "simhsm" not in maps
    assert "_pkcs11" not in maps
    lanes = shared_rig.worker.lanes()
    assert {"service", "acme"} <= lanes.keys()
    for pid in (pid for pids in lanes.values() for pid in pids):
        words = command_of(pid)
        assert words[1:4] == ["-I", "-m", "workers.lanes"]
        assert words[words.index("--parent") + 1] == str(shared_rig.worker.pid)
        parent = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1]
        assert parent == str(shared_rig.worker.pid)


async def test_a_stale_handles_signature_does_not_leave_the_lane(make_rig: MakeRig) -> None:
    """A signature that does not verify with the pinned key ends the lane and is not sent."""
    rig = make_rig(worker={"lease_s": 3.0})
    rig.wrap = behind_simhsm(rig.directory)
    (rig.directory / "acme.faults").write_text("C_Sign corrupt nth=20 once\n")
    worker = rig.start_worker()
    check = sha256_check(rig.tokens["acme"].keys["acme.release.v1"].spki)
    given = digests(200)
    async with rig.client() as client:
        outcomes = [o async for o in client.sign_many("release", given, timeout_s=60)]
    for outcome, digest in zip(outcomes, given, strict=True):
        assert isinstance(outcome, Signature), outcome
        check(outcome.signature, digest)
    await until_async(
        lambda: worker.metric("sigmill_lane_restarts_total", reason="SIGNATURE_DISTRUSTED") == 1,
        "the lane was replaced",
    )
