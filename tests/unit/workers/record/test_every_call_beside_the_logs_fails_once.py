"""What sealer and worker exchange beside the logs, and the removal of old volumes: each call on files fails once, with each fault.

As ``test_every_call_fails_once`` does for what is sealed. Here nothing has to be the same bytes: no receipt, statement or volume may
be lost, left half, or removed before that is said.
"""

from __future__ import annotations

import errno
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Final

import pytest

from queueing.transparency.notes import read_note
from queueing.transparency.origin_statements import read_statement
from tests.support.farm.certified_logs import certify
from tests.support.farm.logged_jobs import append
from tests.support.farm.long_logs import SIZE, long_log
from tests.support.farm.sealed_logs import run_to_end, sealer
from tests.unit.queueing.transparency.test_origin_statements import SERVICE, signed, statement
from tests.unit.workers.record.receipts.test_maker import KEY_NAME, id_of, job, verify
from tests.unit.workers.record.test_every_call_fails_once import Faulty, Site, chosen, struck
from tests.unit.workers.record.test_exchange import REQUEST
from workers.journal.segment_writer import SegmentWriter
from workers.record import pruning as pruning_module
from workers.record.exchange import STATEMENTS, StatementRequests
from workers.record.folder import FOLDER_NAME, LOGS_NAME, log_folder
from workers.record.pruning import Pruning
from workers.record.receipts.maker import ReceiptMaker
from workers.record.receipts.outbox import ReceiptOutbox, SealedReceipt
from workers.record.retention.marks import DAY_MS, note_size
from workers.record.retention.marks import FILE_NAME as MARKS
from workers.record.retention.minimum import read_minimum
from workers.record.retention.policy import RetentionPolicy
from workers.record.stored_entries import StoredEntries
from workers.record.volumes import VOLUME, volumes_of

FAULTS: Final = pytest.mark.parametrize("fault", [errno.EIO, errno.ENOSPC, signal.SIGKILL])

JOBS: Final = {"acme": range(1, 4), "globex": range(4, 6)}
"""Jobs that asked for a receipt, by tenant."""


def cases(
    counted: Faulty, monkeypatch: pytest.MonkeyPatch, work: Callable[[], None], *, made: set[str]
) -> Iterator[tuple[Site, int]]:
    """First and last call of each place that ``work`` makes, or each one; these kinds of calls must be among them."""
    with counted.patched(monkeypatch):
        work()
    assert {name for name, _ in counted.counts} >= made, "a call is swept that is not made"
    for site, count in counted.counts.items():
        for number in chosen(count):
            yield site, number


def strike(monkeypatch: pytest.MonkeyPatch, faulty: Faulty, fault: int, work: Callable[[], None]) -> bool:
    """Do the work with one fault, which may end it; whether that came."""

    def run() -> None:
        with faulty.patched(monkeypatch), suppress(OSError):
            work()

    return struck(run, fault, faulty)


@pytest.fixture
def with_receipts(tmp_path: Path) -> Path:
    """A record whose jobs wait for receipts, under certified checkpoints."""
    state = tmp_path / "prepared"
    writer = SegmentWriter(state / "wal")
    for tenant, numbers in JOBS.items():
        for number in numbers:
            append(writer, *job(number, tenant=tenant))
    run_to_end(sealer(state))
    for tenant in JOBS:
        certify(log_folder(state, tenant), name=KEY_NAME)
    return state


def hand_over(state: Path, published: Path) -> None:
    """A sealer makes the receipts that wait and keeps what it did; the worker publishes what is there."""
    running = sealer(state)
    run_to_end(running)
    maker = ReceiptMaker(state, state / FOLDER_NAME / LOGS_NAME, KEY_NAME)
    with suppress(OSError):  # they wait on
        maker.make(running.receipts)
    running.keep()
    for file in ReceiptOutbox(state).files():
        receipts = file.read()
        with published.open("ab") as stream:
            for receipt in receipts:
                stream.write(receipt.proof.hex().encode() + b" " + receipt.job_id.encode() + b"\n")
        file.remove()


@FAULTS
def test_each_call_of_the_receipts_outbox_fails_once_and_every_receipt_is_published(
    tmp_path: Path, with_receipts: Path, monkeypatch: pytest.MonkeyPatch, fault: int
) -> None:
    """Perhaps twice, and each one whole; nothing of the outbox is left."""
    counted = tmp_path / "counted"
    shutil.copytree(with_receipts, counted)
    kinds = {"replace", "unlink", "scandir", "io.write"}
    places = cases(Faulty(counted), monkeypatch, partial(hand_over, counted, tmp_path / "all"), made=kinds)
    swept = [case for case in places if "outbox." in case[0][1] or "maker." in case[0][1]]
    assert len(swept) > 5
    for place, (site, number) in enumerate(swept):
        state, published = tmp_path / str(place), tmp_path / f"{place}.published"
        shutil.copytree(with_receipts, state)
        faulty = Faulty(state, site, number, fault)
        work = partial(hand_over, state, published)
        assert strike(monkeypatch, faulty, fault, work), (site, number)
        work()
        assert receipts_in(published) == {
            id_of(tenant, each) for tenant, numbers in JOBS.items() for each in numbers
        }, (site, number)
        assert ReceiptOutbox(state).files() == []
        shutil.rmtree(state)


def receipts_in(published: Path) -> set[str]:
    """Jobs whose receipts were published, each of which its client accepts."""
    jobs = {id_of(tenant, each): (tenant, each) for tenant, numbers in JOBS.items() for each in numbers}
    found = set()
    for line in published.read_text().splitlines():
        proof, _, job_id = line.partition(" ")
        tenant, number = jobs[job_id]
        receipt = SealedReceipt(job_id=job_id, at_ms=1, released=True, proof=bytes.fromhex(proof))
        verify(receipt, number, tenant)
        found.add(job_id)
    return found


def certified(state: Path) -> None:
    """The sealer asks for a statement, and the worker has it signed."""
    requests = StatementRequests(state)
    requests.forget_other_keys(REQUEST.epoch_key)
    requests.ask(REQUEST)
    for request in requests.waiting():
        requests.answer(request, signed(statement().text), SERVICE)


@FAULTS
def test_each_call_of_a_certification_fails_once_and_the_statement_is_there_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: int
) -> None:
    """A reader finds no half of one at any time, and no request stays."""
    counted = tmp_path / "counted"
    counted.mkdir()
    kinds = {"replace", "unlink", "fsync", "io.write", "mkdir", "scandir"}
    places = cases(Faulty(counted), monkeypatch, partial(certified, counted), made=kinds)
    for place, (site, number) in enumerate(list(places)):
        state = tmp_path / str(place)
        state.mkdir()
        work = partial(certified, state)
        assert strike(monkeypatch, Faulty(state, site, number, fault), fault, work), (site, number)
        for text in statements(state):
            read_statement(read_note(text).text)
        work()
        (note,) = statements(state)
        assert read_statement(read_note(note).text) == statement(), (site, number)
        assert len(StatementRequests(state)) == 0
        shutil.rmtree(state)


def statements(state: Path) -> list[bytes]:
    """Statements as their readers find them, by name."""
    folder = log_folder(state, "acme") / STATEMENTS
    if not folder.exists():
        return []
    return [
        file.read_bytes() for file in sorted(folder.iterdir()) if file.name.endswith(f"-{REQUEST.key_name}")
    ]


@pytest.fixture
def old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A record of which two volumes are old. What keys signed in them is known without reading them."""
    monkeypatch.setattr(
        pruning_module,
        "_read_volume",
        lambda _stored, first, _size: pruning_module._Volume(first + VOLUME - 1, frozenset()),
    )
    state = tmp_path / "old"
    folder = long_log(state)
    Pruning(state / FOLDER_NAME).run({"acme": SIZE}, None)
    noted = note_size(folder, 0, 0)[0]
    (folder / MARKS).unlink()
    note_size(folder, noted.record_ms - 731 * DAY_MS, SIZE)
    return state


def prune(state: Path) -> None:
    Pruning(state / FOLDER_NAME).run({"acme": SIZE}, RetentionPolicy(retain_days=730))


def copied(old: Path, state: Path) -> Path:
    """A copy, with links to the volumes: they are removed or stay, and never change."""

    def copy(source: str, target: str) -> None:
        if source.endswith(".bin"):
            Path(target).hardlink_to(source)
        else:
            shutil.copy2(source, target)

    shutil.copytree(old, state, copy_function=copy)
    return state


@FAULTS
def test_each_call_of_pruning_fails_once_and_no_volume_goes_before_that_is_said(
    tmp_path: Path, old: Path, monkeypatch: pytest.MonkeyPatch, fault: int
) -> None:
    """The next search removes what is left, and the log from the minimum on is what it was."""
    rest = list(StoredEntries(log_folder(old, "acme"), SIZE).entries(2 * VOLUME))
    counted = copied(old, tmp_path / "counted")
    kinds = {"unlink", "fsync", "replace", "scandir"}
    places = cases(Faulty(counted), monkeypatch, partial(prune, counted), made=kinds)
    for place, (site, number) in enumerate(list(places)):
        state = copied(old, tmp_path / str(place))
        folder = log_folder(state, "acme")
        work = partial(prune, state)
        assert strike(monkeypatch, Faulty(state, site, number, fault), fault, work), (site, number)
        if volumes(folder) != volumes(log_folder(old, "acme")):
            assert read_minimum(folder) == 2 * VOLUME, (site, number)
        work()
        assert volumes(folder) == {kind: [2] for kind in ("entries", "items", "level0")}, (site, number)
        assert read_minimum(folder) == 2 * VOLUME
        assert list(StoredEntries(folder, SIZE).entries(2 * VOLUME)) == rest
        sealer(state)  # finds its files as it kept them
        shutil.rmtree(state)


def volumes(folder: Path) -> dict[str, list[int]]:
    """Numbers of the volumes that are there, by kind."""
    return {
        kind: [number for number, _ in volumes_of(folder / kind)] for kind in ("entries", "items", "level0")
    }
