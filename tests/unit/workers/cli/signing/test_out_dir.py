"""Files of --out-dir and --receipts stay below their folders."""

from __future__ import annotations

import os
from pathlib import Path

import click
import pytest

from queueing.errors import InputUnreadable, OutputUnwritable
from workers.cli.signing.out_dir import receipts_in, signatures_in


@pytest.mark.parametrize(
    "name, path",
    [
        ("a.bin", "out/a.bin.sig"),
        ("dist/a.bin", "out/dist/a.bin.sig"),
        ("/usr/bin/ls", "out/usr/bin/ls.sig"),
        ("sha256:ab", "out/sha256-ab.sig"),
    ],
)
def test_signature_files_stay_below_the_folder(name: str, path: str) -> None:
    """The folders of an item's name are kept below --out-dir."""
    assert signatures_in(Path("out")).path(name) == Path(path)


@pytest.mark.parametrize(
    "name, why",
    [
        ("../x", "the name leads out of --out-dir"),
        ("a/../../x", "the name leads out of --out-dir"),
        ("", "this is the name of no file"),
        ("/", "this is the name of no file"),
        ("a\x00b", "the name has a NUL character, which no file can have in its name"),
        ("../a\x00b", "the name has a NUL character, which no file can have in its name"),
    ],
)
def test_names_that_lead_out_or_are_none_are_refused(name: str, why: str) -> None:
    """A manifest cannot make the command write outside --out-dir, or to a file without a name."""
    with pytest.raises(InputUnreadable) as refused:
        signatures_in(Path("out")).path(name)
    assert refused.value.message == why


def test_a_signature_file_is_replaced(tmp_path: Path) -> None:
    """A rerun replaces the file of an earlier run and leaves no other file."""
    for signature in (b"first", b"second"):
        signatures_in(tmp_path).write("dist/a.bin", signature)
    assert (tmp_path / "dist" / "a.bin.sig").read_bytes() == b"second"
    assert [file.name for file in (tmp_path / "dist").iterdir()] == ["a.bin.sig"]


def test_drafts_of_killed_runs_are_removed_and_those_behind_a_link_stay(tmp_path: Path) -> None:
    """Drafts of the items' files, an hour old; a name of a manifest cannot lead the command elsewhere."""
    outside, out = tmp_path / "outside", tmp_path / "out"
    drafts = [folder / ".a.bin.sig.01234567.new" for folder in (out / "dist", out, outside)]
    for draft in drafts:
        draft.parent.mkdir(parents=True, exist_ok=True)
        draft.touch()
        os.utime(draft, (0, 0))
    (out / "lnk").symlink_to(outside)
    signatures_in(out).sweep(["dist/a.bin", "lnk/a.bin", "../a.bin", "missing/a.bin"])
    assert [draft.exists() for draft in drafts] == [False, True, True]


def test_a_link_below_the_folder_is_not_followed(tmp_path: Path) -> None:
    """It would lead out of --out-dir; the item has the error, and the others are written."""
    outside, out = tmp_path / "outside", tmp_path / "out"
    for folder in (outside, out):
        folder.mkdir()
    (out / "lnk").symlink_to(outside)
    with pytest.raises(OutputUnwritable, match=r"lnk/x.sig cannot be written: lnk is a symbolic link"):
        signatures_in(out).write("lnk/x", b"signature")
    signatures_in(out).write("x", b"signature")
    assert not [*outside.iterdir()]
    assert (out / "x.sig").read_bytes() == b"signature"


@pytest.mark.parametrize(
    "names",
    [
        ("same", "same"),
        ("a:b", "a-b"),
        ("/x/y", "x/y"),
        ("x/./y", "x/y"),
        ("a", "a.sig/b"),
        ("a.sig/b/c", "a"),
    ],
)
def test_items_that_would_share_a_file_are_refused(names: tuple[str, str]) -> None:
    """The later signature would replace the earlier one, so nothing is signed."""
    with pytest.raises(click.UsageError, match="nothing was sent"):
        signatures_in(Path("out")).refuse_equal_paths(("other", *names))


def test_items_with_files_of_their_own_are_accepted() -> None:
    """Names that lead out are errors of their own items."""
    signatures_in(Path("out")).refuse_equal_paths(("a", "a/b", "b/a", "..", ".."))


@pytest.mark.parametrize("name", ["n" * 300, "file/below"])
def test_a_file_that_cannot_be_written_is_an_error_of_the_output(tmp_path: Path, name: str) -> None:
    """It is no error of the input, and no part of the file is left."""
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputUnwritable, match="cannot be written"):
        signatures_in(tmp_path).write(name, b"signature")
    assert [file.name for file in tmp_path.iterdir()] == ["file"]


def test_a_receipt_has_a_file_beside_that_of_its_signature(tmp_path: Path) -> None:
    """One folder may have both."""
    signatures_in(tmp_path).write("dist/a.bin", b"signature")
    assert receipts_in(tmp_path).write("dist/a.bin", b"receipt") == tmp_path / "dist" / "a.bin.tlog-proof"
    assert {file.name for file in (tmp_path / "dist").iterdir()} == {"a.bin.sig", "a.bin.tlog-proof"}
    with pytest.raises(InputUnreadable, match="out of --receipts"):
        receipts_in(tmp_path).path("../a")
