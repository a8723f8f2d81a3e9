"""Lanes of the issuer that are killed while grants are asked for: a token never serves two keys."""

from __future__ import annotations

import os
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from tests.support.hsm.softhsm import SoftHsm
from tests.support.issuer.build import Build
from tests.support.issuer.running import RunningIssuer
from tests.support.waiting import until

if TYPE_CHECKING:
    from pathlib import Path

TOKENS = 30
KILLS = 3


def test_a_token_serves_one_key_however_often_the_lane_is_killed(tmp_path: Path) -> None:
    """Two builds ask with each token until both have an answer; one of them has its grants, the other none."""
    done = threading.Event()
    with RunningIssuer(tmp_path, SoftHsm(tmp_path / "softhsm")) as issuer:
        issuer.start()

        def kill_lanes() -> None:
            for _ in range(KILLS):
                pid = issuer.events("issuer.lane_ready")[-1]["pid"]
                os.kill(pid, signal.SIGKILL)
                until(lambda pid=pid: issuer.events("issuer.lane_ready")[-1]["pid"] != pid, "another lane")  # type: ignore[misc]
            done.set()

        def race(_: int) -> list[int]:
            """Statuses of two builds with one token, each at least twice, and until no more lanes are killed."""
            bodies = [Build().request(token) for token in [issuer.provider.token()] for _ in range(2)]
            last = [503, 503]
            rounds = 0
            while 503 in last or rounds < 2 or not done.is_set():
                for i, body in enumerate(bodies):
                    status = issuer.post(body)[0]
                    assert status == 503 or last[i] in {503, status}, "a final answer has changed"
                    last[i] = last[i] if status == 503 else status
                rounds += 1
            return last

        killer = threading.Thread(target=kill_lanes)
        killer.start()
        with ThreadPoolExecutor(6) as builds:
            outcomes = list(builds.map(race, range(TOKENS)))
        killer.join()
        assert [sorted(each) for each in outcomes] == [[200, 403]] * TOKENS
        assert len(issuer.events("issuer.lane_ready")) > KILLS
