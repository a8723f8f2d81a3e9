"""``sigmill`` as a test of clocks runs it: lanes are started with a clock of their own (``LANE_CLOCK_STEP_FILE``)."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from workers.cli.main import main
from workers.lanes.supervisor import spawn

if TYPE_CHECKING:
    from workers.config.settings import TokenSettings

_environment = spawn._environment


def _with_clock(settings: TokenSettings) -> dict[str, str]:
    clock = {"LD_PRELOAD": os.environ["LD_PRELOAD"], "CLOCK_STEP_FILE": os.environ["LANE_CLOCK_STEP_FILE"]}
    return _environment(settings) | clock


if __name__ == "__main__":
    spawn._environment = _with_clock
    sys.exit(main(sys.argv[1:]))
