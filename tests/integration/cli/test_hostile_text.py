"""Values in Redis that would steer a terminal: every command that shows them prints escapes."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from typing import TYPE_CHECKING

import msgspec
import pytest

from queueing.broker.dead_letters import DeadLetter
from queueing.protocol import keyspace
from queueing.protocol.jobs import ArqResult, ResultHints, WireError, encode_result
from tests.support.fakes.worker_reports import worker_info
from tests.support.farm.forging import Forger, payload
from tests.support.sigmill_cli import environment

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from tests.support.rig.rig import MakeRig, Rig

HOSTILE = "\x1b]0;title\x07\x1b[2J\x9b31m"
NAMED = r"{acme}\x1b]0;title\x07\x1b[2J\xc2\x9b31m"
"""Id of the dead letter, as `sigmill deadletter list` prints it and the other commands take it."""

JOB = "{acme}" + "0" * 32


async def plant(redis: Redis, rig: Rig) -> None:
    """A dead letter, a worker's report and a result, all with escape sequences in every text."""
    letter = DeadLetter(
        reason="job.poisoned",
        message=HOSTILE,
        at_ms=1,
        worker=HOSTILE,
        attempts=1,
        crashes=0,
        lane_ends=(HOSTILE,),
        key=HOSTILE,
        client=HOSTILE,
        algorithm=HOSTILE,
        payload=payload(Forger(key=rig.keys["acme"]).seal()),
    )
    report = worker_info("x", host=HOSTILE, version=HOSTILE, circuits_open=(HOSTILE,))
    result = ArqResult(
        k=ResultHints(), et=1, s=False, r=WireError("policy.denied", HOSTILE), st=1, ft=1, q="q", id="x"
    )
    seconds, _ = await redis.time()
    encode = msgspec.msgpack.encode
    async with redis.pipeline() as pipe:
        pipe.hset(keyspace.dead_letters("acme"), mapping={"{acme}" + HOSTILE: encode(letter)})
        pipe.zadd(keyspace.WORKERS_SEEN, {"x": seconds * 1000})
        pipe.hset(keyspace.WORKERS_FACTS, mapping={"x": encode(report)})
        pipe.set(keyspace.result(JOB), encode_result(result), px=600_000)
        await pipe.execute()


def shown(words: tuple[str, ...]) -> str:
    """Everything that a command prints on a terminal."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "workers.cli", *words], stdout=theirs, stderr=theirs, env=environment()
    ):
        os.close(theirs)
        raw = b""
        while True:
            try:
                part = os.read(ours, 4096)
            except OSError:  # EIO: the other end is closed
                break
            if not part:
                break
            raw += part
    os.close(ours)
    return raw.decode()


COMMANDS = {
    "deadletter list": ("service",),
    "deadletter show": ("service", NAMED),
    "workers list": ("service",),
    "status": ("service",),
    "status of a job": ("service", JOB),
    "status for a client": ("client", JOB),
    "wait": ("client", JOB),
    "cancel": ("client", "{acme}" + HOSTILE),
}


@pytest.fixture
async def rig(make_rig: MakeRig) -> Rig:
    made = make_rig()
    redis = made.connect()
    await plant(redis, made)
    await redis.aclose()
    return made


async def test_no_command_passes_control_characters_to_a_terminal(rig: Rig) -> None:
    """Job ids, dead letters, reports of workers and error messages are shown with escapes."""
    files = {"service": rig.config(), "client": rig.directory / "clients" / "acme" / "client.toml"}
    raw = {}
    for title, (kind, *arguments) in COMMANDS.items():
        name = title.removesuffix(" of a job").removesuffix(" for a client")
        text = shown((*name.split(), "--config", str(files[kind]), *arguments))
        assert "Traceback" not in text, title
        assert "title" in text, f"{title} shows none of it"
        assert "error: " not in text, title
        assert NAMED in text or not title.startswith("deadletter"), title
        raw[title] = {char for char in text if not char.isprintable()} - {"\r", "\n"}
    assert not any(raw.values()), raw
