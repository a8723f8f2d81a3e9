"""Receipts of jobs that asked for them: made against a certified checkpoint, once, and not lost by a restart."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest

from queueing.protocol.envelope import read_unverified
from queueing.protocol.jobs import (
    ArqResult,
    JobOutcome,
    ReceiptNotice,
    ResultHints,
    WireError,
    encode_result,
    job_id_of,
)
from queueing.transparency.job_proofs import read_job_proof
from queueing.transparency.merkle import leaf_hash
from queueing.transparency.proofs import inclusion_proof, verify_inclusion
from queueing.transparency.tiles import WIDTH
from queueing.transparency.trusted_keys import TrustedKeys
from queueing.unix_time import unix_ms
from tests.support.farm.certified_logs import SERVICE, certify
from tests.support.farm.job_proofs import items_of
from tests.support.farm.logged_jobs import append, sealed_envelope
from tests.support.farm.sealed_logs import EPOCH_KEY, run_to_end, sealer
from workers.journal.records import IntentRecord, OutcomeRecord, Record, ReleasedRecord, ReturnedRecord
from workers.journal.segment_writer import SegmentWriter
from workers.record.exchange import STATEMENTS, key_name
from workers.record.folder import FOLDER_NAME, LOGS_NAME, log_folder
from workers.record.receipts import outbox as receipt_outbox
from workers.record.receipts import requests as receipt_requests
from workers.record.receipts.maker import KeptHashes, ReceiptMaker
from workers.record.receipts.outbox import ReceiptOutbox, SealedReceipt
from workers.record.receipts.requests import ReceiptRequest, ReceiptRequests
from workers.record.sealer import Sealer
from workers.record.stored_hashes import StoredHashes
from workers.record.volumes import VOLUME, TenantLog

NOW_MS = unix_ms()
TRUSTED = TrustedKeys(service=[SERVICE.spki], audience="prod")
KEY_NAME = key_name(EPOCH_KEY.public_key().public_bytes_raw())


def id_of(tenant: str, number: int) -> str:
    return job_id_of(tenant, number.to_bytes(16))


def job(
    number: int,
    *,
    tenant: str = "acme",
    notice: int = ReceiptNotice.FOLLOWS,
    end: str = "committed",
    name: str = "",
    at_ms: int = NOW_MS,
) -> list[Record]:
    """A job that was signed; the end '' is none, and 'returned' is its return."""
    job_id = (name or id_of(tenant, number)).encode()
    outcome = JobOutcome("release", 1, bytes(32), "ECDSA_SHA_256", (b"signature", None), {1: WireError("x")})
    hints = ResultHints(rc=notice)
    result = encode_result(ArqResult(et=1, s=True, r=outcome, k=hints, st=1, ft=1, q="q", id=job_id.decode()))
    records: list[Record] = [
        IntentRecord(at_ms, tenant, job_id, b"w:1", 1, sealed_envelope(tenant, number), number.to_bytes(16)),
        OutcomeRecord(at_ms, tenant, job_id, b"w:1", "", result),
    ]
    if end == "returned":
        records.append(ReturnedRecord(at_ms, tenant, job_id, b"w:1", True))
    elif end:
        records.append(ReleasedRecord(at_ms, tenant, job_id, b"w:1", end))
    return records


@dataclass
class State:
    """A state directory whose log is followed by a sealer."""

    folder: Path

    def __post_init__(self) -> None:
        self.writer = SegmentWriter(self.folder / "wal")
        self.sealer: Sealer | None = None

    def log(self, *records: Record) -> None:
        append(self.writer, *records)

    def seal(self) -> Sealer:
        self.sealer = self.sealer or sealer(self.folder)
        run_to_end(self.sealer)
        return self.sealer

    def certify(self, tenant: str = "acme") -> None:
        certify(log_folder(self.folder, tenant), name=KEY_NAME)

    def make(self) -> int:
        return ReceiptMaker(self.folder, self.folder / FOLDER_NAME / LOGS_NAME, KEY_NAME).make(
            self.seal().receipts
        )

    def made(self) -> dict[str, list[SealedReceipt]]:
        """Receipts in the outbox, by tenant."""
        found: dict[str, list[SealedReceipt]] = {}
        for file in ReceiptOutbox(self.folder).files():
            found.setdefault(file.tenant, []).extend(file.read())
        return found


@pytest.fixture
def state(tmp_path: Path) -> State:
    return State(tmp_path)


def verify(receipt: SealedReceipt, number: int, tenant: str = "acme") -> None:
    """As its client does: with what the client has of the job, and the service key."""
    digests = read_unverified(sealed_envelope(tenant, number)).envelope.digests
    items = items_of(digests[:1], [b"signature"])
    items.append(
        msgspec.structs.replace(items[0], number=1, digest=digests[1], signature_sha256=b"", code="x")
    )
    read_job_proof(receipt.proof).verify(items, TRUSTED, tenant=tenant)


@pytest.mark.parametrize("count", [1, 2, 3, 300])
def test_every_job_that_asked_gets_its_proof_and_no_other_job_does(state: State, count: int) -> None:
    """Also across tiles of 256 entries; each proof holds for its own job and tenant."""
    for number in range(count):
        state.log(*job(2 * number), *job(2 * number + 1, notice=ReceiptNotice.NONE), *job(number, tenant="b"))
    state.seal()
    state.certify("acme")
    state.certify("b")
    assert state.make() == 2 * count
    made = state.made()
    assert {tenant: len(receipts) for tenant, receipts in made.items()} == {"acme": count, "b": count}
    for number, receipt in enumerate(made["acme"]):
        assert (receipt.job_id, receipt.released) == (id_of("acme", 2 * number), True)
        verify(receipt, 2 * number)
    verify(made["b"][-1], count - 1, "b")
    assert not state.seal().receipts
    assert state.make() == 0


class CountedHashes(StoredHashes):
    """Stored hashes that count how often each tile is read."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.reads: Counter[tuple[int, int]] = Counter()

    def hashes(self, tile_level: int, first: int, count: int) -> list[bytes]:
        self.reads[tile_level, first] += 1
        return super().hashes(tile_level, first, count)


def test_proofs_are_those_of_the_stored_hashes_in_a_log_of_several_volumes(tmp_path: Path) -> None:
    """At the borders of tiles and volumes; each tile is read once, whatever its level."""
    log = TenantLog(tmp_path)
    size = VOLUME + 5 * WIDTH + 3
    for number in range(size):
        log.append(b"%d" % number)
    log.write()
    counted, stored = CountedHashes(tmp_path), StoredHashes(tmp_path)
    kept = KeptHashes(counted, size)
    for index in (0, 255, 256, VOLUME - 1, VOLUME, VOLUME + WIDTH, size - 1):
        proof = inclusion_proof(kept, index, size)
        assert proof == inclusion_proof(stored, index, size)
        verify_inclusion(leaf_hash(b"%d" % index), index, size, proof, log.root())
    assert set(counted.reads.values()) == {1}


def test_receipts_wait_until_the_service_key_has_certified_the_sealers_key(state: State) -> None:
    """A statement about another key does not help, and a damaged one costs itself."""
    state.log(*job(1))
    state.seal()
    assert state.make() == 0
    log = log_folder(state.folder, "acme")
    certify(log, name="0011223344556677")
    (log / STATEMENTS / f"{9:012d}-{KEY_NAME}").write_bytes(b"damaged")
    assert state.make() == 0
    state.certify()
    assert state.make() == 1


def test_a_restart_loses_no_request(state: State) -> None:
    """Neither one that waits, nor that of a job that had its outcome and not its end when the state was kept."""
    state.log(*job(1), *job(2, end=""))
    state.seal().keep()
    state.sealer = None
    state.log(ReleasedRecord(NOW_MS, "acme", id_of("acme", 2).encode(), b"w:1", "committed"))
    state.seal()
    state.certify()
    assert state.make() == 2
    for number, receipt in enumerate(state.made()["acme"], 1):
        verify(receipt, number)


@pytest.mark.parametrize(
    "end, expected", [("repeated", [True]), ("fenced", [False]), ("returned", [False]), ("", [])]
)
def test_a_receipt_says_whether_its_outcome_was_released(
    state: State, end: str, expected: list[bool]
) -> None:
    """A job without an end has no receipt yet."""
    state.log(*job(1, end=end))
    state.seal()
    state.certify()
    state.make()
    assert [receipt.released for receipt in state.made().get("acme", [])] == expected


@pytest.mark.parametrize(
    "records",
    [
        job(1, name="an id of a stock producer"),
        job(1, name=id_of("b", 1)),
        job(1, notice=ReceiptNotice.NO_RECORD),
        job(1, notice=99),
        job(1, at_ms=NOW_MS - receipt_requests.MOST_AGE_MS - 60_000),
    ],
    ids=["foreign id", "other tenant's id", "no record", "unknown notice", "long ago"],
)
def test_a_job_gets_no_receipt(state: State, records: list[Record]) -> None:
    """Whose id is no job's of its tenant, whose worker announced none, or of whose result nothing is left."""
    state.log(*records)
    assert len(state.seal().receipts) == 0


def test_an_outbox_without_room_costs_receipts_and_nothing_else(
    state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are counted, and later ones are made again when there is room."""
    monkeypatch.setattr(receipt_outbox, "MOST_FILES", 1)
    for number in (1, 2):
        state.log(*job(number))
        state.seal()
        state.certify()
        assert state.make() == (1 if number == 1 else 0)
    requests = state.seal().receipts
    assert (len(requests), requests.dropped) == (0, 1)
    for file in ReceiptOutbox(state.folder).files():
        file.remove()
    state.log(*job(3))
    assert state.make() == 1
    verify(state.made()["acme"][0], 3)


def test_an_outbox_that_cannot_be_written_lets_the_requests_wait(state: State) -> None:
    state.log(*job(1))
    state.seal()
    state.certify()
    (state.folder / "sealer").mkdir(exist_ok=True)
    blocked = state.folder / "sealer" / "receipts"
    blocked.write_bytes(b"")
    with pytest.raises(OSError, match="receipts"):
        state.make()
    assert len(state.seal().receipts) == 1
    blocked.unlink()
    assert state.make() == 1


def request(number: int) -> ReceiptRequest:
    return ReceiptRequest(
        tenant="acme", job_id=id_of("acme", number), index=number, at_ms=NOW_MS, salt=bytes(16), entry=b""
    )


def test_of_too_many_requests_the_newest_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """A service key that is away for long costs memory for so many only."""
    monkeypatch.setattr(receipt_requests, "MOST_WAITING", 3)
    requests = ReceiptRequests(now_ms=lambda: NOW_MS)
    for number in range(5):
        requests.add(request(number))
    assert [each.index for each in requests.kept()] == [2, 3, 4]
    assert requests.dropped == 2
