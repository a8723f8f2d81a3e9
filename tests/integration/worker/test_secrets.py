"""Secrets of a running stack are searched for in what other users can read, and are not found."""

from __future__ import annotations

import base64
import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from queueing.errors import SigningError
from tests.support.farm.farm import digests
from tests.support.farm.forging import Forger, enqueue, outcome_of, payload
from tests.support.rig.processes import GONE, descendants
from tests.support.rig.shared_rig import SharedRig
from tests.support.waiting import PATIENCE_S


@pytest.fixture
def secrets(shared_rig: SharedRig) -> dict[str, bytes]:
    """Each PIN, the client's private key as text and as bytes, and the password of Redis."""
    rig = shared_rig.rig
    pem = (rig.directory / "clients" / "acme" / "client.key").read_text()
    body = "".join(line for line in pem.splitlines() if "-----" not in line)
    found = {f"PIN of {name}": token.pin.encode() for name, token in rig.tokens.items()}
    found["client key, base64"] = body[-40:].encode()
    found["client key, raw"] = base64.b64decode(body)[-32:]
    found["client key, hex"] = base64.b64decode(body)[-32:].hex().encode()
    assert rig.redis.password is not None
    found["Redis password"] = rig.redis.password.encode()
    return found


async def redis_contents(shared_rig: SharedRig) -> bytes:
    """Every key and value, by type."""
    redis = shared_rig.rig.connect()
    everything = {
        b"string": ("GET",),
        b"hash": ("HGETALL",),
        b"zset": ("ZRANGE", "0", "-1"),
        b"list": ("LRANGE", "0", "-1"),
        b"stream": ("XRANGE", "-", "+"),
        b"set": ("SMEMBERS",),
    }
    parts: list[bytes] = []
    async for key in redis.scan_iter(count=1000):
        kind = await redis.type(key)
        if kind != b"none":
            command, *rest = everything[kind]
            value = await redis.execute_command(command, key, *rest)  # type: ignore[no-untyped-call]
            parts += [key, value if isinstance(value, bytes) else repr(value).encode()]
    await redis.aclose()
    return b"\n".join(parts)


def processes(shared_rig: SharedRig) -> Iterator[tuple[str, bytes]]:
    """Command line and environment of the worker, its lanes, and Redis; only root may see a lane's environment."""
    lanes = {pid for pids in shared_rig.worker.lanes().values() for pid in pids}
    pids = [shared_rig.worker.pid, *descendants(shared_rig.worker.pid), shared_rig.rig.redis.pid]
    assert len(pids) >= 4
    for pid in pids:
        with contextlib.suppress(*GONE):  # a lane that an earlier test left idle may end
            yield f"cmdline of {pid}", Path(f"/proc/{pid}/cmdline").read_bytes()
            if pid not in lanes or os.getuid() == 0:
                yield f"environ of {pid}", Path(f"/proc/{pid}/environ").read_bytes()


def contents(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Content of each file below the folder of a running worker, which replaces some of them meanwhile."""
    for parent, _, names in os.walk(folder):
        for file in (Path(parent) / name for name in names):
            if file.is_file():
                with contextlib.suppress(FileNotFoundError):
                    yield str(file), file.read_bytes()


async def test_no_secret_is_where_others_could_look(shared_rig: SharedRig, secrets: dict[str, bytes]) -> None:
    """Logs, metrics page, Redis, write-ahead log, argv and environment of every process, the client's output."""
    rig = shared_rig.rig
    async with rig.client("acme") as client:
        _ = [o async for o in client.sign_many("release", digests(300), timeout_s=60)]
    redis = rig.connect()
    for bad in (b"", b"\x80nonsense", Forger(key=rig.keys["globex"]).seal()):
        job = await enqueue(redis, "acme", payload(bad))
        assert isinstance(await outcome_of(redis, job), SigningError)
    await redis.aclose()
    command = [sys.executable, "-I", "-m", "workers.cli", "sign", "--key", "release"]
    command += ["--config", str(rig.directory / "clients" / "acme" / "client.toml")]
    cli = subprocess.Popen(
        [*command, "--digest", f"SHA256:{os.urandom(32).hex()}"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    seen = dict(processes(shared_rig))
    seen["argv of sigmill sign"] = Path(f"/proc/{cli.pid}/cmdline").read_bytes()
    out, errors = cli.communicate(timeout=PATIENCE_S)
    assert cli.returncode == 0, errors
    seen |= {"output of sigmill sign": out + errors}
    seen |= {
        "metrics": shared_rig.worker.get("/metrics")[1].encode(),
        "Redis": await redis_contents(shared_rig),
    }
    seen |= {str(file): file.read_bytes() for file in rig.directory.glob("*.log")}
    seen |= dict(contents(rig.state_dir()))
    assert any(name.endswith(".wal") for name in seen)
    for place, content in seen.items():
        for name, secret in secrets.items():
            assert secret not in content, f"{name} in {place}"


async def test_a_lane_that_signs_leaves_no_core_file(shared_rig: SharedRig) -> None:
    """Soft and hard limit of core files are 0, so a crash in the module writes no PIN to the disk."""
    async with shared_rig.rig.client("acme") as client:
        await client.sign("release", os.urandom(32), timeout_s=60)
    pid, *_ = shared_rig.worker.lanes()["acme"]
    limits = Path(f"/proc/{pid}/limits").read_text()
    (core,) = [line.split() for line in limits.splitlines() if line.startswith("Max core file size")]
    assert core[4:6] == ["0", "0"]
