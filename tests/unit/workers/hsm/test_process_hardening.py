"""Lanes start one after another, but only behind one module."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.support.file_locks import is_locked
from workers.hsm.process_hardening import locked, one_start_at_a_time, start_lock


def test_lanes_wait_for_those_of_the_same_module_only(tmp_path: Path) -> None:
    """A symlink to the module names the same module; the lock ends with the start."""
    (tmp_path / "vendor.so").touch()
    (tmp_path / "link.so").symlink_to(tmp_path / "vendor.so")
    own, link, other = (
        start_lock(tmp_path, str(tmp_path / f"{name}.so")) for name in ("vendor", "link", "other")
    )
    with one_start_at_a_time(tmp_path, str(tmp_path / "vendor.so")):
        assert (is_locked(own), is_locked(link), is_locked(other)) == (True, True, False)
    assert not is_locked(own)


def test_a_start_that_fails_is_over(tmp_path: Path) -> None:
    """The next lane may start."""
    with pytest.raises(RuntimeError), one_start_at_a_time(tmp_path, "/vendor.so"):
        raise RuntimeError
    assert not is_locked(start_lock(tmp_path, "/vendor.so"))


def test_a_lane_starts_where_it_may_not_lock(tmp_path: Path) -> None:
    """Host-started lanes without a writable state directory are started one after another by the host."""
    began = False
    with one_start_at_a_time(tmp_path / "missing", "/vendor.so"):
        began = True
    assert began


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_lock_by_root_belongs_to_the_owner_of_the_state_directory(tmp_path: Path) -> None:
    """Otherwise the service's user could not open it, and would log in at the same time as another lane."""
    os.chown(tmp_path, 12345, 12345)
    with locked(tmp_path / "lane-login.acme.lock"):
        facts = (tmp_path / "lane-login.acme.lock").stat()
    assert (facts.st_uid, facts.st_gid) == (12345, 12345)


def test_a_link_in_the_place_of_a_lock_is_not_followed(tmp_path: Path) -> None:
    """Root would give away the file that it names."""
    (tmp_path / "lane-login.acme.lock").symlink_to(tmp_path / "elsewhere")
    with locked(tmp_path / "lane-login.acme.lock"):
        assert not (tmp_path / "elsewhere").exists()
