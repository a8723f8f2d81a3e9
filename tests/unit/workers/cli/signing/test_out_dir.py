"""Signature files of --out-dir stay below the folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from queueing.errors import InputUnreadable
from workers.cli.signing.out_dir import signature_path, write_signature


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
    assert signature_path(Path("out"), name) == Path(path)


@pytest.mark.parametrize("name", ["../x", "a/../../x", "", "/", "a\x00b"])
def test_names_that_lead_out_are_refused(name: str) -> None:
    """A manifest cannot make the command write outside --out-dir."""
    with pytest.raises(InputUnreadable):
        signature_path(Path("out"), name)


def test_a_signature_file_is_replaced(tmp_path: Path) -> None:
    """A rerun replaces the file of an earlier run and leaves no other file."""
    for signature in (b"first", b"second"):
        write_signature(tmp_path, "dist/a.bin", signature)
    assert (tmp_path / "dist" / "a.bin.sig").read_bytes() == b"second"
    assert [file.name for file in (tmp_path / "dist").iterdir()] == ["a.bin.sig"]
