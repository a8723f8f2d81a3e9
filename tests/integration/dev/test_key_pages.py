"""``docs/keys.md`` from its first line to its last: a day in the life of a key, with an authority of openssl's."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from queueing.protocol.algorithms import KeyKind
from queueing.protocol.client_keys import ClientKey
from tests.support.hsm.tokens import TokenShelf, new_token
from tests.support.openssl import Authority
from tests.support.pages import ROOT, command_lines
from tests.support.redis.process import RedisProcess
from tests.support.rig.operator import operator_block
from tests.support.rig.rig import Rig
from workers.config.loading import load_configuration

pytestmark = pytest.mark.timeout(300)  # some twenty commands beside a worker

PAGE = ROOT / "docs" / "keys.md"
COMMAND_TIMEOUT_S = 60.0


@dataclass(slots=True, kw_only=True)
class KeyRoom:
    """A running service with the tokens of the page, and a shell of its operator."""

    rig: Rig
    folder: Path
    authority: Authority

    def run(self, line: str) -> subprocess.CompletedProcess[str]:
        """Run one line of the page; a request that it leaves is answered by the authority."""
        done = subprocess.run(
            ["bash", "-euc", line],
            cwd=self.folder,
            env={
                **os.environ,
                "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
                "SIGMILL_CONFIG": str(self.rig.directory / "sigmill-1.toml"),
            },
            capture_output=True,
            text=True,
            check=False,
            timeout=COMMAND_TIMEOUT_S,
        )
        for request in self.folder.glob("*.csr"):
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
        folder = rig.directory
        operator.write(folder / "ada.key")
        rig.start_worker()
        yield KeyRoom(rig=rig, folder=folder, authority=Authority(tmp_path / "ca"))


async def test_every_line_of_the_page_does_what_it_says(key_room: KeyRoom) -> None:
    """In the page's order; at its end the keys are in the states that it tells, and the newest versions sign."""
    failed = {}
    for line in command_lines(PAGE):
        done = key_room.run(line)
        if done.returncode != 0:
            failed[line] = f"{done.returncode}: {done.stdout[-500:]} {done.stderr[-500:]}"
    assert not failed, "\n".join(f"{line}\n    {why}" for line, why in failed.items())

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
        for key in ("driver", "installer"):
            signature = await client.sign(key, os.urandom(32), timeout_s=60)
            while signature.key_version != 2:
                signature = await client.sign(key, os.urandom(32), timeout_s=60)
