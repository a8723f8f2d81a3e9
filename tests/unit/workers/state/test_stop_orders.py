"""Folder of signed stop orders: what was kept is read back, and a damaged file stops no other."""

from __future__ import annotations

import logging
import os
import stat
from pathlib import Path

import pytest

from queueing.protocol.client_keys import ClientKey
from queueing.protocol.stop_orders import StopOrder, sign_order
from tests.support.disk.irregular import put_huge
from workers.state.stop_orders import StopOrderFolder

OPERATOR = ClientKey.generate()


def order(number: int, audience: str = "here") -> StopOrder:
    return StopOrder(
        audience=audience,
        order_id=bytes([number]) * 16,
        issued_at_ms=0,
        operator="ada",
        scope="tenant",
        tenant="acme",
    )


def keep(folder: StopOrderFolder, kept: StopOrder) -> bytes:
    signed = sign_order(kept, OPERATOR)
    folder.keep(kept, signed)
    return signed


def test_orders_are_read_back_by_id(tmp_path: Path) -> None:
    """By another process, in the bytes that were signed; the files are the owner's alone."""
    signed = {order(n).order_id: keep(StopOrderFolder(tmp_path), order(n)) for n in (1, 2)}
    assert StopOrderFolder(tmp_path).read("here") == signed
    files = list((tmp_path / "orders").iterdir())
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}


def test_an_order_that_is_kept_twice_is_one(tmp_path: Path) -> None:
    """A worker that receives it again after a restart replaces the file."""
    keep(StopOrderFolder(tmp_path), order(1))
    again = keep(StopOrderFolder(tmp_path), order(1))
    assert StopOrderFolder(tmp_path).read("here") == {order(1).order_id: again}


def test_unreadable_orders_are_logged_and_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Neither a damaged order nor one for another cluster hides the others."""
    folder = StopOrderFolder(tmp_path)
    signed = keep(folder, order(1))
    keep(folder, order(2, audience="elsewhere"))
    (tmp_path / "orders" / "damaged.order").write_bytes(b"damaged")
    with caplog.at_level(logging.ERROR, logger="sigmill.orders"):
        assert folder.read("here") == {order(1).order_id: signed}
    assert [record.message for record in caplog.records] == ["order.unreadable"] * 2


def test_no_folder_means_no_orders(tmp_path: Path) -> None:
    """A host that has never received an order has no folder."""
    assert StopOrderFolder(tmp_path).read("here") == {}


@pytest.mark.timeout(10)
def test_what_is_no_order_by_its_kind_or_size_is_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A pipe stops no worker at its start, a huge file fills no memory; each is named."""
    folder = StopOrderFolder(tmp_path)
    signed = keep(folder, order(1))
    os.mkfifo(tmp_path / "orders" / "a.order")
    (tmp_path / "orders" / "b.order").mkdir()
    (tmp_path / "orders" / "c.order").symlink_to("/dev/zero")
    put_huge(tmp_path / "orders" / "d.order")
    assert folder.read("here") == {order(1).order_id: signed}
    told = [Path(record.__dict__["file"]).name for record in caplog.records]
    assert told == ["a.order", "b.order", "c.order", "d.order"]
