"""Commands of statements, without a token."""

from __future__ import annotations

from pathlib import Path

from click.testing import CliRunner

from queueing.errors import CreationBusy
from tests.support.fakes.key_sites import site_with
from workers.cli.keys.creation_lock import one_creation_at_a_time
from workers.cli.keys.origins.commands import create
from workers.cli.shell.output import Output


def test_a_statement_is_refused_during_the_ceremony_of_another_operator(tmp_path: Path) -> None:
    """Two would get one file, and one of them evidence that is not its own."""
    scope = site_with(tmp_path, "active")

    with one_creation_at_a_time(scope):
        done = CliRunner().invoke(
            create, ["--config", str(scope.file), "--tenant", "acme", "--key", "release"], obj=Output()
        )

    assert isinstance(done.exception, CreationBusy)
    assert "another command is creating a key, or its statement" in str(done.exception)
