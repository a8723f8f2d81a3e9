"""arq's own suite, run against our worker: the compatibility that the contract promises, tested."""

from __future__ import annotations

import pytest

from tests.compat import run_arq_suite

STOCK_PASSED = 172  # arq 0.28.0 with its own worker; two more are skipped by arq itself


@pytest.mark.timeout(600)  # the first run fetches arq's sdist
def test_our_worker_passes_what_arqs_own_worker_passes() -> None:
    """Given no signing configuration, SigningWorker behaves as arq.Worker does: all of arq's tests pass."""
    result = run_arq_suite.run("-q")
    bad = result.counts.get("failed", 0) + result.counts.get("error", 0)
    assert (result.exit_code, bad) == (0, 0), result.output
    assert result.counts.get("passed", 0) >= STOCK_PASSED, result.output
