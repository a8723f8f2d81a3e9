"""No secret leaves a host: settings are masked by their names, and texts by the content of secret files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from workers.dev.private_files import write_private
from workers.support.redaction import KnownSecrets, redact_tables


@pytest.mark.parametrize(
    "table, masked",
    [
        ({"redis": {"password": "x", "password_file": "p"}}, {"redis": {"password": "***", "password_file": "p"}}),
        ({"tokens": {"a": {"login": "1234"}}}, {"tokens": {"a": {"login": "***"}}}),
        ({"tokens": {"a": {"login": "none"}}}, {"tokens": {"a": {"login": "none"}}}),
        ({"tokens": {"a": {"login": {"pin": "1", "pin_file": "f"}}}}, {"tokens": {"a": {"login": {"pin": "***", "pin_file": "f"}}}}),
        ({"environment": {"CONF": "/etc/x", "N3_PIN": "7", "USER": "u"}}, {"environment": {"CONF": "/etc/x", "N3_PIN": "***", "USER": "***"}}),
        ({"url": "rediss://u:pw@h/1", "n": 3, "l": ["redis://:pw@h"]}, {"url": "rediss://u:***@h/1", "n": 3, "l": ["redis://:***@h"]}),
        ({"private_key": "x", "private_key_file": "y", "public_key": "z"}, {"private_key": "***", "private_key_file": "y", "public_key": "z"}),
        ({"epoch": 3, "sessions": 4, "pinned": "a"}, {"epoch": 3, "sessions": 4, "pinned": "a"}),
    ],
)  # fmt: skip
def test_a_configuration_is_masked_by_where_secrets_stand(
    table: dict[str, Any], masked: dict[str, Any]
) -> None:
    """Names of files stay, and what is public; a variable of a module stays only where it is a path."""
    assert redact_tables(table) == masked


def test_the_content_of_secret_files_is_removed_everywhere(tmp_path: Path) -> None:
    """A long one everywhere; a short one as a word, for it may be part of any number."""
    write_private(tmp_path / "pin", "1234\n")
    write_private(tmp_path / "password", "correct-horse\n")
    secrets = KnownSecrets([tmp_path / "pin", tmp_path / "password", tmp_path / "none"])
    text = 'login with 1234 failed; {"pin":"1234"} 12345 x1234 xcorrect-horsey redis://u:pw@h'
    assert secrets.redact(text) == ('login with *** failed; {"pin":"***"} 12345 x1234 x***y redis://u:***@h')
    assert secrets.unreadable == [str(tmp_path / "none")]


def test_a_secret_within_another_leaves_no_rest(tmp_path: Path) -> None:
    """The longer one goes first."""
    write_private(tmp_path / "a", "horse-battery\n")
    write_private(tmp_path / "b", "correct-horse-battery-staple\n")
    secrets = KnownSecrets([tmp_path / "a", tmp_path / "b"])
    assert secrets.redact("<correct-horse-battery-staple>") == "<***>"
