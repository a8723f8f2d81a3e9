"""``sigmill`` as a test of clocks runs it: lanes are started with a clock of their own (``LANE_CLOCK_STEP_FILE``)."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from workers.cli.main import main
from workers.lanes.supervisor import spawn

if TYPE_CHECKING:
    from tests.support.clocks.stepped_clock import SteppedClock
    from workers.config.settings import TokenSettings

_LIBRARY, _FILE = "LANE_CLOCK_LIBRARY", "LANE_CLOCK_STEP_FILE"
_environment = spawn._environment


def lane_clock_environment(clock: SteppedClock) -> dict[str, str]:
    """Additions to the environment of a worker whose lanes are to have this clock."""
    given = clock.environment()
    return {_LIBRARY: given["LD_PRELOAD"], _FILE: given["CLOCK_STEP_FILE"]}


def give_lanes_their_clock() -> None:
    """Lanes that this process starts from now on have the clock of its environment."""
    spawn._environment = _with_clock


def _with_clock(settings: TokenSettings) -> dict[str, str]:
    clock = {"LD_PRELOAD": os.environ[_LIBRARY], "CLOCK_STEP_FILE": os.environ[_FILE]}
    return _environment(settings) | clock


if __name__ == "__main__":
    give_lanes_their_clock()
    sys.exit(main(sys.argv[1:]))
