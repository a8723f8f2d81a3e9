"""A failed test's log lines say what the event was about."""

from __future__ import annotations

import logging
import sys

import pytest

from tests.support.log_fields import WithFields, report_handler


def test_what_pytest_shows_of_an_event_has_its_fields(request: pytest.FixtureRequest) -> None:
    """The handler that collects the lines for the report has the formatter."""
    logging.getLogger("sigmill.test").warning("lane.ended", extra={"token": "acme", "exit_code": -9})
    lines = report_handler(request.config).stream.getvalue().splitlines()
    assert lines[-1].endswith("lane.ended token='acme' exit_code=-9"), lines


def test_a_line_without_fields_stays_as_it_is() -> None:
    record = logging.makeLogRecord({"msg": "a sentence"})
    plain = logging.Formatter("%(levelno)s %(message)s")
    assert WithFields(plain).format(record) == plain.format(record)


def test_fields_stand_before_a_traceback() -> None:
    record = logging.makeLogRecord({})
    try:
        int("no")
    except ValueError:
        record = logging.makeLogRecord({"msg": "lane.failed", "exc_info": sys.exc_info(), "token": "acme"})
    first, *rest = WithFields(logging.Formatter()).format(record).splitlines()
    assert first == "lane.failed token='acme'"
    assert rest[-1].startswith("ValueError: ")
