"""``docs/keys.md`` from its first line to its last: a day in the life of a key, with an authority of openssl's."""

from __future__ import annotations

import base64
import json
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from queueing.protocol.algorithms import KeyKind
from queueing.protocol.client_keys import ClientKey
from queueing.unix_time import unix_ms
from tests.support.hsm.tokens import TokenShelf, new_token
from tests.support.openssl import Authority
from tests.support.page_shell import PageShell, failures, told
from tests.support.pages import ROOT, command_lines
from tests.support.redis.process import RedisProcess
from tests.support.rig.operator import operator_block
from tests.support.rig.rig import Rig
from workers.config.loading import load_configuration
from workers.config.tenants import DIRECTORY_LEAD_MS

pytestmark = pytest.mark.timeout(300)  # some twenty commands beside a worker

PAGE = ROOT / "docs" / "keys.md"


@dataclass(slots=True, kw_only=True)
class KeyRoom:
    """A running service with the tokens of the page, and a shell of its operator."""

    rig: Rig
    shell: PageShell
    authority: Authority

    def run(self, line: str) -> subprocess.CompletedProcess[str]:
        """Run one line of the page; a request that it leaves is answered by the authority."""
        done = self.shell.run(line)
        for request in self.shell.folder.glob("*.csr"):
            chain = request.with_suffix(".pem")
            if not chain.exists():
                chain.write_text(self.authority.chain(request).read_text())
        return done


@pytest.fixture
def key_room(tmp_path: Path) -> Iterator[KeyRoom]:
    """Tokens `acme` and `acme-2`, an operator, and a worker."""
    tokens = {
        "acme": new_token(tmp_path / "tokens", "acme", {"acme.release.v1": KeyKind.P256}),
        "acme-2": new_token(tmp_path / "tokens", "acme-2", {}),
    }
    operator = ClientKey.generate()
    with (
        RedisProcess(tmp_path / "redis", password="keys") as redis,
        Rig(
            directory=tmp_path / "rig",
            redis=redis,
            shelf=TokenShelf(tmp_path / "shelf"),
            tokens=tokens,
            service=operator_block("ada", operator),
        ) as rig,
    ):
        operator.write(rig.directory / "ada.key")
        rig.start_worker()
        shell = PageShell(rig.directory, rig.directory / "sigmill-1.toml")
        yield KeyRoom(rig=rig, shell=shell, authority=Authority(tmp_path / "ca"))


def directory_lines(room: KeyRoom) -> list[dict[str, Any]]:
    """``sigmill directory --json`` of the page's client; its table has a line for each of them."""
    command = "sigmill directory --config clients/acme/client.toml"
    done, table = room.run(f"{command} --json"), room.run(command)
    assert done.returncode == table.returncode == 0, done.stderr + table.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    shown = [tuple(line.split()[:2]) for line in table.stdout.splitlines()[1:]]
    assert shown == [(f"{line['key']}/{line['version']}", line["state"]) for line in lines]
    return lines


async def test_every_line_of_the_page_does_what_it_says(key_room: KeyRoom) -> None:
    """In the page's order; at its end the keys are in the states that it tells, and the newest versions sign."""
    failed = failures(key_room, command_lines(PAGE))
    assert not failed, told(failed)

    keys = load_configuration(key_room.rig.directory / "sigmill-1.toml").tenants["acme"].keys
    assert [(v.state, len(v.certificates)) for v in keys["firmware"].versions] == [
        ("retired", 2),
        ("revoked", 2),
    ]
    assert [v.tokens for v in keys["installer"].versions] == [("acme",), ("acme-2",)]
    async with key_room.rig.client() as client:
        entry = (await client.keys())["installer"]
        assert [version.certificates for version in entry.versions] == [
            version.certificates for version in keys["installer"].versions
        ]
        assert [version.created_at_ms for version in entry.versions] == [
            version.created_at_ms for version in keys["installer"].versions
        ]
        shown = directory_lines(key_room)
        states = {(line["key"], line["version"]): line["state"] for line in shown}
        versions = {
            (name, version.version): version for name, key in keys.items() for version in key.versions
        }
        assert states.keys() == versions.keys()
        for place, version in versions.items():  # the directory has a version before lanes sign with it
            soon = version.state_at(unix_ms() + DIRECTORY_LEAD_MS)
            assert states[place] in {version.state_now, soon}, place
        for each in shown:
            (version,) = (v for v in keys[each["key"]].versions if v.version == each["version"])
            assert base64.b64decode(each["public_key"]) == version.public_key.spki
            assert tuple(map(base64.b64decode, each["certificates"])) == version.certificates
        for key in ("driver", "installer"):
            signature = await client.sign(key, os.urandom(32), timeout_s=60)
            while signature.key_version != 2:
                signature = await client.sign(key, os.urandom(32), timeout_s=60)
