"""Check of a Redis from which its provider took commands away: those are named apart from rights."""

from __future__ import annotations

from pathlib import Path

import pytest

from queueing.config.redis import RedisConfig
from queueing.coordination.redis_check import inspect
from queueing.redis.connection import with_connection
from tests.support.redis.process import RedisProcess


@pytest.mark.parametrize("commands, absent", [(("CONFIG", "ACL"), ("CONFIG GET", "ACL WHOAMI")), ((), ())])
async def test_commands_that_the_server_does_not_have_are_absent(
    tmp_path: Path, commands: tuple[str, ...], absent: tuple[str, ...]
) -> None:
    """They are reported as absent, and neither as missing nor as excess rights."""
    settings = {f"rename-command {name}": "" for name in commands}
    with RedisProcess(tmp_path / "redis", settings=settings) as server:
        report = await with_connection(RedisConfig(unix_socket=str(server.socket_path)), inspect)
    assert report.absent == absent
    assert not set(absent) & {*report.excess, *report.missing}
    assert "EXISTS" in report.excess
