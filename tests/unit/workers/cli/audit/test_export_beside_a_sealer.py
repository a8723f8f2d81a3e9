"""``sigmill audit export`` while a sealer that was killed makes entries of its last checkpoint again."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Final

import pytest
from click.testing import CliRunner, Result

from queueing.errors import ProofInvalid
from tests.support.fakes.config_files import Site
from tests.support.farm.logged_jobs import append, job
from tests.support.farm.sealed_logs import run_to_end, sealer
from workers.cli.audit import audit
from workers.cli.audit import export as module
from workers.cli.audit.export import SealedAgain
from workers.cli.shell.output import Exit, Output
from workers.journal.segment_writer import SegmentWriter
from workers.record.bundle.writer import Exported, export
from workers.record.folder import log_folder
from workers.record.retention.minimum import EntriesRemoved

KEPT: Final = 4
"""Entries of the first job and of the log's beginning, which are durable; the second job is in the checkpoint alone."""


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """A host whose sealer was killed after the checkpoint of a second job."""
    made = Site(tmp_path).write()
    state = state_of(made)
    log = SegmentWriter(state / "wal")
    append(log, *job("acme", 1))
    writer = sealer(state)
    run_to_end(writer)
    writer.keep()
    assert writer.entries == {"acme": KEPT}
    append(log, *job("acme", 2))
    run_to_end(writer)
    return made


def state_of(site: Site) -> Path:
    return site.folder / "state"


def run(site: Site) -> Result:
    words = ["export", "--config", str(site.config), "--tenant", "acme", "--out", str(site.folder / "bundle")]
    return CliRunner().invoke(audit, words, obj=Output(as_json=False), standalone_mode=False)


class Pauses:
    """Pauses of the command, in the first of which the sealer makes everything again."""

    def __init__(self, site: Site) -> None:
        self.count = 0
        self._next = sealer(state_of(site))  # it cuts the files to what is durable

    def sleep(self, _: float) -> None:
        self.count += 1
        run_to_end(self._next)


def test_an_export_waits_for_the_entries_that_are_made_again(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are in the write-ahead log: nothing is missing, and nothing is evidence of anything."""
    pauses = Pauses(site)
    monkeypatch.setattr(module, "pause", pauses.sleep)
    result = run(site)
    assert (result.exception, result.return_value, pauses.count) == (None, Exit.DONE, 1)
    assert "7 of 7 entries" in result.stderr


def test_an_export_of_which_a_part_is_removed_meanwhile_is_tried_again(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By then the log begins behind what was removed."""
    run_to_end(sealer(state_of(site)))
    removed = [EntriesRemoved("removed")]

    def once(*arguments: Any, **more: Any) -> Exported:
        if removed:
            raise removed.pop()
        return export(*arguments, **more)

    monkeypatch.setattr(module, "export", once)
    result = run(site)
    assert (result.exception, result.return_value) == (None, Exit.DONE)


def test_an_export_ends_with_try_again_where_no_sealer_goes_on(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit code 75, and no word of evidence."""
    sealer(state_of(site))
    monkeypatch.setattr(module, "MOST_WAIT_S", 0.0)
    error = run(site).exception
    assert isinstance(error, SealedAgain)
    assert "Try again in a minute" in error.hint


@pytest.mark.parametrize("kind", ["entries", "items", "level0"])
def test_files_that_are_shorter_than_what_is_durable_are_an_alarm(site: Site, kind: str) -> None:
    """No sealer makes that again."""
    sealer(state_of(site))
    file = log_folder(state_of(site), "acme") / kind / "000000.bin"
    os.truncate(file, file.stat().st_size - 1)
    assert isinstance(run(site).exception, ProofInvalid)


def test_files_without_anything_that_says_what_is_durable_are_an_alarm(site: Site) -> None:
    """The record began long ago, and `sealed` was removed with the entries."""
    sealer(state_of(site))
    (state_of(site) / "record/clock").write_bytes(b"")
    (state_of(site) / "record/sealed").unlink()
    assert isinstance(run(site).exception, ProofInvalid)
