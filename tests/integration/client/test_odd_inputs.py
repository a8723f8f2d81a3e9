"""Odd inputs of builds: names, outputs that cannot be written, endless inputs, and Ctrl-C."""

from __future__ import annotations

import asyncio
import base64
import os
import pty
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from queueing.protocol import keyspace
from tests.support.farm.farm import Farm, digests
from tests.support.sigmill_cli import environment, run_sigmill, start_sigmill

if TYPE_CHECKING:
    from collections.abc import Sequence

ONE = f"sha256:{digests(1)[0].hex()}"
LEAVES_S = 30.0
"""Far more than the second that is promised: the machine may be busy."""


@pytest.fixture
def words(farm: Farm) -> tuple[str, ...]:
    return ("sign", "--config", str(farm.client_toml()), "--key", "release")


async def interrupted(process: asyncio.subprocess.Process, number: int = signal.SIGINT) -> tuple[int, str]:
    """Exit code and stderr of a command that gets this signal."""
    process.send_signal(number)
    async with asyncio.timeout(LEAVES_S):
        _, err = await process.communicate()
    assert process.returncode is not None
    return process.returncode, err.decode()


async def request_id_printed(process: asyncio.subprocess.Process) -> str:
    """The line that the command prints when it begins."""
    assert process.stderr is not None
    line = (await process.stderr.readline()).decode()
    assert line.startswith("request id: ")
    return line.split()[2]


async def test_names_that_are_not_utf_8_are_signed_and_verified(
    farm: Farm, words: Sequence[str], tmp_path: Path
) -> None:
    """Each file has its line and its signature file; the name's bytes survive, and verify finds the file by them."""
    names = [b"good-1", b"caf\xe9", b"new\nline", b"good-2"]
    for name in names:
        (tmp_path / os.fsdecode(name)).write_bytes(name)
    paths = [os.fsdecode(os.fsencode(tmp_path) + b"/" + name) for name in names]
    ran = await run_sigmill(*words, "--out-dir", tmp_path / "out", *paths)
    assert (ran.code, len(ran.json())) == (0, 4), ran.err
    odd = ran.json()[1]
    assert odd["name"].endswith("caf�")
    assert base64.b64decode(odd["name_bytes"]) == os.fsencode(paths[1])
    assert len(list((tmp_path / "out").rglob("*.sig"))) == 4
    config = words[2]
    assert (await run_sigmill("verify", "--config", config, "-", stdin=ran.out.encode())).code == 0
    Path(paths[1]).write_bytes(b"changed")
    changed = await run_sigmill("verify", "--config", config, "-", stdin=ran.out.encode())
    assert (changed.code, base64.b64decode(changed.json()[0]["name_bytes"])) == (1, os.fsencode(paths[1]))


async def test_equal_files_are_refused_before_anything_is_signed(
    farm: Farm, words: Sequence[str], tmp_path: Path
) -> None:
    """Two items for one file end with exit code 2, also from stdin."""
    lines = "".join(f'{{"name": "{name}", "digest": "{ONE}"}}\n' for name in ("a:b", "a-b"))
    ran = await run_sigmill(*words, "--out-dir", tmp_path, "--manifest", "-", stdin=lines.encode())
    assert ran.code == 2
    assert "a:b and a-b would both be written to" in ran.err
    assert not farm.responder.signed


async def test_a_signature_whose_file_fails_is_kept_in_its_line(words: Sequence[str], tmp_path: Path) -> None:
    """The line has the signature and the error, the exit code is 1, and stderr says why."""
    ran = await run_sigmill(
        *words,
        "--out-dir",
        tmp_path,
        "--manifest",
        "-",
        stdin=f'{{"name": "{"n" * 300}", "digest": "{ONE}"}}\n'.encode(),
    )
    (line,) = ran.json()
    assert (ran.code, line["error"]["code"]) == (1, "output.unwritable")
    assert line["signature"]
    assert "[output.unwritable]" in ran.err


@pytest.mark.parametrize("redirection", [">/dev/full", ">&-"])
async def test_an_output_that_cannot_be_written_says_the_way_back(
    words: Sequence[str], redirection: str
) -> None:
    """Exit code 1, and an error with the request id that returns the signatures."""
    command = ["sh", "-c", f'exec sigmill "$@" {redirection}', "sh", *words, "--digest", ONE]
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    ran = await asyncio.create_subprocess_exec(
        *command, env=environment({"PATH": path}), stderr=asyncio.subprocess.PIPE
    )
    async with asyncio.timeout(LEAVES_S):
        _, raw = await ran.communicate()
    err = raw.decode()
    assert ran.returncode == 1
    request_id = err.split()[2]
    assert f"--request-id {request_id}" in err
    assert "[output.unwritable]" in err
    assert "Traceback" not in err


@pytest.mark.parametrize("number, code", [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
async def test_an_interrupted_wait_names_the_request_id_and_the_command_that_cancels(
    farm: Farm, words: Sequence[str], number: int, code: int
) -> None:
    """SIGINT ends with 130 and SIGTERM with 143, without a traceback."""
    await farm.responder.pause()
    process = await start_sigmill(*words, "--digest", ONE)
    request_id = await request_id_printed(process)
    async with asyncio.timeout(LEAVES_S):
        await farm.queued()
    returned, err = await interrupted(process, number)
    assert returned == code
    assert "Traceback" not in err
    assert f"rerun with --request-id {request_id}" in err
    assert "sigmill cancel --config" in err
    farm.responder.resume()


@pytest.mark.parametrize("given", ["/dev/zero", "pipe"])
async def test_an_endless_file_can_be_stopped(words: Sequence[str], tmp_path: Path, given: str) -> None:
    """A device without an end and a pipe without a writer are read with --any-file only, and Ctrl-C ends it."""
    path = Path(given)
    if given == "pipe":
        path = tmp_path / given
        os.mkfifo(path)
    refused = await run_sigmill(*words, path)
    assert refused.json()[0]["error"]["code"] == "input.unreadable"
    process = await start_sigmill(*words, "--any-file", path)
    await request_id_printed(process)
    code, err = await interrupted(process)
    assert (code, "Traceback" in err) == (130, False), err


async def test_a_manifest_that_never_comes_can_be_stopped(words: Sequence[str]) -> None:
    """Ctrl-C ends a command that waits for its stdin."""
    process = await start_sigmill(*words, "--manifest", "-")
    await request_id_printed(process)
    assert process.stdin is not None
    code, err = await interrupted(process)
    assert (code, "Traceback" in err) == (130, False), err


async def test_a_queued_job_can_be_cancelled_by_its_client(farm: Farm, words: Sequence[str]) -> None:
    """It is removed, a wait for it says so, and the same request can be submitted again and is signed
    once.
    """
    await farm.responder.pause()
    submit = ("submit", *words[1:], "--request-id", "r", "--digest", ONE)
    (job_id,) = (await run_sigmill(*submit)).json()[0]["job_ids"]
    cancelled = await run_sigmill("cancel", "--config", words[2], "--json", job_id)
    assert (cancelled.code, cancelled.json()) == (0, [{"job_id": job_id, "outcome": "cancelled"}])
    backlog = await farm.redis.hmget(keyspace.backlog("acme"), ["digests", "bytes"])  # type: ignore[misc]
    assert [int(value) for value in backlog] == [0, 0]
    assert await farm.redis.zcard(keyspace.queue("acme")) == 0
    waited = await run_sigmill("wait", "--config", words[2], job_id)
    assert waited.json()[0]["error"]["code"] == "job.cancelled"
    again = await run_sigmill("cancel", "--config", words[2], job_id)
    assert (again.code, again.out.split()) == (1, [job_id, "not-queued"])
    farm.responder.resume()
    assert (await run_sigmill(*words, "--request-id", "r", "--digest", ONE)).code == 0
    assert set(farm.responder.signed.values()) == {1}


async def test_a_claimed_job_or_one_of_another_client_is_not_cancelled(
    farm: Farm, words: Sequence[str], tmp_path: Path
) -> None:
    """A job with a lease, one whose lease ran out, and one of another client stay as they are."""
    await farm.responder.pause()
    (job_id,) = (await run_sigmill("submit", *words[1:], "--digest", ONE)).json()[0]["job_ids"]
    other = tmp_path / "other.toml"
    own = Path(words[2]).read_text()
    other.write_text(own.replace(f'client = "{farm.config.client}"', 'client = "other"'))
    foreign = await run_sigmill("cancel", "--config", other, job_id)
    assert (foreign.code, foreign.out.split()) == (1, [job_id, "foreign"])
    await farm.redis.set(keyspace.IN_PROGRESS_PREFIX + job_id, "w:7")
    leased = await run_sigmill("cancel", "--config", words[2], job_id)
    await farm.redis.delete(keyspace.IN_PROGRESS_PREFIX + job_id)
    await farm.redis.hset(keyspace.claims("acme"), job_id, "1:7:1:100:0:0")  # type: ignore[misc]
    lapsed = await run_sigmill("cancel", "--config", words[2], job_id)
    assert [ran.out.split()[1] for ran in (leased, lapsed)] == ["claimed", "claimed"]
    assert await farm.redis.zcard(keyspace.queue("acme")) == 1
    farm.responder.resume()


async def until_shown(wanted: bytes, *words: str | Path) -> None:
    """Run a command with a terminal as its stderr until that shows this, then stop it."""
    ours, theirs = pty.openpty()
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "workers.cli",
        *words,
        env=environment({"COLUMNS": "200"}),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=theirs,
    )
    os.close(theirs)
    shown = b""
    async with asyncio.timeout(LEAVES_S):
        while wanted not in shown:
            shown += await asyncio.to_thread(os.read, ours, 4096)
    process.send_signal(signal.SIGINT)
    async with asyncio.timeout(LEAVES_S):
        await process.wait()
    os.close(ours)


async def test_a_wait_on_a_terminal_says_why(farm: Farm, words: Sequence[str]) -> None:
    """stderr shows the number of jobs, those ahead of them, and that no worker is running."""
    await farm.responder.pause()
    await run_sigmill("submit", *words[1:], "--digest", f"sha256:{digests(2)[1].hex()}")
    wanted = b"waiting: 1 job is in the queue, 1 job ahead; no worker is running"
    await until_shown(wanted, *words, "--digest", ONE)
    farm.responder.resume()


async def test_a_wait_for_submitted_jobs_says_why_too(
    farm: Farm, words: Sequence[str], tmp_path: Path
) -> None:
    """By the file of the submit, and by a job id."""
    await farm.responder.pause()
    submitted = await run_sigmill("submit", *words[1:], "--digest", ONE)
    job_file = tmp_path / "job.json"
    job_file.write_text(submitted.out)
    wanted = b"waiting: 1 job is in the queue, 0 jobs ahead; no worker is running"
    await until_shown(wanted, "wait", "--config", words[2], "--job", job_file)
    await until_shown(wanted, "wait", "--config", words[2], submitted.json()[0]["job_ids"][0])
    farm.responder.resume()
