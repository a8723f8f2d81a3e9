"""Time-stamps in files: a file without its own is a failure of its own, unless it may be without."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pytest

from queueing.artifacts import authenticode, cms
from queueing.artifacts.batch import Artifact, FileOutcome
from queueing.artifacts.formats import FormatName
from queueing.artifacts.pe import read_pe
from queueing.artifacts.preparation import IfSigned, Order
from queueing.artifacts.targets import Target
from queueing.artifacts.time_stamps.tokens import TimeStamp
from queueing.errors import TimeStampUnavailable
from queueing.protocol import der
from tests.support.artifacts.local_signer import LocalSigner
from tests.support.artifacts.pe_files import pe_file
from tests.support.artifacts.runs import Outcomes, sign

AT = datetime(2026, 1, 2, tzinfo=UTC)
TOKEN = der.sequence(der.integer(1))


@dataclass(slots=True)
class FakeStamper:
    """Time-stamps for signatures; the ``fail``-th request gets none."""

    fail: int = -1
    over: list[tuple[str, bytes]] = field(default_factory=list)

    async def time_stamp(self, hash_name: str, signature: bytes) -> TimeStamp:
        self.over.append((hash_name, signature))
        if len(self.over) == self.fail:
            raise TimeStampUnavailable("no time-stamp: http://tsa: the server answers 500")
        return TimeStamp(token=TOKEN, at=AT)


@pytest.fixture(scope="module")
def key() -> LocalSigner:
    return LocalSigner.p256()


def files(folder: Path, count: int) -> list[Path]:
    made = [folder / f"{i}.exe" for i in range(count)]
    for file in made:
        file.write_bytes(pe_file(overlay=file.name.encode()))
    return made


def signature_of(file: Path) -> cms.SignedData:
    with file.open("rb") as stream:
        return cms.read_signed_data(read_pe(stream, file.stat().st_size).signatures[0])


async def stamped(key: LocalSigner, stamper: FakeStamper, *files: Path, must: bool = True) -> Outcomes:
    return await sign(key, *files, order=Order(signer=key.signer, stamped=must), stamper=stamper)


async def test_a_time_stamp_is_over_the_signature_and_beside_it(key: LocalSigner, tmp_path: Path) -> None:
    """Authenticode and CMS have attributes of their own for it."""
    (file,) = files(tmp_path, 1)
    stamper = FakeStamper()
    outcomes = await stamped(key, stamper, file)
    signed = signature_of(file)
    assert stamper.over == [("sha256", signed.signature)]
    assert signed.unsigned_attribute(authenticode.TIME_STAMP) == TOKEN
    assert outcomes.all[0].stamp == TimeStamp(token=TOKEN, at=AT)
    detached = Artifact(path=file, target=Target.beside(file, ".p7s"), format=FormatName.CMS)
    await sign(key, detached, order=Order(signer=key.signer, stamped=True), stamper=stamper)
    signed = cms.read_signed_data((tmp_path / "0.exe.p7s").read_bytes())
    assert signed.unsigned_attribute(cms.TIME_STAMP) == TOKEN


async def test_a_file_without_its_time_stamp_fails_alone(key: LocalSigner, tmp_path: Path) -> None:
    """It is as it was, and a rerun signs it."""
    made = files(tmp_path, 3)
    before = {file: file.read_bytes() for file in made}
    outcomes = await stamped(key, FakeStamper(fail=2), *made)
    assert sorted(outcomes.words()) == ["signed", "signed", "timestamp.unavailable"]
    failed = next(outcome for outcome in outcomes.all if outcome.error)
    assert failed.artifact.path.read_bytes() == before[failed.artifact.path]
    assert failed.error is not None
    assert failed.error.retryable
    assert sorted((await stamped(key, FakeStamper(), *made)).words()) == ["signed", "unchanged", "unchanged"]


async def test_a_time_stamp_may_be_optional(key: LocalSigner, tmp_path: Path) -> None:
    """Then the outcome says why it is missing."""
    (file,) = files(tmp_path, 1)
    outcomes = await stamped(key, FakeStamper(fail=1), file, must=False)
    (outcome,) = outcomes.all
    assert isinstance(outcome, FileOutcome)
    assert outcome.unstamped is not None
    assert "the server answers 500" in outcome.unstamped.message
    assert (outcome.stamp, outcome.error) == (None, None)
    assert signature_of(file).unsigned_attributes == ()


async def test_a_signature_without_a_time_stamp_is_not_done(key: LocalSigner, tmp_path: Path) -> None:
    """If one is asked for; it is replaced by choice."""
    (file,) = files(tmp_path, 1)
    await sign(key, file)
    assert (await stamped(key, FakeStamper(), file)).words() == ["artifact.signed"]
    order = Order(signer=key.signer, stamped=True, if_signed=IfSigned.REPLACE)
    assert (await sign(key, file, order=order, stamper=FakeStamper())).words() == ["signed"]
