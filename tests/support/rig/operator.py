"""An operator at work: edits of tenant files that raise the epoch, and commands beside a running worker."""

from __future__ import annotations

import base64
import os
import re
import stat
import subprocess
from pathlib import Path
from typing import Any

import msgspec
from redis.asyncio import Redis

from queueing.config.redis import RedisConfig
from queueing.protocol.client_keys import ClientKey
from queueing.protocol.stop_orders import StopOrder, sign_order
from queueing.redis.acl import password_sha256, set_user, worker_rules
from tests.support.rig.rig import Rig
from tests.support.sigmill_cli import warm_command
from workers.dev.private_files import write_private
from workers.dev.tenants import AUDIENCE

COMMAND_TIMEOUT_S = 60.0


def edit(file: Path, old: str, new: str, *, epoch: int = 1) -> None:
    """Replace ``old`` once, and raise the epoch by ``epoch``."""
    text = file.read_text()
    assert old in text, f"{file} does not say {old!r}"
    text = text.replace(old, new, 1)
    draft = file.with_suffix(".draft")
    draft.write_text(re.sub(r"(?m)^epoch = (\d+)$", lambda m: f"epoch = {int(m[1]) + epoch}", text))
    draft.replace(file)


def sigmill(*words: str) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    return subprocess.run(
        [*warm_command(), *words],
        capture_output=True,
        text=True,
        check=False,
        timeout=COMMAND_TIMEOUT_S,
    )


def reload(config: Path, *, code: int = 0) -> list[dict[str, Any]]:
    """``sigmill tenants reload``; the reports of the workers."""
    done = sigmill("tenants", "reload", "--config", str(config), "--json")
    assert done.returncode == code, done.stdout + done.stderr
    return [msgspec.json.decode(line)["report"] for line in done.stdout.splitlines()]


def operator_block(name: str, key: ClientKey) -> str:
    """An operator for sigmill.toml."""
    return f'\n[operators.{name}]\npublic_key = "{base64.b64encode(key.public_spki).decode()}"\n'


def order_by(key: ClientKey, **changes: Any) -> tuple[StopOrder, bytes]:
    """An order that stops acme, with these fields changed, signed by ``key``."""
    fields: dict[str, Any] = {
        "audience": AUDIENCE,
        "order_id": os.urandom(16),
        "issued_at_ms": 1,
        "operator": "ada",
        "scope": "tenant",
        "tenant": "acme",
        **changes,
    }
    order = StopOrder(**fields)
    return order, sign_order(order, key)


def make_user(rig: Rig, *who: str) -> RedisConfig:
    """Set the user by the command line; how to connect as it."""
    config, password = rig.directory / "sigmill-1.toml", rig.directory / f"{who[-1]}.password"
    done = sigmill(
        "tenants", "acl", "--config", str(config), *who, "--password-file", str(password), "--apply"
    )
    assert done.returncode == 0, done.stderr
    assert password.read_text().strip() not in done.stdout + done.stderr
    assert stat.S_IMODE(password.stat().st_mode) == 0o600
    user = done.stdout.split()[1]
    return RedisConfig(unix_socket=str(rig.redis.socket_path), username=user, password_file=str(password))


async def set_worker_user(rig: Rig, redis: Redis) -> None:
    """Set a user with a worker's rights; processes of the rig that start from now on connect as it."""
    await set_user(redis, "worker", worker_rules(password_sha256("pw")))
    password = rig.directory / "worker-password"
    write_private(password, "pw\n")
    rig.redis_user = RedisConfig(
        unix_socket=str(rig.redis.socket_path), username="worker", password_file=str(password)
    )
