"""``docs/record-for-tenants.md`` and ``docs/record-for-auditors.md``, in this order, from the first line to the last."""

from __future__ import annotations

import base64
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from queueing.protocol.algorithms import KeyKind
from tests.support.hsm.tokens import TokenShelf, new_token
from tests.support.openssl import Authority, openssl
from tests.support.page_shell import PageShell, failures, told
from tests.support.pages import ROOT, command_lines
from tests.support.redis.process import RedisProcess
from tests.support.rig.rig import Rig
from tests.support.waiting import until
from workers.dev.tenants import CLIENT, SERVICE_KEY_LABEL
from workers.record.exchange import read_status

pytestmark = pytest.mark.timeout(300)  # some fifteen commands beside a worker and its sealer

PAGES = [ROOT / "docs" / name for name in ("record-for-tenants.md", "record-for-auditors.md")]


@dataclass(slots=True, kw_only=True)
class RecordRoom:
    """A running service with a record, and a shell in a build's folder with the files of the pages."""

    rig: Rig
    shell: PageShell

    def run(self, line: str) -> subprocess.CompletedProcess[str]:
        """Run one line of a page; an export has all that was signed before it."""
        if "audit export" in line:
            by_now = time.monotonic_ns()
            until(lambda: self._is_sealed(by_now), "what was signed is sealed, and its key certified")
        return self.shell.run(line)

    def _is_sealed(self, by_now_ns: int) -> bool:
        status = read_status(self.rig.state_dir())
        return status is not None and (status.covered_ns or 0) >= by_now_ns and status.uncertified == 0


def certify(room: RecordRoom, authority: Authority) -> None:
    """Give the key a certificate, for a CMS signature; the request is an event of the key."""
    asked = room.run(
        "sigmill keys request --tenant acme --key release --subject 'CN=Example Ltd' --out release.csr"
    )
    assert asked.returncode == 0, asked.stderr
    chain = authority.chain(room.shell.folder / "release.csr")
    attached = room.run(f"sigmill keys attach-certificate --tenant acme --key release {chain}")
    assert attached.returncode == 0, attached.stderr


@pytest.fixture
def record_room(tmp_path: Path) -> Iterator[RecordRoom]:
    """A tenant whose release is an empty file, as its digest on the page says."""
    tokens = {"acme": new_token(tmp_path / "tokens", "acme", {"acme.release.v1": KeyKind.P256})}
    with (
        RedisProcess(tmp_path / "redis", password="record") as redis,
        Rig(
            directory=tmp_path / "rig",
            redis=redis,
            shelf=TokenShelf(tmp_path / "shelf"),
            tokens=tokens,
            service="\n[record]\nenabled = true\n",
        ) as rig,
    ):
        folder = rig.directory / "clients" / "acme"
        (folder / "release.bin").write_bytes(b"")
        spki = rig.tokens["service"].keys[SERVICE_KEY_LABEL].spki
        (folder / "service.keys").write_text(base64.b64encode(spki).decode() + "\n")
        (folder / "clients.keys").write_text(
            f"{CLIENT} {base64.b64encode(rig.keys['acme'].public_spki).decode()}\n"
        )
        room = RecordRoom(rig=rig, shell=PageShell(folder, rig.directory / "sigmill-1.toml"))
        rig.config()
        certify(room, Authority(tmp_path / "ca"))
        rig.start_worker()
        yield room


def test_every_line_of_the_pages_does_what_it_says(record_room: RecordRoom, tmp_path: Path) -> None:
    """Also a receipt inside of a CMS signature, which openssl verifies afterwards."""
    lines = (line for page in PAGES for line in command_lines(page))
    failed = failures(record_room, lines, silent=False)
    assert not failed, told(failed)
    words = (
        "-inform",
        "DER",
        "-in",
        record_room.shell.folder / "release.bin.p7s",
        "-binary",
        "-purpose",
        "any",
    )
    files = (
        "-content",
        record_room.shell.folder / "release.bin",
        "-CAfile",
        tmp_path / "ca" / "root.pem",
        "-out",
        tmp_path / "out",
    )
    checked = openssl("cms", "-verify", *words, *files)
    assert checked.code == 0, checked.text
