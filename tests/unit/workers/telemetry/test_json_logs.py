"""Logs: one JSON object per line, whatever is in it, and no secret."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import pytest

from queueing.config.secrets import Secret
from workers.telemetry.json_logs import JsonLines, log_to_stderr
from workers.telemetry.log_writer import flush_logs


def _break() -> NoReturn:
    raise ValueError("broken\nin two lines")


def line(message: str = "lane.ready", *, error: bool = False, **fields: Any) -> dict[str, Any]:
    """The object that a record becomes."""
    record = logging.LogRecord("sigmill.lane", logging.WARNING, "lane.py", 1, message, (), None)
    record.created, record.msecs = 1_700_000_000.25, 250.0
    if error:
        try:
            _break()
        except ValueError as exc:
            record.exc_info = (type(exc), exc, exc.__traceback__)
    vars(record).update(fields)
    text = JsonLines().format(record)
    assert "\n" not in text
    found: dict[str, Any] = json.loads(text)
    return found


def test_a_line_has_time_level_logger_event_and_fields() -> None:
    """In that order, the time in UTC."""
    assert list(line(token="acme", sessions=4).items()) == [
        ("ts", "2023-11-14T22:13:20.250Z"),
        ("level", "warning"),
        ("logger", "sigmill.lane"),
        ("event", "lane.ready"),
        ("token", "acme"),
        ("sessions", 4),
    ]


def test_an_exception_stays_on_the_line() -> None:
    """With its traceback."""
    assert "ValueError: broken\nin two lines" in line(error=True)["exception"]


def test_a_value_without_json_is_named_by_its_class() -> None:
    """A secret shows neither itself nor its mask; bytes and paths do not break the line."""
    found = line(pin=Secret("739215"), digest=b"\xff", file=Path("/x"))
    assert (found["pin"], found["digest"], found["file"]) == ("Secret", "bytes", "PosixPath")
    assert "739215" not in json.dumps(found)


def test_line_breaks_in_a_field_forge_no_line() -> None:
    """A text from outside cannot begin a record of its own."""
    assert line(why='x\n{"event": "forged"}')["why"] == 'x\n{"event": "forged"}'


@pytest.fixture
def loggers() -> Iterator[list[logging.Logger]]:
    """Those that are set up, as they were before."""
    both = [logging.getLogger(name) for name in ("sigmill", "arq", "asyncio")]
    before = [(logger.handlers[:], logger.level, logger.propagate) for logger in both]
    yield both
    for logger, (handlers, level, propagate) in zip(both, before, strict=True):
        logger.handlers[:], logger.propagate = handlers, propagate
        logger.setLevel(level)


def test_logs_go_to_stderr_once(loggers: list[logging.Logger], capfd: pytest.CaptureFixture[str]) -> None:
    """However often it is set up; arq speaks from warnings on."""
    log_to_stderr()
    log_to_stderr()
    logging.getLogger("sigmill.service").info("service.started")
    logging.getLogger("arq.worker").info("not of interest")
    logging.getLogger("arq.worker").warning("of interest")
    logging.getLogger("asyncio").error("a task failed")
    flush_logs()
    out, errors = capfd.readouterr()
    assert out == ""
    first, second, third = map(json.loads, errors.splitlines())
    assert first["event"] == "service.started"
    assert (second["event"], second["message"]) == ("note", "of interest")
    assert (third["event"], third["message"]) == ("note", "a task failed")
