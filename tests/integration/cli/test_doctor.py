"""``sigmill doctor`` on real parts: no failed check on a healthy host, and each fault by its check."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

from msgspec.structs import replace
from redis.asyncio import Redis

from queueing.protocol.algorithms import KeyKind
from queueing.protocol.client_keys import ClientKey
from tests.support.fakes.config_files import p256_key
from tests.support.ports import free_port
from tests.support.redis.process import RedisProcess
from tests.support.rig.operator import make_user
from tests.support.rig.rig import MakeRig, Rig, client_block, key_block
from tests.support.sigmill_cli import Ran, sigmill
from workers.config.settings import PinLogin, TokenSettings
from workers.doctor.server_package import package_of

TWO = {"acme": KeyKind.P256, "globex": KeyKind.P256}
WRONG_PIN = "481516234200"


def found(ran: Ran) -> dict[tuple[str, str], dict[str, Any]]:
    """The findings by check and subject."""
    return {(line["check"], line["subject"]): line for line in ran.json()}


def to_mend(ran: Ran) -> set[str]:
    return {line["check"] for line in ran.json() if line["state"] == "mend"}


def wrong_pin(rig: Rig, token: str) -> Path:
    """The token has a PIN file of its own, with a wrong PIN in it."""
    file = rig.directory / f"{token}-pin"
    file.write_text(f"{WRONG_PIN}\n")
    file.chmod(0o600)

    def wrap(settings: TokenSettings) -> TokenSettings:
        mine = settings.select.label == token
        return replace(settings, login=PinLogin(pin_file=str(file))) if mine else settings

    rig.wrap = wrap
    return file


async def set_policy(redis: Redis, policy: str) -> None:
    await redis.config_set("maxmemory-policy", policy)


async def test_no_check_fails_on_a_healthy_host(make_rig: MakeRig) -> None:
    """With a worker that runs, as Redis' user for workers; exit code 0, and every token and key was looked at.

    But for Redis' own package, where this host has one with known vulnerabilities.
    """
    rig = make_rig(tenants=TWO, appendonly=True)
    rig.config()
    rig.redis_user = make_user(rig, "--worker")
    worker = rig.start_worker()
    ran = sigmill("doctor", "--json", config=rig.directory / "sigmill-1.toml")
    stale = rig.redis.is_outdated
    assert ran.code == stale, ran.out + ran.err
    lines = found(ran)
    assert to_mend(ran) == ({"redis.version"} if stale else set())
    for subject in ("service: the service key", "acme: release/1", "globex: release/1"):
        assert lines["token.keys", subject]["state"] == "good"
    for name in ("service", *TWO):
        assert lines["token.module", name]["state"] == "good"
        assert lines["token.mechanisms", name]["state"] == "good"
        assert lines["token.sessions", name]["state"] == "good"
    assert lines["port", f"127.0.0.1:{worker.port}"]["says"] == "served by a worker"
    assert lines["limits.nofile", f"worker {worker.pid}"]["state"] == "good"
    checks = {check for check, _ in lines}
    assert {
        "redis.version",
        "redis.eviction",
        "redis.persistence",
        "redis.rights",
        "clock",
        "state",
    } <= checks
    assert worker.metric("sigmill_stop_orders_refused_total") == 0
    text = sigmill("doctor", config=rig.directory / "sigmill-1.toml")
    assert f" {stale:d} failed, 0 skipped" in text.err


async def test_each_problem_is_named_with_its_fix(make_rig: MakeRig) -> None:
    """Faults of Redis, a token, a key, a client and the port give exit code 1; a refused PIN is not tried again."""
    ends = time.strftime("%Y-%m-%dT00:00:00Z", time.gmtime(time.time() + 86400 * 3))
    more = key_block("lost", "acme", p256_key(5), ["ECDSA_SHA_256"])
    more += client_block("old", ClientKey.generate(), expires=ends)
    rig = make_rig(tenants=TWO, more={"acme": more})
    file = wrong_pin(rig, "globex")
    redis = rig.connect()
    await set_policy(redis, "allkeys-lru")
    await redis.aclose()
    port = free_port()
    with socket.create_server(("127.0.0.1", port)):
        config = rig.config(1, port)
        ran = sigmill("doctor", "--json", config=config)
    assert ran.code == 1
    lines = found(ran)
    assert to_mend(ran) >= {
        "redis.eviction",
        "redis.persistence",
        "redis.rights",
        "token.keys",
        "token.pin",
        "client.expiry",
        "port",
    }
    assert lines["token.keys", "acme: lost/1"]["state"] == "mend"
    assert lines["token.keys", "acme: release/1"]["state"] == "good"
    assert "CKR_PIN_INCORRECT" in lines["token.pin", "globex"]["says"]
    assert lines["token.pin", "globex"]["mend"].endswith("sigmill tokens resume globex")
    assert all(line["mend"] for line in lines.values() if line["state"] == "mend")
    assert WRONG_PIN not in ran.out + ran.err
    again = found(sigmill("doctor", "--json", config=config))
    assert "refused this PIN before" in again["token.pin", "globex"]["says"]
    file.write_text(f"{rig.tokens['globex'].pin}\n")
    repaired = found(sigmill("doctor", "--json", config=config))
    assert repaired["token.keys", "globex: release/1"]["state"] == "good"


async def test_a_part_that_does_not_answer_hides_no_other(make_rig: MakeRig) -> None:
    """Without Redis the exit code is 75 and tokens are still checked; a broken file is named and ends the run."""
    rig = make_rig(redis=False)
    config = rig.config(1, free_port())
    ran = sigmill("doctor", "--json", config=config)
    assert ran.code == 75, ran.out
    lines = found(ran)
    (redis,) = [line for (check, _), line in lines.items() if check == "redis"]
    assert redis["state"] == "unasked"
    assert lines["token.keys", "acme: release/1"]["state"] == "good"
    config.write_text(config.read_text().replace("[redis]", "[radis]"))
    broken = sigmill("doctor", "--json", config=config)
    assert (broken.code, {line["check"] for line in broken.json()}) == (1, {"config"})


async def test_one_token_by_two_ways_is_told(make_rig: MakeRig) -> None:
    """One token that two tenants select, by label and by serial number, is reported; check-config cannot see it."""
    rig = make_rig(tenants=TWO, appendonly=True)
    config = rig.config()
    listed = sigmill("tokens", "list", "--json", config=config).json()
    serial = next(line["serial"] for line in listed if line["token"] == "acme")
    tables = config.read_text().split("\n\n")
    (acme,) = (table for table in tables if table.startswith("[tokens.acme]"))
    by_serial = acme.replace("tokens.acme", "tokens.globex").replace('label = "acme"', f'serial = "{serial}"')
    kept = [table for table in tables if not table.startswith("[tokens.globex]")]
    config.write_text("\n\n".join([*kept, by_serial]))
    lines = found(sigmill("doctor", "--json", config=config))
    assert lines["token.shared", "acme"]["state"] == "mend"
    assert "globex" in lines["token.shared", "acme"]["says"]


def test_the_package_of_the_running_server_is_found(own_redis: RedisProcess) -> None:
    """The package of a local Redis is found by its process and dpkg; another process is not accepted."""
    info = own_redis.info("server")
    installed = subprocess.run(
        ["dpkg-query", "-W", "-f=${Version}", "redis-server"], capture_output=True, text=True, check=True
    )
    package = package_of(info)
    assert package is not None
    assert (package.name, package.version) == ("redis-server", installed.stdout)
    assert package.upstream == info["redis_version"]
    assert not package.began_before
    long_ago = package_of({**info, "uptime_in_seconds": "1000000000"})
    assert long_ago is not None
    assert long_ago.began_before
    assert package_of({**info, "process_id": os.getpid()}) is None
    assert package_of({**info, "executable": "/nowhere/redis-server"}) is None
    assert package_of({}) is None
