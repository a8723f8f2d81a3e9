"""Two tenants on one host: an export has nothing of the other tenant, and a digest is in the items and nowhere else."""

from __future__ import annotations

import base64
import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from queueing.errors import SigningError
from queueing.protocol.algorithms import KeyKind
from tests.support.rig.rig import MakeRig, Rig
from tests.support.waiting import until_async
from workers.journal.records import IntentRecord, decode_record
from workers.journal.segments import read_segment, segments_of
from workers.record.bundle.reader import origins_of
from workers.record.bundle.search import Query, search
from workers.record.bundle.writer import newest_checkpoint
from workers.record.folder import log_folder

TENANTS = ("acme", "globex")


def forms(secret: bytes) -> set[bytes]:
    """A secret as it could be in a file: raw, in hex, and in base64, of both alphabets, at each of its three alignments."""
    found = {secret, secret.hex().encode(), secret.hex().upper().encode()}
    for before in range(3):
        aligned = b"\0" * before + secret + b"\0" * 3
        first = -(-before * 4 // 3)  # characters that depend on what is before it
        for text in (base64.b64encode(aligned), base64.urlsafe_b64encode(aligned)):
            found.add(text[first : first + len(secret) * 4 // 3 - 1])
    return found


def is_in(secret: bytes, files: list[Path]) -> list[Path]:
    """Files with a secret in any form, in their content, their name or that of their folder."""
    wanted = forms(secret)
    return [file for file in files if any(form in text for text in _texts(file) for form in wanted)]


def _texts(file: Path) -> tuple[bytes, bytes]:
    return file.read_bytes(), os.fsencode(f"{file.parent.name}/{file.name}")


def files_below(*folders: Path) -> list[Path]:
    return [file for folder in folders for file in sorted(folder.rglob("*")) if file.is_file()]


def job_ids(state_dir: Path, tenant: str) -> set[bytes]:
    """Ids of the jobs of a tenant, from the write-ahead log."""
    records = (decode_record(raw) for file in segments_of(state_dir / "wal") for raw in read_segment(file))
    return {each.job_id for each in records if isinstance(each, IntentRecord) and each.tenant == tenant}


def export(rig: Rig, tenant: str) -> Path:
    """As an operator does; stdout and stderr go into ``export.log``, to be searched too."""
    out = rig.directory / f"export-{tenant}"
    command = [sys.executable, "-m", "workers.cli", "audit", "export", "--config", str(rig.config())]
    with (rig.directory / "export.log").open("ab") as log:
        subprocess.run([*command, "--tenant", tenant, "--out", str(out)], check=True, stdout=log, stderr=log)
    return out


async def test_an_export_has_nothing_of_another_tenant_and_digests_are_in_items_only(
    make_rig: MakeRig,
) -> None:
    """Searched for as bytes, in hex and in base64: names, fingerprints of keys, job ids, digests."""
    rig = make_rig(
        tenants=dict.fromkeys(TENANTS, KeyKind.P256),
        service="\n[record]\nenabled = true\n[logging]\njobs = true\n",
    )
    worker = rig.start_worker()
    digests: dict[str, list[bytes]] = {tenant: [os.urandom(32) for _ in range(6)] for tenant in TENANTS}
    errors = []
    for tenant in TENANTS:
        async with rig.client(tenant) as client:
            signed = client.sign_many("release", digests[tenant][:3], timeout_s=60)
            assert len([each async for each in signed]) == 3
            for digest in digests[tenant][3:5]:
                await client.sign("release", digest, timeout_s=60)
            with pytest.raises(SigningError) as refused:
                await client.sign("unknown", digests[tenant][5], timeout_s=60)
            errors.append(f"{refused.value}\n{refused.value!r}")
    state_dir = rig.state_dir()

    def are_sealed() -> bool:
        heads = [newest_checkpoint(log_folder(state_dir, tenant)) for tenant in TENANTS]
        return all(head is not None and head.size >= 10 for head in heads)

    await until_async(are_sealed, "both logs have all entries")
    page = worker.get("/metrics")[1]
    bundles = {tenant: export(rig, tenant) for tenant in TENANTS}
    ids = {tenant: job_ids(state_dir, tenant) for tenant in TENANTS}
    assert all(ids.values())
    for tenant, other in zip(TENANTS, reversed(TENANTS), strict=True):
        foreign = [
            other.encode(),
            hashlib.sha256(rig.keys[other].public_spki).digest(),
            rig.keys[other].public_spki[-32:],
            rig.tokens[other].keys[f"{other}.release.v1"].sha256,
            *ids[other],
            *(each.partition(b"}")[2] for each in ids[other]),
            *digests[other],
        ]
        files = files_below(bundles[tenant])
        assert files
        for secret in foreign:
            assert is_in(secret, files) == []
    (rig.directory / "metrics.txt").write_text(page)
    (rig.directory / "errors.txt").write_text("\n".join(errors))
    for tenant in TENANTS:
        folder, bundle = log_folder(state_dir, tenant), bundles[tenant]
        public = [file for file in files_below(folder, bundle) if "items" not in file.parts]
        assert {"checkpoint", "000000.bin"} <= {file.name for file in public}
        public += [*rig.directory.glob("*.log"), *rig.directory.glob("*.txt")]
        public += [state_dir / "sealer" / "status", state_dir / "record" / "origin"]
        for digest in digests[tenant]:
            assert is_in(digest, public) == []
        for job_id in ids[tenant]:
            assert is_in(job_id, files_below(folder, bundle)) == [], "not in items either"
        for digest in digests[tenant][:5]:
            assert is_in(digest, files_below(folder / "items"))
            assert is_in(digest, files_below(bundle))
        (origin,) = origins_of(bundle)
        found = {each for match in search(origin, Query()) for each in match.envelope.digests}
        assert found >= set(digests[tenant][:5])
