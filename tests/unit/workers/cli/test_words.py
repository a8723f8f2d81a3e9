"""The small words of the command line: durations, progress, exit codes, file names, the table of commands."""

from __future__ import annotations

import io
import tomllib
from importlib import import_module
from pathlib import Path

import click
import pytest

from queueing.errors import InputUnreadable, KeyUnknown, LimitRate, ResultInvalid, SigningError
from workers.cli import commands
from workers.cli.clients.create import redis_table, toml_text
from workers.cli.commands import LazyCommand
from workers.cli.shell.options import Duration
from workers.cli.shell.output import Exit, Tally
from workers.cli.shell.progress import Progress
from workers.cli.signing.out_dir import signature_path


@pytest.mark.parametrize(
    "text, seconds", [("90", 90), ("2h", 7200), ("1h30m", 5400), ("500ms", 0.5), ("1.5s", 1.5), ("1d", 86400)]
)
def test_durations(text: str, seconds: float) -> None:
    """Units add up; a bare number is seconds."""
    assert Duration().convert(text, None, None) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "soon", "-1", "2h-", "nan", "inf", "1x", "h"])
def test_what_is_no_duration(text: str) -> None:
    """Refused as usage."""
    with pytest.raises(click.BadParameter):
        Duration().convert(text, None, None)


@pytest.mark.parametrize(
    "errors, code",
    [
        ([None], Exit.DONE),
        ([None, LimitRate()], Exit.RETRY),
        ([LimitRate(), ResultInvalid()], Exit.FAILED),
        ([LimitRate(), ResultInvalid(), KeyUnknown()], Exit.DENIED),
        ([], Exit.DONE),
    ],
)
def test_exit_codes(errors: list[SigningError | None], code: Exit) -> None:
    """77 if anything was denied, else 1 if anything failed for good, else 75, else 0."""
    tally = Tally()
    for error in errors:
        tally.add(error)
    assert tally.exit_code() is code


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_the_progress_line() -> None:
    """Count, rate, ETA and failures, on a terminal."""
    now_s = 100.0
    screen = Terminal()
    progress = Progress(5000, stream=screen, clock=lambda: now_s)
    for _ in range(1202):
        progress.count(ok=True)
    progress.count(ok=False)
    now_s = 101.5
    progress.count(ok=False)
    assert progress.text() == "1202/5000 signed  803/s  ETA 5 s  2 failed"
    assert screen.getvalue().endswith(progress.text())
    progress.clear()
    assert screen.getvalue().endswith("\r")


def test_no_progress_line_without_a_terminal() -> None:
    """A log of a build has none."""
    log = io.StringIO()
    progress = Progress(2, stream=log, clock=lambda: 0.0)
    progress.count(ok=True)
    progress.clear()
    assert log.getvalue() == ""


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
    """The folders of a name are kept."""
    assert signature_path(Path("out"), name) == Path(path)


@pytest.mark.parametrize("name", ["../x", "a/../../x", "", "/", "a\x00b"])
def test_names_that_lead_out_are_refused(name: str) -> None:
    """A manifest is not trusted with paths."""
    with pytest.raises(InputUnreadable):
        signature_path(Path("out"), name)


def test_redis_urls_become_tables() -> None:
    """The forms of --redis."""
    assert redis_table("redis://u@h/3", None) == {"host": "h", "port": 6379, "database": 3, "username": "u"}
    assert redis_table("unix:///run/r.sock?db=2", None) == {"unix_socket": "/run/r.sock", "database": 2}
    assert redis_table("rediss://h:1", "/ca.pem")["tls"] == {"ca_file": "/ca.pem"}
    for url in ("rediss://h", "http://h", "redis://", "redis://h/x", "redis://h:x", "redis://:pw@h"):
        with pytest.raises(click.UsageError) as caught:
            redis_table(url, None)
        assert "pw" not in caught.value.message


def test_toml_text_is_read_back() -> None:
    """Strings of any kind, numbers, booleans, lists and tables."""
    table = {"s": 'a"b\\c\n\x7f\té', "n": 3, "f": 1.5, "b": True, "l": ["x", "y"], "t": {"u v": {"w": "x"}}}
    assert tomllib.loads(toml_text(table)) == table
    with pytest.raises(TypeError):
        toml_text({"x": None})


@pytest.mark.parametrize(
    "lazy", [lazy for table in vars(commands).values() if isinstance(table, dict) for lazy in table.values()]
)
def test_every_command_of_the_tables_exists(lazy: object) -> None:
    """The table names modules and attributes as text: each of them must be a command."""
    if isinstance(lazy, LazyCommand):
        module, _, attribute = lazy.target.partition(":")
        assert isinstance(getattr(import_module(module), attribute), click.Command)
