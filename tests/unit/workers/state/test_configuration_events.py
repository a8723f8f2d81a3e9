"""Events of new configurations: one for each file that is another one now, with names and no values."""

from __future__ import annotations

import errno
import hashlib
from pathlib import Path

import pytest

from tests.support.fakes.config_files import Site
from workers.config.snapshots import ConfigurationFiles
from workers.journal.event_records import ConfigurationRecord
from workers.journal.event_spool import EventSpool
from workers.state import adopted_config
from workers.state.adopted_config import AdoptedFiles
from workers.state.configuration_events import MOST_NAMES, ConfigurationEvents

BEFORE = 'epoch = 3\n[clients.build-1]\nkey = "secret-a"\n[limits]\nrate_per_s = 5\n'
AFTER = 'epoch = 4\n[clients.build-1]\nkey = "secret-b"\n[clients.build-2]\nkey = "secret-c"\n[limits]\nrate_per_s = 5\n'


def events(state_dir: Path) -> list[ConfigurationRecord]:
    """Those that wait, by tenant."""
    found = [record for each in EventSpool(state_dir).waiting() for record in each.records]
    return sorted([each for each in found if isinstance(each, ConfigurationRecord)], key=lambda r: r.tenant)


def no_space(_: EventSpool, *records: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_changed_file_is_one_event_with_the_names_of_its_changes(tmp_path: Path) -> None:
    """And no value: a tenant's record is read by others than the operator."""
    ConfigurationEvents(tmp_path).record({"acme": (BEFORE, AFTER), "globex": (BEFORE, BEFORE)})
    (event,) = events(tmp_path)
    assert (event.tenant, event.epoch) == ("acme", 4)
    assert event.sha256 == hashlib.sha256(AFTER.encode()).digest()
    assert event.changed == ("clients.build-1.key", "clients.build-2", "epoch")
    (file,) = (tmp_path / "events").iterdir()
    assert b"secret" not in file.read_bytes()


def test_of_the_services_file_only_tables_are_named(tmp_path: Path) -> None:
    """Each tenant's record has the event, and below are names of other tenants and their tokens."""
    before = '[service]\nepoch = 1\n[tokens.globex]\nmodule = "a"\n'
    after = '[service]\nepoch = 2\n[tokens.globex]\nmodule = "b"\n'
    ConfigurationEvents(tmp_path).record({"": (before, after)})
    (event,) = events(tmp_path)
    assert (event.tenant, event.epoch, event.changed) == ("", 2, ("service", "tokens"))


def test_a_new_file_has_no_names(tmp_path: Path) -> None:
    """All of it is new."""
    ConfigurationEvents(tmp_path).record({"acme": (None, AFTER)})
    assert [(event.epoch, event.changed) for event in events(tmp_path)] == [(4, ())]


def test_very_many_changes_are_cut(tmp_path: Path) -> None:
    many = "".join(f"[clients.c{n}]\nkey = 1\n" for n in range(100))
    ConfigurationEvents(tmp_path).record({"acme": ("epoch = 1\n[clients]\n", many)})
    (event,) = events(tmp_path)
    assert (len(event.changed), event.changed[-1]) == (MOST_NAMES, "...")


def test_a_change_that_was_recorded_is_not_recorded_again(tmp_path: Path) -> None:
    """While the disk takes no copy of the file, it is tried every few seconds."""
    made = ConfigurationEvents(tmp_path)
    for _ in range(3):
        made.record({"acme": (BEFORE, AFTER)})
    assert len(events(tmp_path)) == 1
    made.record({"acme": (AFTER, BEFORE)})
    assert len(events(tmp_path)) == 2


def test_a_disk_that_takes_no_event_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The configuration is in force nevertheless."""
    monkeypatch.setattr(EventSpool, "put", no_space)
    ConfigurationEvents(tmp_path).record({"acme": (BEFORE, AFTER)})
    assert [record.message for record in caplog.records] == ["events.not_kept"]


def test_events_that_the_disk_did_not_take_are_kept_first_when_it_is_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of them once, in order: the copy of the file may be the new one by then."""
    made = ConfigurationEvents(tmp_path)
    with monkeypatch.context() as disk:
        disk.setattr(EventSpool, "put", no_space)
        made.record({"acme": (BEFORE, AFTER)})
        made.record({"acme": (AFTER, AFTER)})
        assert made.unkept == 1
    made.record({"acme": (AFTER, BEFORE)})
    assert made.unkept == 0
    assert [event.epoch for event in events(tmp_path)] == [4, 3]


def test_an_event_is_kept_later_where_the_disk_took_the_copy_and_not_the_event(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = Site(tmp_path).write()
    files = ConfigurationFiles(site.config)
    with monkeypatch.context() as disk:
        disk.setattr(EventSpool, "put", no_space)
        files.adopt(files.read())
        assert (files.unremembered, files.unwritten) == (0, True)
    files.remember_again()
    assert not files.unwritten
    assert [event.tenant for event in events(site.folder / "state")] == ["", "acme"]


def adopt(site: Site) -> None:
    files = ConfigurationFiles(site.config)
    files.adopt(files.read())


def test_a_start_records_what_differs_from_the_adopted_copies(tmp_path: Path) -> None:
    """All files at the first one, none at the next, and then only those that changed."""
    site = Site(tmp_path).write()
    state_dir = site.folder / "state"
    adopt(site)
    assert [event.tenant for event in events(state_dir)] == ["", "acme"]
    adopt(site)
    assert len(events(state_dir)) == 2
    text = site.tenant_file().read_text()
    site.tenant_file().write_text(text.replace("epoch = 4", "epoch = 5"))
    adopt(site)
    assert [(event.tenant, event.epoch) for event in events(state_dir)] == [("", 0), ("acme", 4), ("acme", 5)]


def test_an_event_is_kept_before_the_copy_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A crash in between records it twice, and never loses it."""
    site = Site(tmp_path).write()
    waiting: list[int] = []

    def keep(copies: AdoptedFiles, *texts: object) -> dict[Path, OSError]:
        waiting.append(len(events(site.folder / "state")))
        return {}

    monkeypatch.setattr(adopted_config.AdoptedFiles, "keep", keep)
    adopt(site)
    assert waiting == [2]
