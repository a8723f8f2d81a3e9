"""Old volumes of a log go, at any crash in between, and what is left is proven as before."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from queueing.transparency.checkpoints import Checkpoint, read_checkpoint
from queueing.transparency.merkle import leaf_hash
from queueing.transparency.notes import Ed25519NoteKey, read_note
from queueing.transparency.proofs import (
    consistency_proof,
    inclusion_proof,
    verify_consistency,
    verify_inclusion,
)
from queueing.unix_time import HostClock
from tests.support.farm.certified_logs import root_at
from tests.support.farm.logged_jobs import append, job
from tests.support.farm.long_logs import LATE_KEY, NEW_KEY, OLD_KEY, SIZE, long_log
from tests.support.farm.sealed_logs import EPOCH_KEY, run_to_end, sealer
from workers.journal.segment_writer import SegmentWriter
from workers.record import pruning
from workers.record.bundle.reader import origins_of
from workers.record.bundle.verification import OriginVerifier
from workers.record.bundle.writer import export
from workers.record.folder import FOLDER_NAME, log_folder
from workers.record.pruning import Pruning
from workers.record.retention.clock import FILE_NAME as CLOCK
from workers.record.retention.clock import MOST_PAUSE_MS, RecordClock
from workers.record.retention.marks import DAY_MS, Mark, note_size, read_marks
from workers.record.retention.minimum import EntriesRemoved, read_minimum, write_minimum
from workers.record.retention.policy import RetentionPolicy
from workers.record.stored_entries import StoredEntries
from workers.record.stored_hashes import StoredHashes
from workers.record.volumes import VOLUME, RecordDamaged

TWO_YEARS = 730
BEGAN_MS = 1_800_000_000_000


class Clocks(HostClock):
    """Clocks of a host; a boot is a number."""

    def __init__(self) -> None:
        self.host_ms = BEGAN_MS
        self.passed_ms = 1_000
        self.boots = 1

    def pass_days(self, days: float) -> None:
        self.host_ms += int(days * DAY_MS)
        self.passed_ms += int(days * DAY_MS)

    def reboot(self) -> None:
        self.boots += 1
        self.passed_ms = 0

    def of(self, record: Path) -> RecordClock:
        return RecordClock(record, self)

    def wall_s(self) -> float:
        return self.host_ms / 1000

    def since_boot_ms(self) -> int:
        return self.passed_ms

    def boot_id(self) -> str:
        return f"boot-{self.boots}"


class Killed(BaseException):
    """The process ends here."""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    state_dir = tmp_path_factory.mktemp("made")
    long_log(state_dir)
    return state_dir


@pytest.fixture
def state_dir(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "state"))


@pytest.fixture
def clocks() -> Clocks:
    return Clocks()


def prune(state_dir: Path, clocks: Clocks, *, ends_ms: dict[bytes, int] | None = None) -> int:
    """Search for old volumes; returns the minimum."""
    return later(state_dir, clocks, 0, ends_ms=ends_ms)


def later(state_dir: Path, clocks: Clocks, days: float, *, ends_ms: dict[bytes, int] | None = None) -> int:
    """Search for old volumes now, and then each month for so many days, as a running sealer does; returns the minimum."""
    record = state_dir / FOLDER_NAME
    policy = RetentionPolicy(retain_days=TWO_YEARS, certificate_ends_ms=ends_ms or {})
    search = Pruning(record, clocks.of(record))
    search.run({"acme": SIZE}, policy)
    while days > 0:
        clocks.pass_days(min(days, 30.0))
        days -= 30.0
        search.run({"acme": SIZE}, policy)
    return read_minimum(log_folder(state_dir, "acme"))


def linked(source: str, to: str) -> None:
    """Copy a file, but link one that is only ever removed."""
    if source.endswith(".bin"):
        os.link(source, to)
    else:
        shutil.copy2(source, to)


def checkpoint(state_dir: Path) -> Checkpoint:
    note = (log_folder(state_dir, "acme") / "checkpoint").read_bytes()
    return read_checkpoint(read_note(note).text)


def bins(state_dir: Path) -> set[str]:
    folder = log_folder(state_dir, "acme")
    return {str(file.relative_to(folder)) for file in folder.rglob("*.bin")}


def check_valid(state_dir: Path) -> None:
    """Every entry from the minimum on is there and proven, and the export of it is verified."""
    folder, head = log_folder(state_dir, "acme"), checkpoint(state_dir)
    minimum = read_minimum(folder)
    hashes = StoredHashes(folder)
    for index, entry in StoredEntries(folder, head.size).entries(minimum):
        if index % 16_384 in {0, 1, 255} or index >= 2 * VOLUME:
            proof = inclusion_proof(hashes, index, head.size)
            verify_inclusion(leaf_hash(entry), index, head.size, proof, head.root)
    out = state_dir / "bundle"
    export(folder, out)
    (origin,) = origins_of(out)
    key = Ed25519NoteKey(head.origin, EPOCH_KEY).verifier
    verifier = OriginVerifier(origin, trusted=[key])
    assert list(verifier.run()) == []
    assert verifier.verified.entries == head.size - minimum
    assert verifier.verified.minimum == minimum
    shutil.rmtree(out)


def test_full_volumes_go_when_they_are_as_old_as_the_policy_says(state_dir: Path, clocks: Clocks) -> None:
    assert later(state_dir, clocks, TWO_YEARS - 0.1) == 0
    assert later(state_dir, clocks, 0.2) == 2 * VOLUME
    assert {name for name in bins(state_dir) if "/" in name} == {
        "entries/000002.bin",
        "items/000002.bin",
        "level0/000002.bin",
    }
    check_valid(state_dir)


def test_a_file_of_another_name_is_not_ours_and_stops_nothing(state_dir: Path, clocks: Clocks) -> None:
    """A copy that a person made beside a volume, or of the hashes above."""
    folder = log_folder(state_dir, "acme")
    strays = [folder / kind / "000000 (copy).bin" for kind in ("entries", "items", "level0")]
    for stray in (*strays, folder / "level1 (copy).bin"):
        stray.write_bytes(b"")
    sealer(state_dir)
    assert sum(1 for _ in StoredEntries(folder, SIZE).rows(0))
    assert later(state_dir, clocks, TWO_YEARS + 1) == 2 * VOLUME
    assert all(stray.exists() for stray in (*strays, folder / "level1 (copy).bin"))


def test_a_log_without_one_of_its_files_costs_itself(state_dir: Path, clocks: Clocks) -> None:
    """It is told, and the logs behind it are pruned."""
    record = state_dir / FOLDER_NAME
    (record / "logs" / "absent").mkdir()
    policy = RetentionPolicy(retain_days=TWO_YEARS)
    search = Pruning(record, clocks.of(record))
    for _ in range(26):
        search.run({"absent": VOLUME, "acme": SIZE}, policy)
        clocks.pass_days(30)
    assert read_minimum(log_folder(state_dir, "acme")) == 2 * VOLUME
    assert len(search.problems) == 1
    assert "absent: " in search.problems[0]


def test_a_volume_that_is_not_full_stays_whatever_its_age(state_dir: Path, clocks: Clocks) -> None:
    assert later(state_dir, clocks, 3 * TWO_YEARS) == 2 * VOLUME


def test_without_a_policy_nothing_goes(state_dir: Path, clocks: Clocks) -> None:
    record = state_dir / FOLDER_NAME
    for _ in range(40):
        clocks.pass_days(30)
        assert Pruning(record, clocks.of(record)).run({"acme": SIZE}, None) == []
    assert read_minimum(log_folder(state_dir, "acme")) == 0


def test_entries_are_kept_from_the_end_of_the_certificate_of_their_key(
    state_dir: Path, clocks: Clocks
) -> None:
    """The first volume's key has a certificate that ends a year after the entries, that of the second one none."""
    ends = {OLD_KEY: BEGAN_MS + 365 * DAY_MS}
    assert later(state_dir, clocks, TWO_YEARS + 364, ends_ms=ends) == 0
    assert later(state_dir, clocks, 2, ends_ms=ends) == 2 * VOLUME


def test_a_certificate_of_a_later_volume_keeps_that_volume_alone(state_dir: Path, clocks: Clocks) -> None:
    ends = {NEW_KEY: BEGAN_MS + 3650 * DAY_MS}
    assert later(state_dir, clocks, TWO_YEARS + 1, ends_ms=ends) == VOLUME
    check_valid(state_dir)


def test_an_intent_is_kept_for_the_certificate_of_its_outcome_in_the_next_volume(
    tmp_path: Path, clocks: Clocks
) -> None:
    """The outcome stays for years after the certificate's end, and would have lost its intent."""
    long_log(tmp_path, across=3)
    ends = {LATE_KEY: BEGAN_MS + 365 * DAY_MS}
    assert later(tmp_path, clocks, TWO_YEARS + 364, ends_ms=ends) == 0
    assert later(tmp_path, clocks, 2, ends_ms=ends) == 2 * VOLUME
    check_valid(tmp_path)


def test_an_intent_is_kept_as_long_as_its_outcome_in_the_next_volume(tmp_path: Path, clocks: Clocks) -> None:
    """The volume was full a month before the outcome came."""
    long_log(tmp_path, across=3)
    record = tmp_path / FOLDER_NAME
    Pruning(record, clocks.of(record)).run({"acme": VOLUME}, RetentionPolicy(retain_days=TWO_YEARS))
    clocks.pass_days(30)
    assert later(tmp_path, clocks, TWO_YEARS - 1) == 0
    assert later(tmp_path, clocks, 2) == 2 * VOLUME


def test_an_intent_without_an_end_keeps_its_volume_for_all_keys_that_signed_meanwhile(
    tmp_path: Path, clocks: Clocks, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Any of them may have signed for it. Where the log ends before the limit, it is known to have no end."""
    long_log(tmp_path, across=1)
    ends = {NEW_KEY: BEGAN_MS + 365 * DAY_MS}
    with monkeypatch.context() as short:
        short.setattr(pruning, "MOST_LATER", 100)
        assert later(tmp_path, clocks, TWO_YEARS + 364, ends_ms=ends) == 0
    assert prune(tmp_path, clocks, ends_ms=ends) == VOLUME


def test_old_proofs_hold_when_the_entries_are_gone(state_dir: Path, clocks: Clocks) -> None:
    """An inclusion proof and a checkpoint from before: the checkpoint is consistent with each later one."""
    folder, head = log_folder(state_dir, "acme"), checkpoint(state_dir)
    entry = next(StoredEntries(folder, head.size).entries(300))[1]
    proof = inclusion_proof(StoredHashes(folder), 300, head.size)
    old = {size: root_at(folder, size) for size in (256, 70_144, 2 * VOLUME, 2 * VOLUME + 1)}
    later(state_dir, clocks, TWO_YEARS + 1)
    now = checkpoint(state_dir)
    verify_inclusion(leaf_hash(entry), 300, now.size, proof, now.root)
    for size, root in old.items():
        consistency = consistency_proof(StoredHashes(folder), size, now.size)
        verify_consistency(size, root, now.size, now.root, consistency)


def test_what_was_removed_is_told_in_a_sentence(state_dir: Path, clocks: Clocks) -> None:
    folder = log_folder(state_dir, "acme")
    later(state_dir, clocks, TWO_YEARS + 1)
    stored = StoredEntries(folder, SIZE)
    for asked in (
        lambda: next(stored.entries(300)),
        lambda: next(stored.rows(0)),
        lambda: inclusion_proof(StoredHashes(folder), 300, SIZE),
        lambda: export(folder, state_dir / "bundle", to_ms=2),
    ):
        with pytest.raises(EntriesRemoved, match="entries before number 131,072 were removed by retention"):
            asked()


def test_a_reader_is_told_what_is_removed_meanwhile(state_dir: Path, clocks: Clocks) -> None:
    """It has begun with the first volume, and comes to the second one when that is no longer there."""
    reading = StoredEntries(log_folder(state_dir, "acme"), SIZE).entries(VOLUME - 1)
    assert next(reading)[0] == VOLUME - 1
    later(state_dir, clocks, TWO_YEARS + 1)
    with pytest.raises(EntriesRemoved, match="131,072"):
        next(reading)


STEPS = ("open", "fsync", "replace", "unlink")


@contextmanager
def killed_at(call: str, number: int) -> Iterator[list[int]]:
    """The process ends before the call with this number."""
    real: Callable[..., Any] = getattr(os, call)
    count = [0]

    def counted(*args: Any, **more: Any) -> Any:
        count[0] += 1
        if count[0] == number:
            raise Killed
        return real(*args, **more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, call, counted)
        yield count


@pytest.mark.parametrize("call", STEPS)
def test_a_crash_at_any_step_leaves_a_valid_log_and_the_next_search_finishes(
    state_dir: Path, clocks: Clocks, tmp_path: Path, call: str
) -> None:
    later(state_dir, clocks, TWO_YEARS - 0.1)
    clocks.pass_days(1)
    with killed_at(call, 0) as count:
        prune(Path(shutil.copytree(state_dir, tmp_path / "counted", copy_function=linked)), clocks)
    assert count[0]
    for number in range(1, count[0] + 1):
        copy = Path(shutil.copytree(state_dir, tmp_path / f"{call}{number}", copy_function=linked))
        with killed_at(call, number), pytest.raises(Killed):
            prune(copy, clocks)
        minimum = read_minimum(log_folder(copy, "acme"))
        assert minimum in {0, 2 * VOLUME}
        assert bins(copy) == bins(state_dir) or minimum, "no file goes before the minimum says so"
        entries = StoredEntries(log_folder(copy, "acme"), SIZE)
        assert sum(1 for _ in entries.entries(minimum)) == SIZE - minimum
        assert prune(copy, clocks) == 2 * VOLUME
        assert not any(f"/00000{volume}." in name for name in bins(copy) for volume in (0, 1))
        shutil.rmtree(copy)


def test_a_log_is_valid_between_any_two_removed_files(state_dir: Path, clocks: Clocks) -> None:
    """The whole check, at one such moment: the minimum is raised, and half of the files are gone."""
    later(state_dir, clocks, TWO_YEARS - 0.1)
    clocks.pass_days(1)
    with killed_at("unlink", 4), pytest.raises(Killed):
        prune(state_dir, clocks)
    assert read_minimum(log_folder(state_dir, "acme")) == 2 * VOLUME
    check_valid(state_dir)


def test_a_sealer_continues_a_pruned_log(state_dir: Path, clocks: Clocks) -> None:
    later(state_dir, clocks, TWO_YEARS + 1)
    before = checkpoint(state_dir)
    append(SegmentWriter(state_dir / "wal"), *job("acme", 3))
    writer = sealer(state_dir)
    run_to_end(writer)
    writer.keep()
    head = checkpoint(state_dir)
    assert head.size == before.size + 3
    hashes = StoredHashes(log_folder(state_dir, "acme"))
    proof = consistency_proof(hashes, before.size, head.size)
    verify_consistency(before.size, before.root, head.size, head.root, proof)
    check_valid(state_dir)


def test_a_record_that_was_kept_is_not_begun_again_where_sealed_is_lost(
    state_dir: Path, clocks: Clocks
) -> None:
    """The write-ahead log does not have all of it any more, so its files are not cut."""
    later(state_dir, clocks, 1)
    before = bins(state_dir)
    sizes = {name: (log_folder(state_dir, "acme") / name).stat().st_size for name in before}
    (state_dir / FOLDER_NAME / "sealed").unlink()
    with pytest.raises(RecordDamaged, match="sealed is missing"):
        sealer(state_dir)
    assert {name: (log_folder(state_dir, "acme") / name).stat().st_size for name in before} == sizes


def test_a_clock_that_is_years_ahead_removes_nothing(state_dir: Path, clocks: Clocks) -> None:
    """Not while the host is up, not over boots, and not when the clock is right again."""
    later(state_dir, clocks, 400)
    clocks.host_ms += 20 * 365 * DAY_MS
    assert later(state_dir, clocks, 1) == 0
    clocks.reboot()
    clocks.host_ms += 20 * 365 * DAY_MS
    assert prune(state_dir, clocks) == 0
    clocks.reboot()
    clocks.host_ms -= 40 * 365 * DAY_MS
    assert prune(state_dir, clocks) == 0
    assert later(state_dir, clocks, 730 - 400 - 31 - 2) == 0
    assert later(state_dir, clocks, 40) == 2 * VOLUME


def test_a_clock_that_is_years_behind_removes_nothing(state_dir: Path, clocks: Clocks) -> None:
    later(state_dir, clocks, 100)
    clocks.reboot()
    clocks.host_ms = 0
    assert later(state_dir, clocks, 600) == 0


def test_a_pause_counts_for_a_month_at_most(state_dir: Path, clocks: Clocks) -> None:
    later(state_dir, clocks, 1)
    clocks.pass_days(3650)
    clocks.reboot()
    assert prune(state_dir, clocks) == 0
    assert clocks.of(state_dir / FOLDER_NAME).advance(None).record_ms == BEGAN_MS + DAY_MS + MOST_PAUSE_MS


def test_a_clock_whose_file_is_lost_continues_from_the_newest_mark(state_dir: Path, clocks: Clocks) -> None:
    """The host's clock may be ahead at that time, so that it is not asked."""
    later(state_dir, clocks, 100)
    (state_dir / FOLDER_NAME / CLOCK).write_bytes(b"\0" * 80)
    clocks.host_ms += 20 * 365 * DAY_MS
    assert prune(state_dir, clocks) == 0
    assert later(state_dir, clocks, 600) == 0
    assert later(state_dir, clocks, TWO_YEARS - 600 + 1) == 2 * VOLUME


def test_damaged_marks_make_entries_younger_and_never_older(tmp_path: Path) -> None:
    for day in range(3):
        note_size(tmp_path, (day + 1) * DAY_MS, day + 1)
    assert read_marks(tmp_path) == [Mark((day + 1) * DAY_MS, day + 1) for day in range(3)]
    file = tmp_path / "marks"
    whole = file.read_bytes()
    for place in range(len(whole)):
        file.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        assert read_marks(tmp_path) == [
            Mark((day + 1) * DAY_MS, day + 1) for day in range(3) if day != place // 20
        ]
    file.write_bytes(whole[:47])
    assert note_size(tmp_path, 9 * DAY_MS, 9)[-1] == Mark(9 * DAY_MS, 9)
    assert [mark.size for mark in read_marks(tmp_path)] == [1, 2, 9]


def test_a_damaged_minimum_removes_nothing_and_costs_its_own_log(
    state_dir: Path, made: Path, clocks: Clocks
) -> None:
    folder, before = log_folder(state_dir, "acme"), bins(state_dir)
    shutil.copytree(log_folder(made, "acme"), log_folder(state_dir, "globex"))
    write_minimum(folder, VOLUME)
    raw = (folder / "minimum").read_bytes()
    (folder / "minimum").write_bytes(raw[:-1] + bytes([raw[-1] ^ 1]))
    record = state_dir / FOLDER_NAME
    search = Pruning(record, clocks.of(record))
    for _ in range(30):
        search.run({"acme": SIZE, "globex": SIZE}, RetentionPolicy(retain_days=TWO_YEARS))
        clocks.pass_days(30)
    assert bins(state_dir) == before
    assert read_minimum(log_folder(state_dir, "globex")) == 2 * VOLUME
    (problem,) = search.problems
    assert "minimum is damaged" in problem


def test_the_oldest_entry_is_the_first_that_is_there(state_dir: Path, clocks: Clocks) -> None:
    record = state_dir / FOLDER_NAME
    search = Pruning(record, clocks.of(record))
    policy = RetentionPolicy(retain_days=TWO_YEARS)
    search.run({"acme": SIZE}, policy)
    assert search.oldest_ms == 1
    later(state_dir, clocks, TWO_YEARS + 1)
    search.run({"acme": SIZE}, policy)
    assert search.oldest_ms == 2
