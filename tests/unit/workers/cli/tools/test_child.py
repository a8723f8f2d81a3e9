"""A command that cannot be started: exit code and sentence, as shells have them."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from workers.cli.tools.child import run_child


@pytest.mark.parametrize(
    "name, code, told",
    [
        ("{}/notes", 126, "is not executable"),
        ("notes", 126, "is not executable"),
        ("{}/folder", 126, "is a folder"),
        ("{}/folder/", 126, "is a folder"),
        ("{}/none", 127, "no such program"),
        ("{}/notes/none", 127, "no such program"),
        ("folder", 127, "no such program"),
        ("none", 127, "no such program"),
        ("", 127, "no such program"),
        ("{}/" + "n" * 300, 126, "File name too long"),
    ],
)
def test_a_program_that_cannot_run_is_told_from_one_that_is_not_there(
    name: str, code: int, told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """POSIX, 2.8.2: 126 for what is found and cannot be executed, 127 for what is not found."""
    (tmp_path / "notes").write_text("notes")
    (tmp_path / "folder").mkdir()
    command = [name.format(tmp_path)]
    assert asyncio.run(run_child(command, {"PATH": str(tmp_path)})) == code
    assert f"error: {command[0]}: {told}" in capsys.readouterr().err
