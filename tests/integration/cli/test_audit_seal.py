"""``sigmill audit seal`` on a host whose worker has ended, and on one whose worker runs."""

from __future__ import annotations

from pathlib import Path

from queueing import Signature
from tests.support.farm.farm import digests
from tests.support.rig.rig import MakeRig
from tests.support.sigmill_cli import sigmill
from tests.unit.workers.journal.test_recovery import intent, write


async def test_a_log_is_sealed_after_its_worker_and_never_before(make_rig: MakeRig, tmp_path: Path) -> None:
    """A running worker makes the command fail with its process id; after the drain the seal lists every segment."""
    rig = make_rig()
    worker = rig.start_worker()
    async with rig.client() as client:
        outcomes = [o async for o in client.sign_many("release", digests(50), timeout_s=60)]
    assert [type(outcome) for outcome in outcomes] == [Signature] * 50

    early = sigmill("audit", "seal", "--config", rig.config())
    assert early.code == 2
    assert f"process {worker.pid}" in early.err

    worker.child.stop(30)
    sealed = sigmill("audit", "seal", "--json", "--config", rig.config())
    assert sealed.code == 0, sealed.err
    (seal,) = sealed.json()
    log = Path(rig.state_dir()) / "wal"
    assert [segment["name"] for segment in seal["segments"]] == sorted(
        file.name for file in log.glob("*.wal")
    )
    assert sum(segment["size_bytes"] for segment in seal["segments"]) > 50 * 64

    archive = tmp_path / "archive" / "host-1"
    for _ in range(2):
        kept = sigmill("audit", "seal", "--to", archive, "--json", "--config", rig.config())
        assert kept.code == 0, kept.err
    assert {file.name: file.read_bytes() for file in archive.iterdir()} == {
        file.name: file.read_bytes() for file in [*log.glob("*.wal"), log / "seal.json"]
    }


def test_a_log_with_something_open_is_not_sealed(make_rig: MakeRig) -> None:
    """A log with open records, as a killed worker leaves it, gives exit code 75 and no seal."""
    rig = make_rig(redis=False)
    log = rig.state_dir() / "wal"
    log.mkdir(parents=True)
    write(log, intent(b"a"))

    refused = sigmill("audit", "seal", "--json", "--config", rig.config())

    assert refused.code == 75
    assert refused.error()["code"] == "log.unavailable"
    assert not (log / "seal.json").exists()
