"""Reader of a log's files beside the sealer that writes them: what the checkpoint covers is whole, what follows may be cut anywhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from queueing.errors import ProofInvalid
from tests.support.farm.logged_jobs import append, job
from tests.support.farm.sealed_logs import run_to_end, sealer
from workers.journal.segment_writer import SegmentWriter
from workers.record.folder import log_folder
from workers.record.items import ItemRow, begun_outcome, encode_row
from workers.record.stored_entries import StoredEntries
from workers.record.volumes import ROW_LENGTH

ROWS = Path("items") / "000000.bin"
HEAD_BYTES = ROW_LENGTH.size + 2
"""Length of a row, and of it the head of its array and a small number of an entry."""


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Folder of a log of three jobs."""
    writer = SegmentWriter(tmp_path / "wal")
    for number in range(3):
        append(writer, *job("acme", number))
    run_to_end(sealer(tmp_path))
    return log_folder(tmp_path, "acme")


def last_row(log: Path) -> tuple[int, int]:
    """Number of the entry of the last row, and the byte at which the row begins."""
    rows = list(StoredEntries(log, 10**9).rows(0))
    assert len(rows) == 3
    size = len((log / ROWS).read_bytes())
    return rows[-1].outcome, size - ROW_LENGTH.size - len(encode_row(rows[-1]))


def test_a_row_behind_the_checkpoint_may_be_cut_anywhere(log: Path) -> None:
    """A reader beside the sealer sees what it has written by then: here every length of it."""
    outcome, begin = last_row(log)
    data = (log / ROWS).read_bytes()
    for end in range(begin, len(data) + 1):
        (log / ROWS).write_bytes(data[:end])
        assert len(list(StoredEntries(log, outcome).rows(0))) == 2, end


def test_a_row_that_the_checkpoint_covers_is_damaged_where_it_is_cut(log: Path) -> None:
    """Its entry says that it has one."""
    outcome, begin = last_row(log)
    data = (log / ROWS).read_bytes()
    for end in range(begin + HEAD_BYTES, len(data)):
        (log / ROWS).write_bytes(data[:end])
        with pytest.raises(ProofInvalid, match=r"000000\.bin is damaged or cut at byte"):
            list(StoredEntries(log, outcome + 1).rows(0))


def test_a_row_with_a_length_that_no_row_has_is_damaged_wherever_it_is(log: Path) -> None:
    """No sealer writes it."""
    outcome, begin = last_row(log)
    data = (log / ROWS).read_bytes()
    (log / ROWS).write_bytes(data[:begin] + b"\xff" * ROW_LENGTH.size + data[begin + ROW_LENGTH.size :])
    with pytest.raises(ProofInvalid, match="damaged"):
        list(StoredEntries(log, outcome).rows(0))


@pytest.mark.parametrize("outcome", [0, 1, 127, 128, 255, 256, 65535, 65536, 2**32 - 1, 2**32, 2**63 - 1])
def test_the_entry_of_a_row_is_known_from_its_first_bytes(outcome: int) -> None:
    """As soon as its number is there, and never another one."""
    row = encode_row(ItemRow(outcome=outcome, salt=bytes(16), sealed=b"x", signatures=()))
    begun = [begun_outcome(row[:end]) for end in range(len(row) + 1)]
    assert set(begun) == {None, outcome}
    assert begun == sorted(begun, key=lambda found: found is not None)


@pytest.mark.parametrize("begun", [b"\x95\xc0", b"\x95\xff\x00", b"\x95\xa1x", b"\x95\x90"])
def test_what_begins_as_no_row_does_is_no_row_behind_the_checkpoint(begun: bytes) -> None:
    assert begun_outcome(begun) == 0
