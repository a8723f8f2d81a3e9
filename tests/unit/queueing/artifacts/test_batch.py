"""Many files in one run: each has its outcome, and a file that fails is as it was."""

from __future__ import annotations

import asyncio
import errno
import io
import mmap
import os
import stat
from contextlib import nullcontext
from pathlib import Path
from typing import BinaryIO

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from queueing.artifacts import batch, cms
from queueing.artifacts.batch import Artifact
from queueing.artifacts.pe import PeFile, read_pe
from queueing.artifacts.preparation import IfSigned, Order
from queueing.artifacts.targets import Target
from queueing.artifacts.time_stamps.tokens import TimeStamp
from queueing.errors import OutputUnwritable, PolicyDenied, TimeStampUnavailable
from queueing.protocol import der
from queueing.protocol.algorithms import Algorithm
from tests.support.artifacts.local_signer import LocalSigner
from tests.support.artifacts.pe_files import pe_file
from tests.support.artifacts.runs import Outcomes, sign
from tests.support.certificates import issue
from tests.support.disk.calls import DiskCalls


@pytest.fixture(scope="module")
def key() -> LocalSigner:
    return LocalSigner.p256()


@pytest.fixture(scope="module")
def other() -> LocalSigner:
    return LocalSigner.p256("other")


def files(folder: Path, count: int) -> list[Path]:
    made = [folder / f"{i}.exe" for i in range(count)]
    for i, file in enumerate(made):
        file.write_bytes(pe_file(overlay=bytes([i % 256, i // 256])))
    return made


def signatures(file: Path) -> int:
    with file.open("rb") as stream:
        return len(read_pe(stream, file.stat().st_size).signatures)


async def test_each_file_has_one_outcome_in_order(key: LocalSigner, tmp_path: Path) -> None:
    """More files than are under way at once; one that is no PE fails alone."""
    made = files(tmp_path, 700)
    made[300].write_bytes(b"text")
    outcomes = await sign(key, *made)
    assert [x.artifact.path for x in outcomes.all] == made
    assert outcomes.words() == ["signed"] * 300 + ["artifact.invalid"] + ["signed"] * 399
    assert made[300].read_bytes() == b"text"
    assert {signatures(file) for file in made if file != made[300]} == {1}
    assert sorted(tmp_path.iterdir()) == sorted(made)  # nothing else is left


async def test_a_rerun_signs_what_is_not_done(key: LocalSigner, tmp_path: Path) -> None:
    """Files with a signature of this key over their content stay as they are, byte for byte; no signature is made for them."""
    made = files(tmp_path, 3)
    await sign(key, *made[:2])
    before = [file.read_bytes() for file in made[:2]]
    signed = len(key.signed)
    outcomes = await sign(key, *made, if_signed=IfSigned.REPLACE)
    assert outcomes.words() == ["unchanged", "unchanged", "signed"]
    assert len(key.signed) == signed + 1
    assert [file.read_bytes() for file in made[:2]] == before


async def test_a_file_that_was_changed_after_signing_is_not_done(key: LocalSigner, tmp_path: Path) -> None:
    """Its signature is this key's, and over other content."""
    (file,) = files(tmp_path, 1)
    await sign(key, file)
    raw = bytearray(file.read_bytes())
    raw[0x210] ^= 1
    file.write_bytes(raw)
    assert (await sign(key, file)).words() == ["artifact.signed"]
    assert (await sign(key, file, if_signed=IfSigned.REPLACE)).words() == ["signed"]


async def test_another_signature_is_refused_replaced_or_kept_by_choice(
    key: LocalSigner, other: LocalSigner, tmp_path: Path
) -> None:
    """The refusal names the other signer; an appended signature is nested, and found by a rerun."""
    refused, replaced, appended = files(tmp_path, 3)
    await sign(other, refused, replaced, appended)
    before = refused.read_bytes()
    outcomes = await sign(key, refused)
    assert outcomes.words() == ["artifact.signed"]
    assert "CN=other" in outcomes.message()
    assert refused.read_bytes() == before
    assert (await sign(key, replaced, if_signed=IfSigned.REPLACE)).words() == ["signed"]
    assert (await sign(other, replaced)).words() == ["artifact.signed"]
    assert (await sign(key, appended, if_signed=IfSigned.APPEND)).words() == ["signed"]
    assert signatures(appended) == 1
    assert (await sign(key, appended)).words() == ["unchanged"]
    assert (await sign(other, appended)).words() == ["unchanged"]
    third = LocalSigner.p256("third")
    assert (await sign(third, appended, if_signed=IfSigned.APPEND)).words() == ["signed"]
    assert [(await sign(each, appended)).words()[0] for each in (key, other, third)] == ["unchanged"] * 3


async def test_a_second_signature_of_an_efi_image_is_a_table_entry(
    key: LocalSigner, other: LocalSigner, tmp_path: Path
) -> None:
    """Firmware knows no nested signatures."""
    file = tmp_path / "boot.efi"
    file.write_bytes(pe_file(subsystem=10))
    await sign(other, file)
    assert (await sign(key, file, if_signed=IfSigned.APPEND)).words() == ["signed"]
    assert signatures(file) == 2


async def test_a_signature_that_cannot_be_read_is_not_appended_to(key: LocalSigner, tmp_path: Path) -> None:
    """It can be replaced, and the hint says so."""
    (file,) = files(tmp_path, 1)
    with file.open("rb") as stream, (tmp_path / "odd.exe").open("wb") as to:
        read_pe(stream, file.stat().st_size).write(stream, to, (b"\x30\x80garbage",), "sha256")
    odd = tmp_path / "odd.exe"
    assert (await sign(key, odd, if_signed=IfSigned.APPEND)).words() == ["artifact.invalid"]
    assert (await sign(key, odd)).words() == ["artifact.signed"]
    assert (await sign(key, odd, if_signed=IfSigned.REPLACE)).words() == ["signed"]


async def test_a_denied_signature_fails_its_file_alone(key: LocalSigner, tmp_path: Path) -> None:
    """The file is as it was."""
    made = files(tmp_path, 2)
    before = made[0].read_bytes()
    key.fail_next = PolicyDenied("outside its hours")
    outcomes = await sign(key, *made)
    assert outcomes.words() == ["policy.denied", "signed"]
    assert made[0].read_bytes() == before


NAMES = [b"a b.exe", b"a\nb.exe", b'it\'s "q".exe', b"\xff\xfe.exe", b"-rf.exe", b"$(x).exe", b"*.exe"]


async def test_any_file_name_is_signed(key: LocalSigner, tmp_path: Path) -> None:
    """Spaces, newlines, quotes, bytes that are no UTF-8, leading dashes; in place and below a folder."""
    made = [Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name)) for name in NAMES]
    for file in made:
        file.write_bytes(pe_file())
    assert (await sign(key, *made, out_dir=tmp_path / "out")).words() == ["signed"] * len(NAMES)
    assert (await sign(key, *made)).words() == ["signed"] * len(NAMES)
    assert {os.fsencode(file.name) for file in (tmp_path / "out").iterdir()} == {*NAMES}


async def test_mode_and_link_stay(key: LocalSigner, tmp_path: Path) -> None:
    """The file behind a symbolic link is signed; an output has the mode of its input."""
    (file,) = files(tmp_path, 1)
    file.chmod(0o750)
    link = tmp_path / "link.exe"
    link.symlink_to(file)
    assert (await sign(key, link, out_dir=tmp_path / "out")).words() == ["signed"]
    assert stat.S_IMODE((tmp_path / "out/link.exe").stat().st_mode) == 0o750
    assert (await sign(key, link)).words() == ["signed"]
    assert link.is_symlink()
    assert signatures(file) == 1
    assert stat.S_IMODE(file.stat().st_mode) == 0o750


async def test_a_signed_file_runs_as_nobody_else(key: LocalSigner, tmp_path: Path) -> None:
    """Set-user-ID and set-group-ID are taken away, in place and below another folder: they were given to other content."""
    (file,) = files(tmp_path, 1)
    file.chmod(0o6755)
    assert (await sign(key, file, out_dir=tmp_path / "out")).words() == ["signed"]
    assert stat.S_IMODE((tmp_path / f"out/{file.name}").stat().st_mode) == 0o755
    assert (await sign(key, file)).words() == ["signed"]
    assert stat.S_IMODE(file.stat().st_mode) == 0o755


async def test_two_names_of_one_file_are_signed_each(key: LocalSigner, tmp_path: Path) -> None:
    """A hard link that is not named keeps the unsigned content; one that is named is signed, though the first has left it."""
    first, second, store = (tmp_path / name for name in ("a.exe", "b.exe", "store"))
    first.write_bytes(pe_file())
    second.hardlink_to(first)
    store.hardlink_to(first)
    assert (await sign(key, first, second)).words() == ["signed", "signed"]
    assert [signatures(file) for file in (first, second, store)] == [1, 1, 0]


async def test_attributes_stay(key: LocalSigner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The signed file has them; where one cannot be kept, the file is as it was, and the message names it."""
    (file,) = files(tmp_path, 1)
    before = file.read_bytes()
    try:
        os.setxattr(file, "user.origin", b"build 7")
    except OSError as error:
        pytest.skip(f"{tmp_path} has no extended attributes: {error.strerror}")
    with monkeypatch.context() as patched:

        def setxattr(*_: object) -> None:
            raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

        patched.setattr(os, "setxattr", setxattr)
        outcomes = await sign(key, file)
    assert outcomes.words() == ["output.unwritable"]
    assert "attribute user.origin cannot be kept" in outcomes.message()
    assert file.read_bytes() == before
    assert (await sign(key, file)).words() == ["signed"]
    assert os.getxattr(file, "user.origin") == b"build 7"


async def test_outputs_of_an_earlier_run_are_done(key: LocalSigner, tmp_path: Path) -> None:
    """A rerun with a folder compares them with the inputs; a signed input is copied there."""
    made = files(tmp_path, 2)
    out = tmp_path / "out"
    await sign(key, *made, out_dir=out)
    assert [signatures(file) for file in made] == [0, 0]
    made[1].write_bytes(pe_file(overlay=b"new"))
    assert (await sign(key, *made, out_dir=out)).words() == ["unchanged", "signed"]
    await sign(key, made[0])
    assert (await sign(key, made[0], out_dir=tmp_path / "third")).words() == ["unchanged"]
    assert signatures(tmp_path / "third/0.exe") == 1


async def test_a_link_below_the_folder_is_not_followed(key: LocalSigner, tmp_path: Path) -> None:
    """Another user of the folder decides no place of a file outside."""
    (file,) = files(tmp_path, 1)
    out, outside = tmp_path / "out", tmp_path / "outside"
    out.mkdir()
    outside.write_bytes(b"theirs")
    (out / "0.exe").symlink_to(outside)
    assert (await sign(key, file, out_dir=out)).words() == ["signed"]
    assert outside.read_bytes() == b"theirs"
    assert not (out / "0.exe").is_symlink()


async def test_a_folder_that_is_read_only_costs_no_signature(
    key: LocalSigner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is noticed before anything is signed for the file. Root may write everywhere, so the kernel's answer is played."""
    (file,) = files(tmp_path, 1)
    signed = len(key.signed)
    monkeypatch.setattr(os, "access", lambda place, _: Path(place) != tmp_path)
    assert (await sign(key, file)).words() == ["output.unwritable"]
    assert len(key.signed) == signed


async def test_a_full_disk_leaves_the_old_file(
    key: LocalSigner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No part of the new one is left."""
    (file,) = files(tmp_path, 1)
    before = file.read_bytes()

    def full(
        self: PeFile, stream: BinaryIO, to: BinaryIO, signatures: tuple[bytes, ...], hash_name: str
    ) -> bytes:
        to.write(b"MZ half of it")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(PeFile, "write", full)
    for out_dir in (None, tmp_path / "out"):
        outcomes = await sign(key, file, out_dir=out_dir)
        assert outcomes.words() == ["output.unwritable"]
        assert "No space left" in outcomes.message()
    assert file.read_bytes() == before
    assert {x.name for x in tmp_path.rglob("*")} == {"0.exe", "out"}


@pytest.mark.parametrize(
    "inside", [(), (b"\x05\x00",) * 4, (b"\x30\x00",) * 4], ids=["nothing", "nulls", "no content"]
)
async def test_a_signature_without_fields_ends_no_run(
    key: LocalSigner, tmp_path: Path, inside: tuple[bytes, ...]
) -> None:
    """The file is refused as signed, and the next one is signed."""
    odd, good = files(tmp_path, 2)
    raw = odd.read_bytes()
    signature = der.sequence(cms.SIGNED_DATA, der.context(0, der.sequence(*inside)))
    with odd.open("wb") as to:
        read_pe(io.BytesIO(raw), len(raw)).write(io.BytesIO(raw), to, (signature,), "sha256")
    assert (await sign(key, odd, good)).words() == ["artifact.signed", "signed"]


async def test_names_are_synced_once_behind_the_last_file(
    key: LocalSigner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In place and below a folder: also the names of the folders that are made for it, and of those below it."""
    place = tmp_path.resolve()
    (tmp_path / "link").symlink_to(place)
    made = files(tmp_path, 3)
    disk = DiskCalls()
    disk.record(monkeypatch)
    await sign(key, *made)
    targets = [Target.below(tmp_path / "link" / "new" / "out", Path("deep") / file.name) for file in made]
    await sign(key, *(Artifact(path=file, target=target) for file, target in zip(made, targets, strict=True)))
    folders = [call.path for call in disk.made if call.name == "fsync" and call.path.is_dir()]
    out = place / "new" / "out"
    assert folders[0] == place
    assert sorted(folders[1:]) == sorted([place, place / "new", out, out / "deep"])
    assert [call.path for call in disk.made[-4:]] == folders[1:]


@pytest.mark.parametrize(
    "fault, told", [(errno.EIO, True), (errno.EINVAL, False), (errno.EACCES, False)], ids=str
)
async def test_names_that_may_not_be_on_disk_are_told_at_the_end(
    key: LocalSigner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: int, told: bool
) -> None:
    """Not of a folder that this user may not list, or of a file system that syncs no folders."""

    def broken(folder: Path) -> None:
        raise OSError(fault, os.strerror(fault))

    monkeypatch.setattr(batch, "sync_folder", broken)
    (file,) = files(tmp_path, 1)
    with pytest.raises(OutputUnwritable, match="a power cut may undo") if told else nullcontext():
        await sign(key, file)
    assert signatures(file) == 1


async def test_all_folders_are_synced_where_one_cannot_be(
    key: LocalSigner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error names one, and how many more there are."""
    tried: list[Path] = []

    def broken(folder: Path) -> None:
        tried.append(folder)
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(batch, "sync_folder", broken)
    for name in "ab":
        (tmp_path / name).mkdir()
    made = [files(tmp_path / name, 1)[0] for name in "ab"]
    with pytest.raises(OutputUnwritable, match="a and 1 more are signed"):
        await sign(key, *made)
    assert tried == [tmp_path / "a", tmp_path / "b"]


async def test_a_file_that_another_run_signs_meanwhile_is_done(key: LocalSigner, tmp_path: Path) -> None:
    """Two runs over the same files are one run too many, and no failure."""
    (file,) = files(tmp_path, 1)

    class OtherRun:
        async def time_stamp(self, hash_name: str, signature: bytes) -> TimeStamp:
            assert (await sign(key, file)).words() == ["signed"]
            raise TimeStampUnavailable("it is optional")

    outcomes = await sign(key, file, stamper=OtherRun())
    assert outcomes.words() == ["unchanged"]
    assert signatures(file) == 1


async def test_a_file_that_another_run_signs_while_it_is_hashed_is_done(
    key: LocalSigner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has the signature that was asked for; two runs over many files meet in each moment."""
    (file,) = files(tmp_path, 1)
    original = PeFile.digest

    def meanwhile(self: PeFile, stream: BinaryIO, hash_name: str) -> bytes:
        monkeypatch.setattr(PeFile, "digest", original)
        assert asyncio.run(sign(key, file)).words() == ["signed"]
        return original(self, stream, hash_name)

    monkeypatch.setattr(PeFile, "digest", meanwhile)
    assert (await sign(key, file)).words() == ["unchanged"]
    assert signatures(file) == 1


@pytest.mark.parametrize("in_place", [True, False], ids=["in-place", "below"])
async def test_a_name_of_the_greatest_length_is_signed(
    key: LocalSigner, tmp_path: Path, in_place: bool
) -> None:
    """Its draft has a name, too: the signature would be made, and the file could not be written."""
    (short,) = files(tmp_path, 1)
    file = short.rename(tmp_path / (125 * "\u00e4" + "x.exe"))
    assert len(os.fsencode(file.name)) == 255
    outcomes = await sign(key, file, out_dir=None if in_place else tmp_path / "out")
    assert outcomes.words() == ["signed"]
    assert signatures(file if in_place else tmp_path / "out" / file.name) == 1


async def test_a_file_for_which_there_is_no_memory_fails_alone(
    key: LocalSigner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The memory is missing when its signed form is written."""
    large, *others = files(tmp_path, 3)
    write = PeFile.write

    def filled(
        self: PeFile, stream: BinaryIO, to: BinaryIO, signatures: tuple[bytes, ...], hash_name: str
    ) -> bytes:
        if Path(f"/proc/self/fd/{stream.fileno()}").readlink() == large:
            raise MemoryError
        return write(self, stream, to, signatures, hash_name)

    monkeypatch.setattr(PeFile, "write", filled)
    outcomes = await sign(key, large, *others)
    assert outcomes.words() == ["input.unreadable", "signed", "signed"]


@pytest.mark.parametrize("moment", ["digest", "write"])
async def test_a_file_that_another_process_writes_meanwhile_is_refused(
    key: LocalSigner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """Its new content stays; a signature over the old one is not put over it."""
    (file,) = files(tmp_path, 1)
    new = pe_file(overlay=b"written by another process")
    original = getattr(PeFile, moment)

    def meanwhile(*words: object) -> object:
        done = original(*words)
        file.write_bytes(new)
        return done

    monkeypatch.setattr(PeFile, moment, meanwhile)
    outcomes = await sign(key, file)
    assert outcomes.words() == ["input.unreadable"]
    assert "another process" in outcomes.message()
    assert file.read_bytes() == new


@pytest.mark.parametrize("moment", ["digest", "write"])
@pytest.mark.parametrize("change", ["shorter", "gone"])
async def test_a_file_that_is_shorter_or_gone_meanwhile_is_no_damaged_file(
    key: LocalSigner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str, change: str
) -> None:
    """The reason is the other process: nothing is wrong with the file, and its folder can be written."""
    (file,) = files(tmp_path, 1)
    original = getattr(PeFile, moment)

    def meanwhile(*words: object) -> object:
        if change == "shorter":
            os.truncate(file, 100)
        else:
            file.unlink()
        return original(*words)

    monkeypatch.setattr(PeFile, moment, meanwhile)
    outcomes = await sign(key, file)
    assert outcomes.words() == ["input.unreadable"]
    assert "changed by another process" in outcomes.message()
    assert [each.stat().st_size for each in tmp_path.iterdir()] == ([100] if change == "shorter" else [])


async def test_a_file_that_cannot_be_read_to_its_end_is_told_as_that(
    key: LocalSigner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the signed file is written: the disk that fails is the one that is read."""
    (file,) = files(tmp_path, 1)
    original = PeFile.write

    class FailingDisk(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    def written(
        self: PeFile, stream: BinaryIO, to: BinaryIO, signatures: tuple[bytes, ...], hash_name: str
    ) -> bytes:
        return original(self, FailingDisk(), to, signatures, hash_name)

    monkeypatch.setattr(PeFile, "write", written)
    outcomes = await sign(key, file)
    assert outcomes.words() == ["input.unreadable"]
    assert outcomes.message() == "the file cannot be read: Input/output error"


async def test_a_file_that_is_changed_in_memory_meanwhile_is_refused(
    key: LocalSigner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As by a linker that has mapped its output: a page that is written for the second time changes no time of the file."""
    (file,) = files(tmp_path, 1)
    with file.open("r+b") as stream, mmap.mmap(stream.fileno(), 0) as mapped:
        mapped[-1] ^= 1
        original = PeFile.write

        def meanwhile(
            self: PeFile, stream: BinaryIO, to: BinaryIO, signatures: tuple[bytes, ...], hash_name: str
        ) -> bytes:
            mapped[-1] ^= 1
            return original(self, stream, to, signatures, hash_name)

        monkeypatch.setattr(PeFile, "write", meanwhile)
        outcomes = await sign(key, file)
        assert outcomes.words() == ["input.unreadable"]
        assert "another process" in outcomes.message()
        assert signatures(file) == 0


async def test_a_file_of_four_gigabytes_is_refused_unread(key: LocalSigner, tmp_path: Path) -> None:
    """It is sparse; hashing it would take seconds."""
    file = tmp_path / "huge.exe"
    file.write_bytes(pe_file())
    os.truncate(file, 1 << 32)
    outcomes = await sign(key, file)
    assert outcomes.words() == ["artifact.invalid"]
    assert "4 GiB" in outcomes.message()


@pytest.mark.parametrize(
    "content, hint",
    [
        (b"", "--format raw"),
        (b"MZ", "Build or copy the file again"),
        (b"PK\x03\x04...", "jarsigner"),
        (b"#!/bin/sh\n", "--format raw"),
    ],
)
async def test_what_is_no_pe_is_refused(key: LocalSigner, tmp_path: Path, content: bytes, hint: str) -> None:
    """The hint says how to sign it; for a JAR or ZIP file it names the tool."""
    file = tmp_path / "file"
    file.write_bytes(content)
    outcomes = await sign(key, file)
    assert outcomes.words() == ["artifact.invalid"]
    error = outcomes.all[0].error
    assert error is not None
    assert hint in error.hint
    assert file.read_bytes() == content


async def test_what_is_no_file_is_refused(key: LocalSigner, tmp_path: Path) -> None:
    """Missing files, folders, pipes, and names that no file can have."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    outcomes = await sign(key, tmp_path / "missing", tmp_path, pipe, Path("a\0b"))
    assert outcomes.words() == ["input.unreadable"] * 4


async def test_pss_is_refused_before_anything_is_signed(tmp_path: Path) -> None:
    """Windows takes no PSS in Authenticode."""
    (file,) = files(tmp_path, 1)
    key = LocalSigner.rsa(Algorithm.RSASSA_PSS_SHA_256)
    assert (await sign(key, file)).words() == ["algorithm.mismatch"]
    assert key.signed == []


async def test_what_the_receiver_raises_ends_the_run(key: LocalSigner, tmp_path: Path) -> None:
    """Standard output that is closed, for instance; it is raised as it is."""

    class Closed(Outcomes):
        def add(self, outcome: batch.FileOutcome) -> None:
            raise BrokenPipeError

    made = [Artifact(path=file, target=Target(file)) for file in files(tmp_path, 5)]
    use = batch.KeyUse(key="release/1", request_id=None, timeout_s=None)
    with pytest.raises(BrokenPipeError):
        await batch.Batch(key, use, Order(signer=key.signer)).run(made, Closed())


async def test_a_renewed_certificate_is_another_signer(key: LocalSigner, tmp_path: Path) -> None:
    """The old certificate in the file may have ended: the same key under a new one does not make it done."""
    (file,) = files(tmp_path, 1)
    await sign(key, file)
    authority = ec.generate_private_key(ec.SECP256R1())
    renewed = LocalSigner(key.key, key.algorithm, (issue(authority, key.key, "release"),))
    assert (await sign(renewed, file)).words() == ["artifact.signed"]
    assert (await sign(renewed, file, if_signed=IfSigned.REPLACE)).words() == ["signed"]
