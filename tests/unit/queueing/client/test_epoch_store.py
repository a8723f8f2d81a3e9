"""Rollback protection of key directories: the newest epoch is kept over restarts and power cuts."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from queueing.client.epoch_store import EpochStore


def test_the_newest_epoch_is_kept(tmp_path: Path) -> None:
    """The epoch survives a restart and never decreases, also when another client stored a newer one."""
    path = tmp_path / "state"
    one = EpochStore(path, audience="a", tenant="t")
    two = EpochStore(path, audience="a", tenant="t")
    two.remember(9)
    one.remember(7)
    assert one.newest == 9
    assert EpochStore(path, audience="a", tenant="t").newest == 9
    assert EpochStore(path, audience="a", tenant="other").newest == 0


def test_a_damaged_or_unwritable_file_is_no_failure(tmp_path: Path) -> None:
    """A file that cannot be read counts as epoch 0; one that cannot be written leaves the epoch in memory."""
    path = tmp_path / "state"
    for raw in (b"damaged", b'{"audience": "\xff"}', b'{"x": ' + b"[" * 4000, b'{"x": ' + b"[" * 100_000):
        path.write_bytes(raw)
        assert EpochStore(path, audience="a", tenant="t").newest == 0
    lost = EpochStore(tmp_path / "no" / "folder" / "state", audience="a", tenant="t")
    lost.remember(3)
    assert lost.newest == 3


def test_an_epoch_is_on_disk_before_it_counts_as_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The new file is synced before it is renamed, and its folder after that: a power cut never leaves an empty file."""
    calls: list[str] = []
    fsync, replace = os.fsync, Path.replace

    def noted_fsync(descriptor: int) -> None:
        calls.append("sync folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "sync data")
        fsync(descriptor)

    def noted_replace(self: Path, target: Path) -> Path:
        calls.append(f"rename to {target.name}")
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(Path, "replace", noted_replace)
    EpochStore(tmp_path / "state", audience="a", tenant="t").remember(1)
    assert calls == ["sync data", "rename to state", "sync folder"]
