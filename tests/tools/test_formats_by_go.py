"""The record's formats, verified by Go's own packages for signed notes and transparency logs (golang.org/x/mod)."""

from __future__ import annotations

import base64
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from queueing.transparency.checkpoints import read_checkpoint
from queueing.transparency.notes import Ed25519NoteKey, read_note
from queueing.transparency.proofs import consistency_proof
from queueing.transparency.tiles import bundle_path
from tests.support.farm.certified_logs import certify
from tests.support.farm.logged_jobs import SECRET_DIGEST, append, job
from tests.support.farm.sealed_logs import EPOCH_KEY, run_to_end, sealer
from tests.tools.conftest import LACKING
from workers.journal.segment_writer import SegmentWriter
from workers.record.bundle.reader import origins_of
from workers.record.bundle.receipts import make_receipt
from workers.record.bundle.search import Query, search
from workers.record.bundle.writer import export
from workers.record.folder import log_folder
from workers.record.stored_hashes import StoredHashes

SOURCE = Path(__file__).with_name("go") / "verify_bundle.go"
PACKAGES = Path("/usr/share/gocode/src/golang.org/x/mod/sumdb")
FIRST_JOBS, JOBS = 100, 230
"""690 entries: two full bundles and a part, as are the tiles."""

Go = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The verifier, compiled offline from Debian's packages."""
    if shutil.which("go") is None or not PACKAGES.is_dir():
        assert (
            LACKING & {"golang-go", "golang-golang-x-mod-dev"}
            or "SIGMILL_TEST_TOOLS_LACKING" not in os.environ
        )
        pytest.skip(
            "Go or its package x/mod is not installed: make test-tools installs golang-go and golang-golang-x-mod-dev"
        )
    folder = tmp_path_factory.mktemp("go")
    environment = {
        **os.environ,
        "GO111MODULE": "off",
        "GOPATH": "/usr/share/gocode",
        "GOCACHE": str(folder / "cache"),
    }
    command = ["go", "build", "-o", str(folder / "verify"), str(SOURCE)]
    done = subprocess.run(command, env=environment, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder / "verify"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle, an older checkpoint with its consistency proof, and a receipt."""
    folder = tmp_path_factory.mktemp("bundle")
    state_dir = folder / "state"
    log = log_folder(state_dir, "acme")
    writer = SegmentWriter(state_dir / "wal")
    append(writer, *[record for number in range(FIRST_JOBS) for record in job("acme", number)])
    sealing = sealer(state_dir)
    run_to_end(sealing)
    shutil.copy(log / "checkpoint", folder / "first")
    append(writer, *[record for number in range(FIRST_JOBS, JOBS) for record in job("acme", number)])
    run_to_end(sealing)
    certify(log)
    export(log, folder / "bundle")
    (origin,) = origins_of(folder / "bundle")
    first, last = (
        read_checkpoint(read_note(data).text)
        for data in ((folder / "first").read_bytes(), origin.checkpoint())
    )
    assert (first.size, last.size) == (3 * FIRST_JOBS + 1, 3 * JOBS + 1)
    proof = consistency_proof(StoredHashes(log), first.size, last.size)
    (folder / "consistency").write_text("".join(base64.b64encode(each).decode() + "\n" for each in proof))
    *_, match = search(origin, Query(digest=SECRET_DIGEST))
    (folder / "receipt").write_bytes(make_receipt(origin, match, 0))
    return folder


@pytest.fixture
def verify(program: Path, made: Path, tmp_path: Path) -> Go:
    """Run the verifier on a copy in ``tmp_path``, which a test may damage."""
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)

    def run(*, key: str = "") -> subprocess.CompletedProcess[str]:
        origin = origin_of(tmp_path)
        name = read_checkpoint(read_note((origin / "checkpoint").read_bytes()).text).origin
        vkey = key or Ed25519NoteKey(name, EPOCH_KEY).verifier.text
        words = [vkey, origin, *(tmp_path / name for name in ("first", "consistency", "receipt"))]
        return subprocess.run([program, *map(str, words)], check=False, capture_output=True, text=True)

    return run


def origin_of(folder: Path) -> Path:
    (origin,) = [each for each in (folder / "bundle").iterdir() if each.is_dir()]
    return origin


def test_go_accepts_checkpoint_entries_consistency_and_receipt(verify: Go) -> None:
    """The note, the tree over all entries, the proof of an older checkpoint, and the inclusion proof of a receipt."""
    done = verify()
    assert (done.returncode, done.stdout) == (0, "ok\n"), done.stdout + done.stderr


def flip_entry(folder: Path) -> None:
    _flip(origin_of(folder) / bundle_path(1), 400)


def flip_note(folder: Path) -> None:
    _flip(origin_of(folder) / "checkpoint", -5)


def flip_first(folder: Path) -> None:
    note = (folder / "first").read_text()
    (folder / "first").write_text(note.replace("\n301\n", "\n300\n"))


def other_consistency(folder: Path) -> None:
    lines = (folder / "consistency").read_text().split()
    (folder / "consistency").write_text("\n".join(reversed(lines)))


def other_receipt(folder: Path) -> None:
    text = (folder / "receipt").read_text()
    index = next(line for line in text.split("\n") if line.startswith("index "))
    (folder / "receipt").write_text(text.replace(index, f"index {int(index.split()[1]) - 3}"))


@pytest.mark.parametrize(
    "damage, told",
    [
        (flip_entry, "do not have the root"),
        (flip_note, "note: "),
        (flip_first, "note: "),
        (other_consistency, "consistency: "),
        (other_receipt, "receipt: "),
    ],
    ids=lambda each: each.__name__ if callable(each) else "",
)
def test_go_refuses_what_is_damaged(
    verify: Go, tmp_path: Path, damage: Callable[[Path], None], told: str
) -> None:
    """The verifier can refuse, so its acceptance has a meaning."""
    damage(tmp_path)
    done = verify()
    assert done.returncode == 1
    assert told in done.stdout


def _flip(file: Path, place: int) -> None:
    raw = bytearray(file.read_bytes())
    raw[place] ^= 1
    file.write_bytes(raw)
