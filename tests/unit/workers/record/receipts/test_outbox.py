"""Receipts between the processes of a host: in order, by tenant, in files of bounded size; anything else is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from workers.record.receipts import outbox as receipt_outbox
from workers.record.receipts.outbox import OutboxFull, ReceiptOutbox, SealedReceipt


def receipt(number: int, size: int = 10) -> SealedReceipt:
    return SealedReceipt(job_id=f"job{number}", at_ms=number, released=True, proof=bytes(size))


def test_receipts_come_out_in_order_and_by_tenant(tmp_path: Path) -> None:
    """Also by a later process, whose numbers continue."""
    ReceiptOutbox(tmp_path).put("acme", [receipt(1), receipt(2)])
    ReceiptOutbox(tmp_path).put("b", [receipt(3)])
    ReceiptOutbox(tmp_path).put("acme", [receipt(4)])
    files = ReceiptOutbox(tmp_path).files()
    assert [(file.tenant, [each.at_ms for each in file.read()]) for file in files] == [
        ("acme", [1, 2]),
        ("b", [3]),
        ("acme", [4]),
    ]
    files[0].remove()
    files[0].remove()
    assert len(ReceiptOutbox(tmp_path).files()) == 2


def test_many_receipts_are_several_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(receipt_outbox, "MOST_FILE_BYTES", 50)
    ReceiptOutbox(tmp_path).put("acme", [receipt(number) for number in range(10)])
    files = ReceiptOutbox(tmp_path).files()
    assert len(files) > 2
    assert [each.at_ms for file in files for each in file.read()] == list(range(10))


@pytest.mark.parametrize("limit, most", [("MOST_FILES", 1), ("MOST_BYTES", 20)])
def test_a_full_outbox_takes_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str, most: int
) -> None:
    monkeypatch.setattr(receipt_outbox, limit, most)
    outbox = ReceiptOutbox(tmp_path)
    outbox.put("acme", [receipt(1)])
    with pytest.raises(OutboxFull):
        outbox.put("acme", [receipt(2)])
    assert len(outbox.files()) == 1


def puts(outbox: ReceiptOutbox, tenant: str) -> int:
    """Number of receipts, a file of 43 bytes or a little more each, that it takes of this tenant."""
    for number in range(100):
        try:
            outbox.put(tenant, [receipt(number)])
        except OutboxFull:
            return number
    return 100


@pytest.mark.parametrize("limit, most", [("MOST_FILES", 8), ("MOST_BYTES", 8 * 43)])
def test_a_tenant_whose_receipts_stay_leaves_room_for_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str, most: int
) -> None:
    """The shard of one may be away, and that of another not."""
    monkeypatch.setattr(receipt_outbox, limit, most)
    outbox = ReceiptOutbox(tmp_path)
    assert [puts(outbox, tenant) for tenant in ("away", "well")] == [4, 2]


@pytest.mark.parametrize("content", [b"", b"nonsense", b"\x91" * 5000, None])
def test_a_file_that_is_none_of_the_sealers_is_refused(tmp_path: Path, content: bytes | None) -> None:
    """Also one that was renamed to another tenant."""
    outbox = ReceiptOutbox(tmp_path)
    outbox.put("acme", [receipt(1)])
    (file,) = outbox.files()
    if content is None:
        file.path.rename(file.path.with_name(file.path.name.replace("acme", "other")))
    else:
        file.path.write_bytes(content)
    (damaged,) = outbox.files()
    with pytest.raises(ValueError):
        damaged.read()


def test_a_file_of_a_gigabyte_is_not_read(tmp_path: Path) -> None:
    outbox = ReceiptOutbox(tmp_path)
    outbox.put("acme", [receipt(1)])
    (file,) = outbox.files()
    with file.path.open("wb") as stream:
        stream.truncate(1 << 30)
    with pytest.raises(OSError, match="larger than"):
        file.read()
