"""Paths of a configuration file: relative to it, or to a home directory that there is."""

from __future__ import annotations

from pathlib import Path

import pytest

from queueing.config.paths import absolute
from queueing.errors import ConfigError

BASE = Path("/etc/sigmill")


@pytest.mark.parametrize(
    "path, found",
    [("a/b", "/etc/sigmill/a/b"), ("/x", "/x"), ("~/x", "/home/ci/x"), ("a~b", "/etc/sigmill/a~b")],
)
def test_a_path_is_relative_to_the_file_or_to_home(
    monkeypatch: pytest.MonkeyPatch, path: str, found: str
) -> None:
    monkeypatch.setenv("HOME", "/home/ci")
    assert absolute(BASE, path) == found


def test_a_home_that_is_not_there_is_a_mistake_in_the_file() -> None:
    """pathlib raises a RuntimeError."""
    with pytest.raises(ConfigError, match=r"no such home directory"):
        absolute(BASE, "~no-such-user-here/key.pem")
