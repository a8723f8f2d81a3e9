"""The order to give up a record is about this record only, survives a crash, and is gone when it was obeyed."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from workers.record.exchange import Head
from workers.record.heads.set_back import (
    SetBack,
    check_not_set_back,
    forget_set_back,
    read_set_back,
    tell_set_back,
)
from workers.record.volumes import RecordDamaged

NAME = "0123456789abcdef"


def head(tenant: str) -> Head:
    return Head(origin=f"sigmill/prod/{tenant}/{NAME}", size=30, root=b"r" * 32)


def order(*tenants: str, name: str = NAME) -> SetBack:
    return SetBack(name=name, why="it is an older copy", heads={tenant: head(tenant) for tenant in tenants})


def test_an_ordered_record_counts_as_damaged_until_it_was_given_up(tmp_path: Path) -> None:
    check_not_set_back(tmp_path, NAME)
    assert tell_set_back(tmp_path, order("acme"))
    check_not_set_back(tmp_path, "f" * 16)
    with pytest.raises(RecordDamaged, match="it is an older copy"):
        check_not_set_back(tmp_path, NAME)
    forget_set_back(tmp_path)
    check_not_set_back(tmp_path, NAME)


def test_an_order_is_told_once_and_gathers_heads(tmp_path: Path) -> None:
    assert tell_set_back(tmp_path, order("acme"))
    assert not tell_set_back(tmp_path, order("acme"))
    assert tell_set_back(tmp_path, order("globex"))
    found = read_set_back(tmp_path)
    assert found is not None
    assert sorted(found.heads) == ["acme", "globex"]


def test_an_order_about_a_former_record_gives_no_heads(tmp_path: Path) -> None:
    tell_set_back(tmp_path, order("acme", name="f" * 16))
    tell_set_back(tmp_path, order("globex"))
    found = read_set_back(tmp_path)
    assert found is not None
    assert sorted(found.heads) == ["globex"]


@pytest.mark.parametrize(
    "data",
    [b"", b"\xff" * 40, b"\x91" * 5000, msgspec.msgpack.encode({"name": "../../x", "why": "", "heads": {}})],
    ids=["empty", "not-utf-8", "nested", "a-path"],
)
def test_a_file_that_is_no_order_orders_nothing_and_is_replaced(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "sealer").mkdir()
    (tmp_path / "sealer" / "set-back").write_bytes(data)
    check_not_set_back(tmp_path, NAME)
    assert tell_set_back(tmp_path, order("acme"))
    assert read_set_back(tmp_path) == order("acme")
