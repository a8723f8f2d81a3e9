"""A bundle proves itself offline; whatever is changed in it is found, with what and where."""

from __future__ import annotations

import errno
import os
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from queueing.errors import ProofInvalid
from queueing.files.regular_file import read_regular
from queueing.protocol.client_keys import ClientPublicKey
from queueing.transparency.checkpoints import Checkpoint, read_checkpoint, sign_checkpoint
from queueing.transparency.merkle import leaf_hash, root_of
from queueing.transparency.notes import Ed25519NoteKey, read_note, sign_note
from queueing.transparency.tiles import bundle_path, decode_bundle, encode_bundle, tile_path
from tests.support.farm.logged_jobs import CLIENT_KEY, append, intent, job
from tests.support.farm.sealed_logs import EPOCH_KEY, seal
from tests.support.keys import spki_of
from workers.journal.segment_writer import SegmentWriter
from workers.record.bundle import reader as bundle_reader
from workers.record.bundle.findings import Problem
from workers.record.bundle.reader import origins_of
from workers.record.bundle.verification import OriginVerifier
from workers.record.bundle.writer import export
from workers.record.folder import log_folder
from workers.record.items import ItemRow, decode_row, encode_row
from workers.record.volumes import ROW_LENGTH

OTHER_KEY = Ed25519PrivateKey.from_private_bytes(bytes([7] * 32))
JOBS = 200
SIZE = 3 * JOBS + 1
CLIENT = ClientPublicKey.from_spki(spki_of(CLIENT_KEY))


@pytest.fixture(scope="module")
def state_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A record of 601 entries of one tenant: two full blocks and a partial one."""
    folder = tmp_path_factory.mktemp("state")
    writer = SegmentWriter(folder / "wal")
    for number in range(1, JOBS + 1):
        append(writer, *job("acme", number))
    append(writer, *job("globex", 1), intent("globex", 2))
    seal(folder)
    return folder


@pytest.fixture
def bundle(state_dir: Path, tmp_path: Path) -> Path:
    """The whole log of the tenant; the folder of its origin."""
    exported = export(log_folder(state_dir, "acme"), tmp_path / "bundle")
    return tmp_path / "bundle" / exported.checkpoint.origin.rpartition("/")[2]


def verifier(folder: Path, *, key: Ed25519PrivateKey = EPOCH_KEY, clients: bool = True) -> OriginVerifier:
    (reader,) = origins_of(folder.parent)
    origin = f"sigmill/prod/acme/{folder.name}"
    return OriginVerifier(
        reader,
        trusted=[Ed25519NoteKey(origin, key).verifier],
        clients={"build-1": CLIENT} if clients else None,
    )


def problems(folder: Path) -> list[Problem]:
    return list(verifier(folder).run())


def is_found(folder: Path) -> bool:
    """Whether there is a problem; what comes behind the first one is not looked at."""
    return next(iter(verifier(folder).run()), None) is not None


def codes(folder: Path) -> list[str]:
    return [problem.code for problem in problems(folder)]


def test_an_exported_log_holds(bundle: Path) -> None:
    verify = verifier(bundle)
    assert list(verify.run()) == []
    assert verify.verified.entries == SIZE
    assert (verify.verified.signatures, verify.verified.client_signatures) == (JOBS, JOBS)
    assert verify.verified.kinds == {"opened": 1, "intent": JOBS, "outcome": JOBS, "committed": JOBS}


def test_a_range_of_a_log_holds_and_has_the_entries_of_its_time(state_dir: Path, tmp_path: Path) -> None:
    """Times in this log are the numbers of the jobs; the range is rounded to whole bundles."""
    exported = export(log_folder(state_dir, "acme"), tmp_path / "part", from_ms=100, to_ms=120)
    assert (exported.first, exported.end) == (256, 512)
    (reader,) = origins_of(tmp_path / "part")
    folder = tmp_path / "part" / reader.name
    assert not (folder / bundle_path(0)).exists()
    verify = verifier(folder)
    assert list(verify.run()) == []
    assert verify.verified.entries == 256


def test_nothing_of_another_tenant_of_the_host_is_in_a_bundle(bundle: Path) -> None:
    for file in bundle.parent.rglob("*"):
        assert b"globex" not in (file.read_bytes() if file.is_file() else b"")


def change_entry(folder: Path, change: Callable[[list[bytes]], None]) -> list[bytes]:
    file = folder / bundle_path(0)
    entries = decode_bundle(file.read_bytes(), 256)
    change(entries)
    file.write_bytes(encode_bundle(entries))
    return entries


def flip(data: bytes, at: int = -1) -> bytes:
    changed = bytearray(data)
    changed[at] ^= 1
    return bytes(changed)


def flip_entry(entries: list[bytes]) -> None:
    entries[10] = flip(entries[10])


def test_an_entry_that_is_changed_alone_is_named(bundle: Path) -> None:
    """Its hash in the tile is not believed: neither the block nor the root is that of the checkpoint."""
    change_entry(bundle, flip_entry)
    found = problems(bundle)
    assert Problem("entry.changed", f"{bundle.name}/10", found[0].what) in found
    assert {"tree.block", "tree.root"} <= {problem.code for problem in found}


def test_an_entry_that_is_changed_with_its_leaf_tile_is_found(bundle: Path) -> None:
    """The trap of readers that believe the tile that they asked for."""
    entries = change_entry(bundle, flip_entry)
    (bundle / tile_path(0, 0)).write_bytes(b"".join(map(leaf_hash, entries)))
    assert {"tree.block", "tree.root"} <= set(codes(bundle))


def test_an_entry_that_is_changed_with_all_tiles_is_found_by_the_checkpoint(bundle: Path) -> None:
    entries = change_entry(bundle, flip_entry)
    leaves = [leaf_hash(entry) for entry in entries]
    (bundle / tile_path(0, 0)).write_bytes(b"".join(leaves))
    above = bundle / tile_path(1, 0, 2)
    above.write_bytes(root_of(leaves) + above.read_bytes()[32:])
    assert "tree.root" in codes(bundle)
    assert "tree.block" not in codes(bundle)


def swap(entries: list[bytes]) -> None:
    entries[4], entries[5] = entries[5], entries[4]


def remove(entries: list[bytes]) -> None:
    del entries[7]


@pytest.mark.parametrize("change", [swap, remove])
def test_entries_that_are_swapped_or_removed_are_found(
    bundle: Path, change: Callable[[list[bytes]], None]
) -> None:
    change_entry(bundle, change)
    assert problems(bundle)


def proof_files(bundle: Path) -> list[Path]:
    """Files of the proof; ``minimum`` is none: the host says there what it had removed, which no proof can show."""
    return [file for file in sorted(bundle.rglob("*")) if file.is_file() and file.name != "minimum"]


def test_a_bit_that_is_flipped_anywhere_in_the_proof_is_found(bundle: Path) -> None:
    for file in proof_files(bundle):
        whole = file.read_bytes()
        for at in range(0, len(whole), max(len(whole) // 12, 1)):
            file.write_bytes(flip(whole, at))
            assert is_found(bundle), (file.relative_to(bundle), at)
        file.write_bytes(whole)
    assert problems(bundle) == []


def test_a_file_that_is_cut_anywhere_is_found(bundle: Path) -> None:
    for file in sorted(bundle.rglob("*")):
        if file.is_file():
            whole = file.read_bytes()
            for size in (0, 1, len(whole) // 2, len(whole) - 1):
                file.write_bytes(whole[:size])
                assert is_found(bundle), (file.relative_to(bundle), size)
            file.write_bytes(whole + b"\0")
            assert is_found(bundle), f"{file.relative_to(bundle)} is longer"
            file.write_bytes(whole)


def test_a_file_that_is_missing_is_found(bundle: Path) -> None:
    for file in proof_files(bundle):
        moved = file.rename(file.with_suffix(".away"))
        assert is_found(bundle), file.relative_to(bundle)
        moved.rename(file)


@pytest.mark.parametrize("kind", ["link", "folder", "zeros", "pipe"])
@pytest.mark.parametrize(
    "name",
    [
        "checkpoint",
        "range",
        "origin",
        "minimum",
        bundle_path(0),
        tile_path(0, 0),
        tile_path(1, 0, 2),
        "items/000",
    ],
)
def test_a_file_that_is_none_or_is_endless_is_refused(
    bundle: Path, tmp_path: Path, name: str, kind: str
) -> None:
    file = bundle / name
    if kind == "link":
        shutil.move(file, tmp_path / "elsewhere")
        file.symlink_to(tmp_path / "elsewhere")
    else:
        file.unlink()
    if kind == "folder":
        file.mkdir()
    elif kind == "pipe":
        os.mkfifo(file)
    elif kind == "zeros":
        with file.open("wb") as stream:
            stream.truncate(1 << 30)
    found = problems(bundle)
    assert any(name in problem.what or problem.place == bundle.name for problem in found)


@pytest.mark.parametrize("name", ["tile", "tile/entries", "tile/0", "tile/1", "items"])
def test_a_folder_that_is_a_link_out_of_the_bundle_is_refused(
    bundle: Path, tmp_path: Path, name: str
) -> None:
    shutil.move(bundle / name, tmp_path / "elsewhere")
    (bundle / name).symlink_to(tmp_path / "elsewhere")
    assert "leads out of the bundle" in problems(bundle)[0].what


@pytest.mark.parametrize(
    "text", ["0 602", "0 9999999999999999999", "1 601", "602 602", "5 4", "-1 5", "0 601"]
)
def test_a_range_that_is_not_that_of_the_entries_is_refused(bundle: Path, text: str) -> None:
    """However large it says that it is. The last one is the range of the entries, and holds."""
    (bundle / "range").write_text(f"{text}\n")
    assert bool(problems(bundle)) == (text != f"0 {SIZE}")


def resigned(folder: Path, key: Ed25519PrivateKey, **changes: object) -> None:
    head = read_checkpoint(read_note((folder / "checkpoint").read_bytes()).text)
    fields = {"origin": head.origin, "size": head.size, "root": head.root, **changes}
    changed = Checkpoint(**fields)  # type: ignore[arg-type]
    (folder / "checkpoint").write_bytes(sign_checkpoint(changed, Ed25519NoteKey(head.origin, key)))


def test_a_checkpoint_of_another_key_is_refused(bundle: Path) -> None:
    resigned(bundle, OTHER_KEY)
    assert codes(bundle) == ["checkpoint.invalid"]


@pytest.mark.parametrize(
    "changes",
    [
        {"size": SIZE - 1},
        {"size": 0},
        {"root": bytes(32)},
        {"origin": "sigmill/prod/other/0011223344556677"},
        {"origin": "x"},
    ],
)
def test_a_true_signature_over_another_head_proves_nothing_about_these_entries(
    bundle: Path, changes: dict[str, object]
) -> None:
    """An older size, another root, another log: signed by the right key, and not the head of what is here."""
    resigned(bundle, EPOCH_KEY, **changes)
    assert problems(bundle)


def test_a_trusted_key_of_another_log_vouches_for_no_checkpoint_of_this_one(bundle: Path) -> None:
    """The keys of several hosts are in one file; who holds one of them cannot sign for the others."""
    other = Ed25519NoteKey("sigmill/prod/acme/0011223344556677", OTHER_KEY)
    text = read_note((bundle / "checkpoint").read_bytes()).text
    (bundle / "checkpoint").write_bytes(sign_note(text, other))
    (reader,) = origins_of(bundle.parent)
    assert [each.code for each in OriginVerifier(reader, trusted=[other.verifier]).run()] == [
        "checkpoint.invalid"
    ]


def test_each_file_of_a_bundle_is_read_once(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tile of level 1 has the hashes of 256 blocks."""
    opened: Counter[Path] = Counter()

    def counted(file: Path, *, largest_bytes: int) -> bytes:
        opened[file] += 1
        return read_regular(file, largest_bytes=largest_bytes)

    monkeypatch.setattr(bundle_reader, "read_regular", counted)
    assert problems(bundle) == []
    assert set(opened.values()) == {1}
    (bundle / "range").write_text("512 512\n")
    opened.clear()
    assert problems(bundle) == []
    assert opened[bundle / tile_path(1, 0, 2)] == 1
    assert set(opened.values()) == {1}


def test_the_outcome_of_an_intent_before_the_range_is_proven_as_far_as_it_is_here(
    state_dir: Path, tmp_path: Path
) -> None:
    """Its entry has the root over its items, and its envelope the signature of a client."""
    head = export(log_folder(state_dir, "acme"), tmp_path / "part", from_ms=172)
    assert head.first == 512
    folder = tmp_path / "part" / head.checkpoint.origin.rpartition("/")[2]
    verify = verifier(folder)
    assert list(verify.run()) == []
    assert (verify.verified.signatures, verify.verified.client_signatures) == (30, 30)
    for change in (other_job, other_salt, more_signatures, other_signature, lambda _: None):
        whole = (folder / "items" / "002").read_bytes()
        change_row(folder, change, "002")
        assert [each.place for each in problems(folder)] == [f"{folder.name}/512"]
        (folder / "items" / "002").write_bytes(whole)


def change_row(folder: Path, change: Callable[[bytes], bytes | None], name: str = "000") -> None:
    file = folder / "items" / name
    data, offset = file.read_bytes(), 0
    parts: list[bytes] = []
    while offset < len(data):
        (length,) = ROW_LENGTH.unpack_from(data, offset)
        row: bytes | None = data[offset + 4 : offset + 4 + length]
        if not parts:
            row = change(row or b"")
        parts.append(b"" if row is None else ROW_LENGTH.pack(len(row)) + row)
        offset += 4 + length
    file.write_bytes(b"".join(parts))


def changed_row(row: bytes, **changes: object) -> bytes:
    return encode_row(msgspec.structs.replace(decode_row(row), **changes))


def other_job(row: bytes) -> bytes:
    return changed_row(row, sealed=decode_row(row).sealed + b"x")


def more_signatures(row: bytes) -> bytes:
    return changed_row(row, signatures=(bytes(32), bytes(32)), codes=())


def other_salt(row: bytes) -> bytes:
    return changed_row(row, salt=bytes(16))


def other_signature(row: bytes) -> bytes:
    return changed_row(row, signatures=(bytes(32), b""))


def test_a_second_row_of_an_outcome_is_found(bundle: Path) -> None:
    """`audit find` would show it, and only one of both is proven."""
    file = bundle / "items" / "000"
    whole = file.read_bytes()
    row = other_signature(whole[4 : 4 + ROW_LENGTH.unpack_from(whole)[0]])
    file.write_bytes(ROW_LENGTH.pack(len(row)) + row + whole)
    assert codes(bundle)[0] == "items.invalid"
    assert "more than one row for an outcome" in problems(bundle)[0].what


def test_rows_without_end_are_refused_before_they_fill_the_memory(bundle: Path) -> None:
    """A row of a few bytes becomes an object of hundreds; 64 MB of them would be gigabytes."""
    rows = [encode_row(ItemRow(outcome=number, salt=b"", sealed=b"", signatures=())) for number in range(257)]
    (bundle / "items" / "000").write_bytes(b"".join(ROW_LENGTH.pack(len(row)) + row for row in rows))
    assert codes(bundle)[0] == "items.invalid"


@pytest.mark.parametrize("field", ["signatures", "codes"])
def test_a_row_of_more_digests_than_an_envelope_has_is_refused(field: str) -> None:
    row = ItemRow(outcome=1, salt=b"", sealed=b"", signatures=())
    at_most = {"signatures": (b"",) * 1024, "codes": ("",) * 1024}[field]
    decode_row(encode_row(msgspec.structs.replace(row, **{field: at_most})))
    with pytest.raises(ProofInvalid, match="row cannot be read"):
        decode_row(encode_row(msgspec.structs.replace(row, **{field: at_most * 2})))


@pytest.mark.parametrize("change", [other_job, more_signatures, other_salt, lambda _: None])
def test_items_that_are_missing_or_of_another_job_are_found(
    bundle: Path, change: Callable[[bytes], bytes | None]
) -> None:
    change_row(bundle, change)
    (found,) = problems(bundle)
    assert (found.code, found.place) == ("entry.invalid", f"{bundle.name}/2")


def test_items_of_another_tenant_are_found(bundle: Path, state_dir: Path, tmp_path: Path) -> None:
    """They are of an entry with the same number in the log of the other tenant, and true there."""
    head = export(log_folder(state_dir, "globex"), tmp_path / "other").checkpoint
    theirs = tmp_path / "other" / head.origin.rpartition("/")[2] / "items" / "000"
    row = theirs.read_bytes()[ROW_LENGTH.size :]
    change_row(bundle, lambda _: row)
    (found,) = problems(bundle)
    assert (found.code, found.place) == ("entry.invalid", f"{bundle.name}/2")
    shutil.copy(theirs, bundle / "items" / "000")
    assert f"{bundle.name}/2" in {each.place for each in problems(bundle)}


def test_an_envelope_that_its_client_did_not_sign_is_found(bundle: Path) -> None:
    (reader,) = origins_of(bundle.parent)
    stranger = ClientPublicKey.from_spki(spki_of(OTHER_KEY))
    trusted = [Ed25519NoteKey(f"sigmill/prod/acme/{bundle.name}", EPOCH_KEY).verifier]
    found = list(OriginVerifier(reader, trusted=trusted, clients={"build-1": stranger}).run())
    assert len(found) == JOBS
    assert "did not sign its envelope" in found[0].what
    found = list(OriginVerifier(reader, trusted=trusted, clients={}).run())
    assert "no public key of the client build-1" in found[0].what


def test_a_folder_without_an_origin_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ProofInvalid, match="no folder of an origin"):
        origins_of(tmp_path)


def test_a_bundle_of_another_tenant_is_refused_where_the_tenant_is_given(bundle: Path) -> None:
    (reader,) = origins_of(bundle.parent)
    trusted = [Ed25519NoteKey(f"sigmill/prod/acme/{bundle.name}", EPOCH_KEY).verifier]
    assert list(OriginVerifier(reader, trusted=trusted, tenant="acme").run()) == []
    (found,) = OriginVerifier(reader, trusted=trusted, tenant="globex").run()
    assert (found.code, found.what) == (
        "checkpoint.invalid",
        "the checkpoint is of a log of another tenant: acme",
    )


def test_the_log_its_range_and_its_times_are_told(state_dir: Path, tmp_path: Path) -> None:
    """The auditor sees the part that the bundle has: nothing else is verified."""
    exported = export(log_folder(state_dir, "acme"), tmp_path / "part", from_ms=100, to_ms=120)
    verify = verifier(tmp_path / "part" / exported.checkpoint.origin.rpartition("/")[2])
    assert list(verify.run()) == []
    found = verify.verified
    assert (found.log, found.size) == (exported.checkpoint.origin, SIZE)
    assert (found.first, found.end, found.from_ms, found.to_ms) == (256, 512, 86, 171)


def test_a_minimum_behind_entries_that_are_here_is_refused(bundle: Path) -> None:
    (bundle / "minimum").write_text("65536\n")
    (found,) = problems(bundle)
    assert "entries before 65536 were removed, it says, and the range begins at 0" in found.what


class CountedEntries:
    """``Meter`` that keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[int] = []

    def begin(self, entries: int) -> None:
        self.told.append(entries)

    def verified(self, entries: int) -> None:
        self.told.append(entries)


def test_how_far_it_is_is_told_after_each_block(bundle: Path) -> None:
    meter = CountedEntries()
    assert list(verifier(bundle).run(meter)) == []
    assert meter.told == [SIZE, 256, 256, SIZE - 512]


def test_an_origin_that_is_a_link_out_of_the_bundle_is_refused(bundle: Path, tmp_path: Path) -> None:
    shutil.move(bundle, tmp_path / "elsewhere")
    bundle.symlink_to(tmp_path / "elsewhere")
    (found,) = problems(bundle)
    assert (found.code, found.what) == (
        "checkpoint.invalid",
        f"{bundle.name}/checkpoint is a link, or leads out of the bundle",
    )


def test_a_bundle_that_is_reached_by_a_link_holds(bundle: Path, tmp_path: Path) -> None:
    """The user's own link; what is in the bundle is what is not trusted."""
    (tmp_path / "link").symlink_to(bundle.parent)
    assert problems(tmp_path / "link" / bundle.name) == []


@pytest.mark.parametrize("name", ["checkpoint", bundle_path(0), tile_path(0, 0), "items/000"])
def test_a_file_that_may_not_be_read_is_named(
    bundle: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(file: Path, *, largest_bytes: int) -> bytes:
        if file == bundle / name:
            raise PermissionError(errno.EACCES, "Permission denied", str(file))
        return read_regular(file, largest_bytes=largest_bytes)

    monkeypatch.setattr(bundle_reader, "read_regular", refused)
    assert problems(bundle)[0].what == f"{bundle.name}/{name} cannot be read: Permission denied"


def test_a_statement_whose_name_is_no_text_is_told(bundle: Path) -> None:
    (reader,) = origins_of(bundle.parent)
    (bundle / "statements").mkdir(exist_ok=True)
    Path(os.fsdecode(os.fsencode(bundle / "statements") + b"/\xff\x1b[2J")).write_bytes(b"none")
    (found,) = OriginVerifier(reader, service_keys=[spki_of(OTHER_KEY)]).run()
    assert found.code == "checkpoint.invalid"
    assert "no signature lines" in found.what


@pytest.mark.parametrize("length", [0xFFFFFFFF, 0x7FFFFFFF, 1 << 20 | 1])
def test_a_row_that_says_that_it_is_endless_is_refused(bundle: Path, length: int) -> None:
    file = bundle / "items" / "000"
    file.write_bytes(ROW_LENGTH.pack(length) + file.read_bytes()[4:])
    assert codes(bundle)[0] == "items.invalid"


@pytest.mark.parametrize(
    "entry",
    [
        b"\x91" * 60_000,  # arrays in arrays
        b"\xdd\xff\xff\xff\xff",  # an array of 4 billion values
        b"\x93\x01\x01\xdb\xff\xff\xff\xff",  # a text of 4 GB
        b"\x93\x01\xcf\xff\xff\xff\xff\xff\xff\xff\xff\xa6intent",  # a time that no calendar has
        b"",
        b"\xc1",
    ],
)
def test_an_entry_that_is_none_is_named_and_crashes_nothing(bundle: Path, entry: bytes) -> None:
    change_entry(bundle, lambda entries: entries.__setitem__(10, entry))
    assert f"{bundle.name}/10" in {problem.place for problem in problems(bundle)}


def test_a_row_whose_envelope_is_nested_without_end_is_named(bundle: Path) -> None:
    """It is decoded in the verifier: a recursion must be an error of that row."""
    change_row(bundle, lambda row: changed_row(row, sealed=b"\x91" * 150_000))
    assert problems(bundle)[0].place == f"{bundle.name}/2"
