"""A build's run on real parts: `sigmill sign` against a worker, lanes and an HSM that writes down what it was asked.

The client's own tests have a responder in place of the worker; here all parts are real.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from arq.connections import ArqRedis

from bench.hsm.simhsm import read_log
from queueing import Signature
from queueing.errors import DigestLength
from tests.support.farm.farm import digests
from tests.support.rig.rig import MakeRig, Rig
from tests.support.rig.shared_rig import SharedRig, behind_simhsm
from tests.support.sigmill_cli import run_sigmill, start_sigmill
from tests.support.waiting import PATIENCE_S
from workers.dev.signature_checks import sha256_check

SIGN_US = 1500


def as_acme(rig: Rig) -> tuple[str, str]:
    """The option that names the client.toml of acme's build host."""
    return "--config", str(rig.directory / "clients" / "acme" / "client.toml")


def manifest_of(given: Sequence[bytes], folder: Path) -> Path:
    file = folder / "digests.jsonl"
    file.write_text("".join(f'{{"digest": "sha256:{digest.hex()}"}}\n' for digest in given))
    return file


async def test_three_bad_digests_of_a_thousand_fail_alone(shared_rig: SharedRig) -> None:
    """997 signatures and 3 typed errors in the order of the input; the HSM was asked 997 times."""
    given = digests(1000, salt="997")
    bad = {0: b"", 500: bytes(31), 999: bytes(33)}
    for place, digest in bad.items():
        given[place] = digest
    before = len(shared_rig.signed("globex"))
    async with shared_rig.rig.client("globex") as client:
        outcomes = [outcome async for outcome in client.sign_many("release", given, timeout_s=60)]
    check = sha256_check(shared_rig.rig.tokens["globex"].keys["globex.release.v1"].spki)
    assert len(outcomes) == 1000
    for place, (digest, outcome) in enumerate(zip(given, outcomes, strict=True)):
        if place in bad:
            assert isinstance(outcome, DigestLength), place
        else:
            assert isinstance(outcome, Signature), place
            check(outcome.signature, digest)
    assert len(shared_rig.signed("globex")) == before + 997


async def test_a_run_that_was_killed_and_started_again_signs_nothing_twice(
    make_rig: MakeRig, tmp_path: Path
) -> None:
    """Killed at three quarters: the second run has all signatures, and the HSM was asked once for each digest."""
    rig = make_rig(wrap=behind_simhsm(tmp_path / "rig", sign_us=SIGN_US))
    rig.start_worker()
    given = digests(2000, salt="killed")
    words = ("sign", "--key", "release", "--request-id", "build-7", "--manifest")
    manifest = str(manifest_of(given, tmp_path))
    first = await start_sigmill(*words, manifest, *as_acme(rig))
    assert first.stdout is not None
    for _ in range(1500):
        assert await first.stdout.readline()
    first.kill()
    await first.communicate()
    again = await run_sigmill(*words, manifest, *as_acme(rig))
    assert (again.code, len(again.json())) == (0, 2000), again.err
    assert [line["digest"] for line in again.json()] == [f"sha256:{digest.hex()}" for digest in given]
    asked = Counter(record.input_tail for record in read_log(rig.directory / "acme.simhsm.log"))
    assert asked == Counter(digest[-8:] for digest in given)


async def scripts_run(redis: ArqRedis) -> int:
    """Number of scripts that this Redis has run."""
    return int((await redis.info("commandstats"))["cmdstat_evalsha"]["calls"])


async def test_a_bell_wakes_an_idle_worker_and_nothing_is_polled_for(make_rig: MakeRig) -> None:
    """With a slow poll of an hour each digest is signed; an idle worker comes to at most two scripts in two
    seconds.
    """
    rig = make_rig(worker={"slow_poll_s": 3600.0})
    rig.start_worker()
    redis = rig.connect()
    async with rig.client() as client:
        for digest in digests(3, salt="bell"):
            assert isinstance(await client.sign("release", digest, timeout_s=60), Signature)
            await asyncio.sleep(0.5)  # the worker is idle again
        async with asyncio.timeout(PATIENCE_S):
            before, after = 0, await scripts_run(redis)
            while after - before > 2:  # on a busy machine the last job is not over yet
                await asyncio.sleep(2.0)
                before, after = after, await scripts_run(redis)
    await redis.aclose()


async def test_a_late_result_is_fetched_by_its_job_id(make_rig: MakeRig) -> None:
    """With no worker there the command ends with 75 and names the job; later `wait` has the signature."""
    rig = make_rig()
    worker = rig.start_worker()
    (early, late) = (f"sha256:{digest.hex()}" for digest in digests(2, salt="late"))
    assert (await run_sigmill("sign", "--key", "release", "--digest", early, *as_acme(rig))).code == 0
    worker.child.stop(20)
    ran = await run_sigmill("sign", "--key", "release", "--deadline", "2s", "--digest", late, *as_acme(rig))
    (line,) = ran.json()
    assert (ran.code, line["error"]["code"], line["error"]["retryable"]) == (75, "wait.timeout", True)
    rig.start_worker()
    waited = await run_sigmill("wait", line["job_id"], *as_acme(rig))
    assert waited.code == 0, waited.err
    assert waited.json()[0]["signature"]
