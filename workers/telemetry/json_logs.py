"""JSON logs: one object per line on stderr, with stable event names; no digest, no secret.

A log call names its event as the message and gives fields as ``extra``:
``log.info("lane.ready", extra={"token": name})``. Every name is in ``workers.telemetry.log_events``.
"""

from __future__ import annotations

import json
import logging
import re
import time
from typing import Final

from workers.telemetry.log_events import NOTE
from workers.telemetry.log_writer import STDERR, LogWriter

ROOT: Final = "sigmill"
JOBS: Final = f"{ROOT}.jobs"
"""Logger of claimed, released and returned jobs (``workers.telemetry.job_log``)."""

_EVENT: Final = re.compile(r"[a-z_]+\.[a-z_]+")
"""Name of an event; any other message is a sentence of a library or of the client code."""

_STANDARD: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


def fields_of(record: logging.LogRecord) -> dict[str, object]:
    """The fields of an event: what its call gave as ``extra``."""
    return {name: value for name, value in vars(record).items() if name not in _STANDARD}


class JsonLines(logging.Formatter):
    """Formatter of JSON lines: ``ts`` (UTC), ``level``, ``logger``, ``event``, then the fields of the event."""

    def format(self, record: logging.LogRecord) -> str:
        """Format one line, without a newline."""
        moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        line: dict[str, object] = {
            "ts": f"{moment}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
        }
        message = record.getMessage()
        line |= {"event": message} if _EVENT.fullmatch(message) else {"event": NOTE, "message": message}
        line |= fields_of(record)
        if record.exc_info and record.exc_info[0] is not None:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=lambda value: type(value).__name__)


def set_levels(level: str, *, jobs: bool) -> None:
    """Set the levels of ``[logging]``; may be called again after a reload."""
    logging.getLogger(ROOT).setLevel(level.upper())
    logging.getLogger(JOBS).setLevel(logging.INFO if jobs else logging.WARNING)


def log_to_stderr(level: int = logging.INFO, *, descriptor: int = STDERR) -> LogWriter:
    """Send the logs of Sigmill, arq and asyncio to stderr, by a thread of the handler that is returned. ``descriptor``: the
    stderr of the process that started this one.

    To be called once, by the entry point of a process.
    """
    handler = LogWriter(descriptor)
    handler.setFormatter(JsonLines())
    for name in (ROOT, "arq", "asyncio"):
        logger = logging.getLogger(name)
        logger.handlers[:] = [handler]
        logger.setLevel(level if name == ROOT else max(level, logging.WARNING))
        logger.propagate = False
    return handler
