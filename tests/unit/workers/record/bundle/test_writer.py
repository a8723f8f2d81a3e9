"""An export beside a sealer that removes old volumes, or gives the record up, meanwhile: it is whole, or it is none."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from queueing.errors import SigningError
from tests.support.farm.logged_jobs import append, job
from tests.support.farm.sealed_logs import seal
from workers.journal.segment_writer import SegmentWriter
from workers.record import stored_entries
from workers.record.bundle import writer
from workers.record.bundle.writer import GivenUp, export
from workers.record.folder import log_folder
from workers.record.replacement import give_up
from workers.record.retention.minimum import EntriesRemoved, write_minimum
from workers.record.volumes import VOLUME, volumes_of


@pytest.fixture
def state_dir(tmp_path: Path) -> Path:
    folder = tmp_path / "state"
    append(SegmentWriter(folder / "wal"), *job("acme", 1))
    seal(folder)
    return folder


def before(name: str, module: object, monkeypatch: pytest.MonkeyPatch, happens: Callable[[], object]) -> None:
    """Something happens before the first call of this function."""
    real: Callable[..., Any] = getattr(module, name)
    left = [happens]

    def call(*arguments: Any, **more: Any) -> Any:
        while left:
            left.pop()()
        return real(*arguments, **more)

    monkeypatch.setattr(module, name, call)


@pytest.mark.parametrize("name, module", [("_write_items", writer), ("volumes_of", stored_entries)])
def test_items_that_retention_removes_meanwhile_are_not_left_out_in_silence(
    state_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, module: object
) -> None:
    """The entries were read by then. A bundle with outcomes and without their items would be refused by its verifier."""
    log = log_folder(state_dir, "acme")

    def prune() -> None:
        write_minimum(log, VOLUME)
        for _, file in volumes_of(log / "items"):
            file.unlink()

    before(name, module, monkeypatch, prune)
    with pytest.raises(EntriesRemoved):
        export(log, tmp_path / "bundle")
    assert list((tmp_path / "bundle").glob("*/checkpoint")) == []


@pytest.mark.parametrize("is_sealed_again", [False, True])
@pytest.mark.parametrize("name", ["_write_tiles", "_write_items", "statement_files"])
def test_a_record_that_is_given_up_meanwhile_is_not_exported_in_part(
    state_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, is_sealed_again: bool
) -> None:
    """Its files have another name by then, and those of the new record theirs: a checkpoint of the one over entries of the other, or
    without its statements, would look like evidence of a changed past.
    """

    def replace() -> None:
        give_up(state_dir)
        if is_sealed_again:
            seal(state_dir)

    before(name, writer, monkeypatch, replace)
    with pytest.raises((GivenUp, FileNotFoundError)) as refused:
        export(log_folder(state_dir, "acme"), tmp_path / "bundle")
    assert not isinstance(refused.value, SigningError) or refused.value.retryable
    assert list((tmp_path / "bundle").glob("*/checkpoint")) == []
