"""The record's checkpoints and inclusion proofs, verified by Sigstore's own clients in Python and JavaScript."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from queueing.transparency.checkpoints import read_checkpoint
from queueing.transparency.notes import Ed25519NoteKey, read_note
from queueing.transparency.proofs import inclusion_proof
from queueing.transparency.tiles import WIDTH, TileHashes
from tests.support.farm.logged_jobs import append, job
from tests.support.farm.sealed_logs import EPOCH_KEY, seal
from tests.support.keys import spki_of
from tests.tools.conftest import BUILT, LACKING
from workers.journal.segment_writer import SegmentWriter
from workers.record.bundle.reader import origins_of
from workers.record.bundle.writer import export
from workers.record.folder import log_folder

SCRIPTS = Path(__file__).with_name("sigstore")
PYTHON = BUILT.parent / "sigstore/bin/python"
MODULES = BUILT.parent / "sigstore-js/node_modules"
JOBS = 115
"""346 entries: a full bundle and a part, as are the tiles."""

Entry = dict[str, Any]
Client = Callable[[Path], list[str]]


def by_python(file: Path) -> list[str]:
    """Command of sigstore-python; skips where it is not installed."""
    if not PYTHON.exists():
        _skip("sigstore", "sigstore-python is not installed")
    return [str(PYTHON), "-I", str(SCRIPTS / "verify_entry.py"), str(file)]


def by_javascript(file: Path) -> list[str]:
    """Command of @sigstore/verify; skips where it is not installed."""
    if not MODULES.is_dir() or shutil.which("node") is None:
        _skip("sigstore-js", "node or its package @sigstore/verify is not installed")
    return ["node", str(SCRIPTS / "verify_entry.js"), str(MODULES), str(file)]


def _skip(name: str, why: str) -> None:
    """Skip; where `ops/tools` ran, it must have said that this is not to be had."""
    assert name in LACKING or "SIGMILL_TEST_TOOLS_LACKING" not in os.environ
    pytest.skip(
        f"skipped because {why}: make test-tools installs it where pypi.org and npmjs.org can be reached"
    )


CLIENTS = pytest.mark.parametrize("client", [by_python, by_javascript])


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An exported log of one tenant."""
    folder = tmp_path_factory.mktemp("bundle")
    append(
        SegmentWriter(folder / "wal"), *[record for number in range(JOBS) for record in job("acme", number)]
    )
    seal(folder)
    export(log_folder(folder, "acme"), folder / "bundle")
    return folder / "bundle"


def entry_of(bundle: Path, index: int) -> Entry:
    """An entry of the log as Sigstore's clients get one of Rekor."""
    (reader,) = origins_of(bundle)
    note = reader.checkpoint()
    head = read_checkpoint(read_note(note).text)
    block, inside = divmod(index, WIDTH)
    body = reader.entries(block, min(WIDTH, head.size - block * WIDTH))[inside]
    proof = inclusion_proof(TileHashes(reader, head.size), index, head.size)
    key = Ed25519NoteKey(head.origin, EPOCH_KEY).verifier
    log_id = hashlib.sha256(f"{head.origin}\n\x01".encode() + EPOCH_KEY.public_key().public_bytes_raw())
    assert log_id.digest()[:4] == key.key_id
    return {
        "origin": head.origin,
        "key": text(spki_of(EPOCH_KEY)),
        "entry": {
            "logIndex": str(index),
            "logId": {"keyId": text(log_id.digest())},
            "kindVersion": {"kind": "sigmill", "version": "1"},
            "integratedTime": "1",
            "inclusionProof": {
                "logIndex": str(index),
                "rootHash": text(head.root),
                "treeSize": str(head.size),
                "hashes": [text(each) for each in proof],
                "checkpoint": {"envelope": note.decode()},
            },
            "canonicalizedBody": text(body),
        },
    }


def text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def run(client: Client, entry: Entry, folder: Path) -> subprocess.CompletedProcess[str]:
    file = folder / "entry.json"
    file.write_text(json.dumps(entry))
    return subprocess.run(client(file), check=False, capture_output=True, text=True, timeout=100)


@CLIENTS
@pytest.mark.parametrize("index", [0, 255, 256, 3 * JOBS])
def test_sigstore_accepts_checkpoint_and_inclusion_proof(
    client: Client, index: int, bundle: Path, tmp_path: Path
) -> None:
    """At the ends of the log, and at both sides of the border of a tile."""
    done = run(client, entry_of(bundle, index), tmp_path)
    assert (done.returncode, done.stdout) == (0, "ok\n"), done.stdout + done.stderr


def other_body(entry: Entry) -> None:
    entry["entry"]["canonicalizedBody"] = text(b"another entry")


def other_place(entry: Entry) -> None:
    entry["entry"]["inclusionProof"]["logIndex"] = "6"


def other_hash(entry: Entry) -> None:
    entry["entry"]["inclusionProof"]["hashes"][-1] = text(bytes(32))


def other_root(entry: Entry) -> None:
    proof = entry["entry"]["inclusionProof"]
    lines = proof["checkpoint"]["envelope"].split("\n")
    lines[2] = proof["rootHash"] = text(bytes(32))
    proof["checkpoint"]["envelope"] = "\n".join(lines)


def other_key(entry: Entry) -> None:
    entry["key"] = text(spki_of(Ed25519PrivateKey.from_private_bytes(bytes([7] * 32))))


@CLIENTS
@pytest.mark.parametrize("damage", [other_body, other_place, other_hash, other_root, other_key])
def test_sigstore_refuses_what_is_damaged(
    client: Client, damage: Callable[[Entry], None], bundle: Path, tmp_path: Path
) -> None:
    """The verifier can refuse, so its acceptance has a meaning."""
    entry = entry_of(bundle, 5)
    damage(entry)
    done = run(client, entry, tmp_path)
    assert done.returncode == 1, done.stdout + done.stderr
    assert done.stdout.startswith("VerificationError: "), done.stdout + done.stderr
