"""What tests of commands share."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest


@pytest.fixture
def unchanged_logging() -> Iterator[None]:
    """main sends the package's log events to stderr; the logger is restored afterwards."""
    logger = logging.getLogger("sigmill")
    before = logger.handlers[:], logger.level, logger.propagate
    yield
    logger.handlers[:], level, logger.propagate = before
    logger.setLevel(level)
