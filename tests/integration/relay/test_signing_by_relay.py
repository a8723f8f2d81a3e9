"""A client with a URL and a CA file: the same calls, the same guarantees as with Redis."""

from __future__ import annotations

import asyncio
import contextlib
import json
from pathlib import Path

import pytest
from msgspec.structs import replace

from queueing import Signature, SigningClient
from queueing.broker import hindrances
from queueing.broker.hindrance_values import Hindrance
from queueing.broker.job_values import CancelStatus, JobState
from queueing.errors import ConfigError, JobCancelled, JobUnknown, WaitTimeout
from tests.support.farm.farm import Farm, digests
from tests.support.relay.relay_process import RelayProcess
from tests.support.rig.operator import sigmill
from tests.support.waiting import until_async
from workers.cli.signing.wait_reason import wait_reason


@pytest.fixture
def client(farm: Farm, relay: RelayProcess) -> SigningClient:
    return SigningClient(relay.client_config(farm.config), farm.key)


async def test_digests_are_signed_and_verified(client: SigningClient) -> None:
    """One alone, many at once, and a stream of them; each signature is checked against the directory that the relay passed on."""
    async with client:
        first = await client.sign("release", digests(1)[0])
        assert first.verified
        many = await asyncio.gather(*(client.sign("release", each) for each in digests(200)))
        assert all(each.verified for each in many)
        async with contextlib.aclosing(client.sign_many("release", digests(300, salt="s"))) as stream:
            outcomes = [outcome async for outcome in stream]
    assert [isinstance(outcome, Signature) and outcome.verified for outcome in outcomes] == [True] * 300


async def test_a_repeated_run_gets_the_same_signatures(farm: Farm, client: SigningClient) -> None:
    """Submit in one client, wait in another, which has a relay or not: the job is the same."""
    async with client:
        job = await client.submit("release", digests(130), request_id="build-1")
        first = await client.wait(job, timeout_s=30.0)
        again = await client.submit("release", digests(130), request_id="build-1")
        assert again.job_ids == job.job_ids
        assert await client.wait(again, timeout_s=30.0) == first
        bare = await client.wait(job.job_ids[0], timeout_s=30.0)
        assert [each.signature for each in bare if isinstance(each, Signature)] == [
            each.signature for each in first[:64] if isinstance(each, Signature)
        ]
    async with farm.client() as direct:
        assert await direct.wait(job, timeout_s=30.0) == first


async def test_a_job_that_is_not_there_is_told(client: SigningClient) -> None:
    """At once for an id alone; its state is `unknown`."""
    async with client:
        with pytest.raises(JobUnknown):
            await client.wait("{acme}" + "0" * 32, timeout_s=30.0)
        with pytest.raises(JobUnknown):
            await client.wait("{globex}" + "0" * 32, timeout_s=30.0)
        assert (await client.status("{acme}" + "0" * 32)).state is JobState.UNKNOWN


async def test_a_queued_job_is_cancelled(farm: Farm, client: SigningClient) -> None:
    """Its waiting caller learns so."""
    await farm.responder.pause()
    async with client:
        job = await client.submit("release", digests(1), request_id="never")
        assert (await client.status(job.job_ids[0])).state is JobState.QUEUED
        waiting = asyncio.create_task(
            client.wait(job.job_ids[0], timeout_s=30.0)
        )  # of the whole job, it would be sent again
        assert await client.cancel(job.job_ids) == [CancelStatus.CANCELLED]
        with pytest.raises(JobCancelled):
            await waiting


async def test_a_wait_ends_at_its_deadline_and_loses_nothing(farm: Farm, client: SigningClient) -> None:
    """The job stays queued, and its id finds it."""
    await farm.responder.pause()
    async with client:
        job = await client.submit("release", digests(1), request_id="late")
        with pytest.raises(WaitTimeout) as late:
            await client.wait(job, timeout_s=0.2)
        assert list(late.value.job_ids) == list(job.job_ids)
        assert (await client.status(job.job_ids[0])).state is JobState.QUEUED


async def test_a_client_that_waits_is_told_its_place_and_what_hinders(
    farm: Farm, client: SigningClient
) -> None:
    """As with Redis; hosts and tokens are not named to clients of a relay."""
    await farm.responder.pause()
    await hindrances.publish(farm.redis, {"acme": Hindrance(host="sign-3", drained=("acme-1",))})
    async with client:
        await client.submit("release", digests(1, salt="first"))
        job = await client.submit("release", digests(1))
        waiting = asyncio.create_task(client.wait(job, timeout_s=30.0))
        await until_async(lambda: client.waiting_jobs.queued == job.job_ids, "the call waits for its job")
        assert await wait_reason(client) == (
            "1 job is in the queue, 1 job ahead; a host signs nothing for this tenant: a token is drained"
            " (the operator has to act)"
        )
        waiting.cancel()
        await asyncio.wait([waiting])


async def test_another_certificate_is_refused_at_once(
    farm: Farm, relay: RelayProcess, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The client says which setting is wrong."""
    other = RelayProcess(folder=tmp_path_factory.mktemp("other"), audience="a", redis="")
    other.write()
    config = relay.client_config(farm.config)
    async with SigningClient(replace(config, ca_file=str(other.ca_file)), farm.key) as client:
        with pytest.raises(ConfigError, match="certificate of the relay is refused") as refused:
            await client.sign("release", digests(1)[0])
    assert "ca_file" in str(refused.value)


async def test_a_client_that_was_created_for_a_relay_signs(
    farm: Farm, relay: RelayProcess, tmp_path: Path
) -> None:
    """`sigmill clients create --url` writes the file, and each command that talks to the queue of a build host takes it."""
    out = tmp_path / "made"
    command = ["clients", "create", "ci", "--tenant", "acme", "--audience", farm.config.audience]
    command += ["--service-key", farm.config.service_public_keys[0], "--out", str(out)]
    command += ["--url", f"https://127.0.0.1:{relay.port}", "--ca-file", str(relay.ca_file)]
    made = await asyncio.to_thread(sigmill, *command)
    assert made.returncode == 0, made.stderr
    (out / "client.key").unlink()
    farm.key.write(out / "client.key")
    for name in ("a.bin", "b.bin"):
        (tmp_path / name).write_bytes(name.encode())
    files = str(tmp_path / "a.bin"), str(tmp_path / "b.bin")

    async def run(command: str, *words: str, code: int = 0) -> str:
        """Output of the command."""
        done = await asyncio.to_thread(sigmill, command, "--config", str(out / "client.toml"), *words)
        assert done.returncode == code, (command, done.stderr)
        return done.stdout

    await run("sign", "--key", "release", "--out-dir", str(tmp_path / "s"), *files)
    assert len(list((tmp_path / "s").rglob("*.sig"))) == 2
    lines = tmp_path / "lines.json"
    lines.write_text(await run("sign", "--json", "--key", "release", *files))
    await run("verify", str(lines))
    assert "release" in await run("directory")
    job = tmp_path / "job.json"
    job.write_text(await run("submit", "--json", "--key", "release", "--request-id", "later", *files))
    assert len((await run("wait", "--json", "--job", str(job))).splitlines()) == 2
    (job_id,) = json.loads(job.read_text())["job_ids"]
    assert json.loads(await run("status", "--json", job_id))["state"] == "done"
    assert "not-queued" in await run("cancel", job_id, code=1)
