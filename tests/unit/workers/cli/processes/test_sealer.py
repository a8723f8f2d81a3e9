"""The sealer's process ends for its signals, and for nothing else that the kernel says."""

from __future__ import annotations

import signal
import threading
from types import SimpleNamespace
from typing import cast

import pytest

from workers.cli.processes import sealer
from workers.cli.shell.output import Exit
from workers.record.sealing import SealingLoop


class Loop:
    """A loop that runs until it is stopped."""

    def run(self, stop: threading.Event) -> None:
        stop.wait()


def test_a_sealer_that_was_suspended_continues(monkeypatch: pytest.MonkeyPatch) -> None:
    """CPython answers with memory that nothing has written, if the time was over before SIGCONT; then comes a signal that is meant."""
    answers = [SimpleNamespace(si_signo=number) for number in (1, 0, -7, signal.SIGTERM)]
    monkeypatch.setattr(signal, "sigtimedwait", lambda *_: answers.pop(0))
    ended = sealer._seal(cast("SealingLoop", Loop()), {signal.SIGTERM, signal.SIGINT})
    assert ended is Exit.DONE
    assert answers == []
