"""``sigmill support-bundle``: its parts, and the secrets that it must not have."""

from __future__ import annotations

import asyncio
import json
import stat
import tarfile
from pathlib import Path

from tests.integration.cli.conftest import CANARY_PIN, OperatorSite
from tests.support.farm.farm import digests
from tests.support.rig.rig import MakeRig
from tests.support.sigmill_cli import sigmill
from workers.config.service_file import load_service
from workers.support.bundle import write_bundle

VENDOR_CANARY = "vendor-canary-907251"


def members(file: Path) -> dict[str, str]:
    """The texts of the archive, without the folder that they are in."""
    with tarfile.open(file) as archive:
        found = {}
        for entry in archive.getmembers():
            assert (entry.isfile(), entry.mode) == (True, 0o600)
            stream = archive.extractfile(entry)
            assert stream is not None
            found[entry.name.partition("/")[2]] = stream.read().decode()
        return found


async def test_a_bundle_of_a_running_host_has_no_secret_in_it(make_rig: MakeRig, tmp_path: Path) -> None:
    """PINs, the Redis password and secrets in a module's environment are in no part of the bundle."""
    rig = make_rig()
    worker = rig.start_worker()
    async with rig.client() as client:
        await client.sign("release", digests(1)[0], timeout_s=60)
    config = rig.config(1, worker.port)
    canary = f'environment = {{ VENDOR_PIN = "{VENDOR_CANARY}", '
    config.write_text("# " + VENDOR_CANARY + "\n" + config.read_text().replace("environment = { ", canary))
    assert config.read_text().count(VENDOR_CANARY) > 1
    pins = {token.pin for token in rig.tokens.values()}
    password = rig.redis.password
    assert password
    log = tmp_path / "worker.log"
    chatter = f"vendor: C_Login({', '.join(pins)}) redis://:{password}@h\n"
    log.write_text(worker.log() + chatter)
    out = tmp_path / "bundle.tar.gz"
    ran = await asyncio.to_thread(
        sigmill, "support-bundle", "--config", config, "--out", out, "--log", log, "--json"
    )
    assert ran.code == 0, ran
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    parts = members(out)
    for name, text in parts.items():
        for secret in (*pins, password, VENDOR_CANARY):
            assert secret not in text, name
    assert "vendor: C_Login(***" in parts["logs/worker.log"]
    assert '"event": "service.started"' in parts["logs/worker.log"]
    assert "sigmill_signatures_total" in parts["metrics/worker.txt"]
    assert (
        json.loads(parts["config/sigmill.toml.json"])["tokens"]["acme"]["environment"]["VENDOR_PIN"] == "***"
    )
    assert json.loads(parts["config/tenants/acme.toml.json"])["tenant"] == "acme"
    assert json.loads(parts["host.json"])["packages"]["arq"]
    assert "acme" in parts["commands/tokens-list.txt"]
    assert str(worker.pid) in parts["commands/workers-list.txt"]
    assert "wal" in parts["state.txt"]
    (line,) = ran.json()
    assert line["parts"] == len(parts) - 1, "all but the manifest"
    assert set(line["problems"]) == {"metrics/exporter.txt"}, "no exporter runs"
    assert json.loads(parts["manifest.json"])["problems"] == line["problems"]
    again = await asyncio.to_thread(sigmill, "support-bundle", "--config", config, "--out", out)
    assert again.code == 2, "it overwrites nothing"


def test_a_host_on_which_nothing_works_still_has_a_bundle(
    operator_site: OperatorSite, tmp_path: Path
) -> None:
    """A file that is not TOML cannot be masked, so it is left out; the command works without Redis."""
    text = operator_site.config.read_text()
    operator_site.config.write_text(f'{text}\nbroken = "{CANARY_PIN}\n')
    out = tmp_path / "bundle.tar.gz"
    ran = sigmill("support-bundle", "--config", operator_site.config, "--out", out)
    assert ran.code == 0, ran
    assert ran.out == f"{out}\n"
    assert "parts that need the configuration are left out" in ran.err
    parts = members(out)
    assert "config/sigmill.toml.json" not in parts
    assert "was left out" in json.loads(parts["manifest.json"])["problems"]["config/sigmill.toml.json"]
    assert parts["host.json"]
    assert "exit code 2" in parts["commands/check-config.txt"]
    assert not [name for name, text in parts.items() if CANARY_PIN in text]


def test_a_secret_that_cannot_be_read_is_said_not_to_be_looked_for(
    operator_site: OperatorSite, tmp_path: Path
) -> None:
    """A secret file that cannot be read is reported."""
    operator_site.pin_file("globex").unlink()
    service = load_service(operator_site.config)
    manifest = write_bundle(tmp_path / "b.tar.gz", service.file, service, logs=[], commands=[])
    assert manifest.not_looked_for == (str(operator_site.pin_file("globex")),)
