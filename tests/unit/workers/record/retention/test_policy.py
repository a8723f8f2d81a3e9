"""The retention policy that a worker writes for the sealer."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from queueing.files.checked_file import write_checked
from workers.record.retention.policy import PolicyDamaged, RetentionPolicy, adopt_policy, read_policy

KEY, OTHER = b"k" * 32, b"o" * 32


def test_the_end_of_a_certificate_is_kept_when_its_key_is_gone_and_never_becomes_earlier(
    tmp_path: Path,
) -> None:
    adopt_policy(tmp_path, 730, {KEY: 2_000, OTHER: 10})
    adopt_policy(tmp_path, 800, {OTHER: 5})
    policy = read_policy(tmp_path)
    assert policy == RetentionPolicy(retain_days=800, certificate_ends_ms={KEY: 2_000, OTHER: 10})
    assert adopt_policy(tmp_path, 800, {OTHER: 30}).certificate_ends_ms[OTHER] == 30


def test_less_than_two_years_is_no_policy(tmp_path: Path) -> None:
    """Whatever program wrote the file."""
    write_checked(tmp_path / "retention", msgspec.msgpack.encode({"retain_days": 729.9}))
    assert read_policy(tmp_path) is None


@pytest.mark.parametrize("content", [b"", b"\0" * 40, b"nonsense"])
def test_a_damaged_policy_is_none(tmp_path: Path, content: bytes) -> None:
    """Nothing is removed then."""
    adopt_policy(tmp_path, 730, {KEY: 2_000})
    (tmp_path / "retention").write_bytes(content)
    assert read_policy(tmp_path) is None


def test_a_damaged_policy_is_not_replaced_by_one_that_has_forgotten_certificates(tmp_path: Path) -> None:
    """Entries of a key that has left the configuration would go too early; the operator decides."""
    adopt_policy(tmp_path, 730, {KEY: 2_000})
    (tmp_path / "retention").write_bytes(b"nonsense")
    with pytest.raises(PolicyDamaged, match="restore the file, or remove it"):
        adopt_policy(tmp_path, 730, {OTHER: 10})
    assert (tmp_path / "retention").read_bytes() == b"nonsense"
    (tmp_path / "retention").unlink()
    assert adopt_policy(tmp_path, 730, {OTHER: 10}) == read_policy(tmp_path)


def test_no_policy_was_written_yet(tmp_path: Path) -> None:
    assert read_policy(tmp_path) is None
