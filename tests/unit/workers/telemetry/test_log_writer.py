"""A log whose reader is slow or gone loses lines, which are counted, and never takes the time of a caller."""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import os
from collections.abc import Iterator

import pytest
from prometheus_client import CollectorRegistry, Counter

from workers.telemetry import log_writer
from workers.telemetry.json_logs import JsonLines
from workers.telemetry.log_writer import MOST_LINES, LogWriter, flush_logs

PIPE_BYTES = 4096
LINE = "x" * 100
IN_THE_PIPE = PIPE_BYTES // len(LINE) + 1
"""Lines that leave the queue at most while the pipe is not read, the one that is being written included."""

WRITERS: list[LogWriter] = []
"""Of the test that runs."""


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """Its reading and its writing end, of the smallest size.

    The writing end stays open: the thread of a writer may still use its number, which must not become that of another
    test's pipe. Without a reader, what is queued fails at once.
    """
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    yield reader, writer
    with contextlib.suppress(OSError):  # a test may have closed it
        os.close(reader)
    while WRITERS:
        WRITERS.pop().flush()  # its thread logs no more into the next test


@pytest.fixture
def logger() -> Iterator[logging.Logger]:
    """The root of ours, as it was before."""
    root = logging.getLogger("sigmill")
    before = (root.handlers[:], root.level, root.propagate)
    root.handlers[:], root.propagate = [], False
    root.setLevel(logging.INFO)
    yield root
    root.handlers[:], root.propagate = before[0], before[2]
    root.setLevel(before[1])


def writing_to(descriptor: int, logger: logging.Logger) -> LogWriter:
    handler = LogWriter(descriptor)
    handler.setFormatter(JsonLines())
    logger.addHandler(handler)
    WRITERS.append(handler)
    return handler


def test_a_full_queue_drops_lines_counts_them_and_tells(
    pipe: tuple[int, int], logger: logging.Logger
) -> None:
    """Each line is either written or counted, and a line says how many, once it can."""
    reader, descriptor = pipe
    handler = writing_to(descriptor, logger)
    registry = CollectorRegistry()
    more = 200
    for i in range(MOST_LINES + more):
        logger.info("lane.ready", extra={"token": LINE, "number": i})
    handler.count_in(Counter("dropped", "Lines.", registry=registry))
    lost = handler.dropped
    assert more - IN_THE_PIPE <= lost <= more
    lines = []
    with os.fdopen(os.dup(reader)) as text:
        for line in text:
            lines.append(json.loads(line))
            if lines[-1]["event"] == "logs.dropped":
                break
    lost = handler.dropped
    assert lines[-1]["lines"] == lost
    assert registry.get_sample_value("dropped_total") == lost


def test_large_lines_are_bounded_by_their_bytes(
    pipe: tuple[int, int], logger: logging.Logger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thousand ids in a line count for more than one."""
    monkeypatch.setattr(log_writer, "MOST_BYTES", 100_000)
    handler = writing_to(pipe[1], logger)
    for _ in range(10):
        logger.info("jobs.claimed", extra={"jobs": ["y" * 50_000]})
    assert handler.dropped >= 7


def test_a_reader_that_has_left_costs_lines_alone(pipe: tuple[int, int], logger: logging.Logger) -> None:
    """EPIPE ends nothing, and each line is counted."""
    reader, descriptor = pipe
    handler = writing_to(descriptor, logger)
    os.close(reader)
    for _ in range(3):
        logger.info("lane.ready")
    flush_logs()
    assert handler.dropped == 3


def test_the_end_of_the_process_waits_a_moment_only(
    pipe: tuple[int, int], logger: logging.Logger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pipe that is not read does not keep the process."""
    monkeypatch.setattr(log_writer, "FLUSH_S", 0.01)
    writing_to(pipe[1], logger)
    for _ in range(2 * IN_THE_PIPE):
        logger.info("lane.ready", extra={"token": LINE})
    flush_logs()


def test_a_line_longer_than_the_pipe_arrives_whole(pipe: tuple[int, int], logger: logging.Logger) -> None:
    """Also where the open file is non-blocking, as a sharer may have made it."""
    reader, descriptor = pipe
    os.set_blocking(descriptor, False)
    writing_to(descriptor, logger)
    logger.info("jobs.claimed", extra={"jobs": ["z" * 3 * PIPE_BYTES]})
    with os.fdopen(os.dup(reader)) as text:
        assert json.loads(text.readline())["jobs"] == ["z" * 3 * PIPE_BYTES]


def test_a_record_that_cannot_be_formatted_costs_its_line(
    pipe: tuple[int, int], logger: logging.Logger
) -> None:
    """The caller gets no exception, and the line is counted."""
    handler = writing_to(pipe[1], logger)
    handler.handle(logging.makeLogRecord({"msg": "%d", "args": ("no number",)}))
    assert handler.dropped == 1
