"""Places of signed files: what a full disk costs."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import BinaryIO

import pytest

from queueing.artifacts.targets import Target
from queueing.errors import OutputUnwritable


class Disk:
    """Writes that fail with these error numbers in turn, and then go well."""

    def __init__(self, *failures: int) -> None:
        self.failures = list(failures)
        self.writes = 0

    def write(self, to: BinaryIO) -> None:
        self.writes += 1
        if self.failures:
            raise OSError(self.failures.pop(0), "scripted")
        to.write(b"signed")


@pytest.mark.parametrize("full", [errno.ENOSPC, errno.EDQUOT])
@pytest.mark.parametrize("in_place", [True, False], ids=["in-place", "below"])
def test_a_disk_that_was_full_for_a_moment_is_tried_again(tmp_path: Path, full: int, in_place: bool) -> None:
    """The part of a larger file beside it, which does not fit, is gone by then."""
    file = tmp_path / "tool.exe"
    file.write_bytes(b"as it was")
    target, disk = Target(file) if in_place else Target.below(tmp_path, Path("tool.exe")), Disk(full)
    target.write(disk.write, mode=0o600)
    assert (file.read_bytes(), disk.writes) == (b"signed", 2)


@pytest.mark.parametrize("failures", [(errno.ENOSPC, errno.ENOSPC), (errno.EIO,)], ids=["full", "broken"])
def test_a_disk_that_stays_full_or_fails_costs_the_file_alone(
    tmp_path: Path, failures: tuple[int, ...]
) -> None:
    """It stays as it was, no part is left, and nothing is tried a third time."""
    file = tmp_path / "tool.exe"
    file.write_bytes(b"as it was")
    disk = Disk(*failures)
    with pytest.raises(OutputUnwritable, match="cannot be written: scripted"):
        Target(file).write(disk.write, mode=0o600)
    assert (file.read_bytes(), disk.writes) == (b"as it was", len(failures))
    assert [each.name for each in tmp_path.iterdir()] == ["tool.exe"]
