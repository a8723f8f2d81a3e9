"""Log of an observed worker: each line has a number, so that a line that is lost leaves a gap, and ended lanes are written down.

The queue of the log is short, so that a reader that stops makes it overflow within seconds.
"""

from __future__ import annotations

import itertools
import logging
import os
import time

from tests.faults.history import LaneEnded, Recorder
from workers.telemetry import json_logs, log_writer

LINE_NUMBER, PROCESS = "line_number", "process_id"
"""Fields that are added to each line."""

MOST_LINES = 20
_LANE_ENDS = {"lane.ended", "lane.reload_overdue"}


class NumberedWriter(log_writer.LogWriter):
    """The shipped writer; ``number_lines`` gives it the history of the worker."""

    worker = ""
    recorder: Recorder
    _numbers = itertools.count(1)

    def emit(self, record: logging.LogRecord) -> None:
        """Number the line, before it may be dropped."""
        setattr(record, LINE_NUMBER, next(self._numbers))
        setattr(record, PROCESS, os.getpid())
        if record.msg in _LANE_ENDS:
            fields = vars(record)
            reason = str(fields.get("reason") or record.msg)
            self.recorder.note(
                LaneEnded(at=time.time(), worker=self.worker, token=fields["token"], reason=reason)
            )
        super().emit(record)


def number_lines(worker: str, recorder: Recorder) -> None:
    """Have this process log by it; before the logs are set up."""
    NumberedWriter.worker, NumberedWriter.recorder = worker, recorder
    vars(json_logs)["LogWriter"] = NumberedWriter
    vars(log_writer)["MOST_LINES"] = MOST_LINES
