"""Commands on a host whose resolver does not answer: they end at their deadline, with an error and no
traceback.
"""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from bench.native.build import SHARED_FLAGS, compile_sources
from tests.support.farm.farm import Farm
from tests.support.sigmill_cli import run_sigmill
from workers.cli.clients.create import toml_text

SOURCE = Path(__file__).parents[2] / "native" / "silent_resolver.c"

QUEUES: dict[str, dict[str, object]] = {
    "redis": {"redis": {"host": "redis.silent", "port": 6379}},
    "relay": {"url": "https://relay.silent:8443"},
}


@pytest.fixture
def silent() -> dict[str, str]:
    """Environment of a process for which no look-up of a name in ``.silent`` ever ends."""
    return {"LD_PRELOAD": str(compile_sources("silent_resolver.so", [SOURCE], SHARED_FLAGS))}


def configured(farm: Farm, changes: dict[str, object]) -> str:
    path = farm.client_toml()
    table = tomllib.loads(path.read_text())
    del table["redis"]
    path.write_text(toml_text(table | changes))
    return str(path)


@pytest.mark.parametrize("queue", QUEUES)
async def test_a_command_ends_at_its_deadline_while_the_queue_is_looked_up(
    farm: Farm, silent: dict[str, str], queue: str
) -> None:
    """Exit code and sentence are those of any queue that is away."""
    config = configured(farm, QUEUES[queue])
    ran = await run_sigmill(
        *(
            "sign",
            "--config",
            config,
            "--key",
            "release",
            "--deadline",
            "1s",
            "--digest",
            f"sha256:{'00' * 32}",
        ),
        environ=silent,
    )
    assert ran.code == 75, ran.err
    assert "the deadline passed before the key directory came [queue.unavailable]" in ran.err
    assert "Traceback" not in ran.err
    assert "never retrieved" not in ran.err


async def test_a_login_ends_at_its_time_while_the_issuer_is_looked_up(
    farm: Farm, silent: dict[str, str], tmp_path: Path
) -> None:
    """Although the look-up runs in a thread that cannot be ended."""
    (tmp_path / "token").write_text("head.claims.signature\n")
    config = configured(
        farm,
        {
            "redis": {"unix_socket": "/nowhere/redis.sock"},
            "identity": {"from": "file", "file": str(tmp_path / "token")},
            "issuer": {"url": "https://issuer.silent", "timeout_s": 1.0},
        },
    )
    text = Path(config).read_text()
    Path(config).write_text(
        "".join(
            line for line in text.splitlines(True) if not line.startswith(("client =", "private_key_file"))
        )
    )
    ran = await run_sigmill("login", "--check", "--config", config, environ=silent)
    assert ran.code == 75, ran.err
    assert "no answer within" in ran.err
