"""Captured log lines of a test that failed, with the fields of their events."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from workers.telemetry.json_logs import fields_of


class WithFields(logging.Formatter):
    """Another formatter's text; the fields stand at the end of its first line: ``lane.ended token='acme'``."""

    def __init__(self, plain: logging.Formatter) -> None:
        super().__init__()
        self._plain = plain

    def format(self, record: logging.LogRecord) -> str:
        """A record without fields comes out as before."""
        first, end, rest = self._plain.format(record).partition("\n")
        words = [f"{name}={value!r}" for name, value in fields_of(record).items()]
        return " ".join([first, *words]) + end + rest


def report_handler(config: pytest.Config) -> Any:
    """pytest's handler for the lines that it shows when a test fails."""
    plugin: Any = config.pluginmanager.get_plugin("logging-plugin")
    return plugin.report_handler


def show_fields(config: pytest.Config) -> None:
    """Give pytest's handler a ``WithFields``; it has none of its own before the session starts."""
    if not config.pluginmanager.has_plugin("logging-plugin"):
        return  # -p no:logging
    handler = report_handler(config)
    handler.setFormatter(WithFields(handler.formatter))
