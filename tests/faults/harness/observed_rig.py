"""Rig of a run: workers whose answers from Redis and whose logs are observed, behind simulated HSMs, with lanes on a clock of their own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from msgspec.structs import replace

from tests.faults.harness.log_reader import LogReader
from tests.faults.harness.redis_places import Deployment, RedisPlace
from tests.faults.harness.tokens import BY_PYTHON, TENANTS, CopiedTokens
from tests.support.clocks.stepped_clock import SteppedClock
from tests.support.hsm.manners import Manners
from tests.support.rig.rig import Rig
from tests.support.rig.shared_rig import behind_simhsm
from tests.support.rig.stepped_worker import lane_clock_environment
from workers.config.settings import TokenSettings
from workers.config.token_tables import LOOP_VARIABLE

ROOT = Path(__file__).parents[3]

LEASE_S = 2.0
CALL_TIMEOUT_S = 2.0
SIGN_US = 1_000
LOG_JOBS = "\n[logging]\njobs = true\n"
"""So that a log that nobody reads is full within seconds."""

RECORD = "\n[record]\nenabled = true\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """Settings of a stack. ``broken``: a script of ``broken_scripts.py``; ``manners``: of the tenants' modules."""

    deployment: Deployment = Deployment.ONE
    broken: str = ""
    lease_s: float = LEASE_S
    sign_us: int = SIGN_US
    retention_s: float = 3600.0
    manners: tuple[str, ...] = ()


def observed_rig(folder: Path, setup: Setup, place: RedisPlace) -> ObservedRig:
    """The rig in ``folder``, on the Redis of ``place``; to be entered."""
    one_lane = dict.fromkeys([*TENANTS, "service"], f"lanes = 1\ncall_timeout_s = {CALL_TIMEOUT_S}")
    return ObservedRig(
        directory=folder / "rig",
        redis=place.first,
        redis_table=place.table,
        shelf=CopiedTokens(folder / "tokens"),
        tenants=TENANTS,
        token=one_lane,
        worker={"lease_s": setup.lease_s, "drain_s": 5.0, "result_retention_s": setup.retention_s},
        wrap=_with_manners(
            setup.manners, _with_both_loops(behind_simhsm(folder / "rig", sign_us=setup.sign_us))
        ),
        service=LOG_JOBS + RECORD,
        broken=setup.broken,
        lane_clock=SteppedClock(folder / "lane-clock"),
    )


def _with_manners(
    names: tuple[str, ...], wrap: Callable[[TokenSettings], TokenSettings]
) -> Callable[[TokenSettings], TokenSettings]:
    """A ``Rig.wrap`` with these manners in front of another; without any, that one."""
    if not names:
        return wrap

    def both(settings: TokenSettings) -> TokenSettings:
        device = wrap(settings)
        return Manners(names=names, real_module=Path(device.module)).in_front_of(device)

    return both


def _with_both_loops(
    wrap: Callable[[TokenSettings], TokenSettings],
) -> Callable[[TokenSettings], TokenSettings]:
    """A ``Rig.wrap`` after which the lanes of that tenant sign by python-pkcs11, the others by the native loop."""

    def both(settings: TokenSettings) -> TokenSettings:
        device = wrap(settings)
        if settings.select.label != BY_PYTHON:
            return device
        return replace(device, environment={**device.environment, LOOP_VARIABLE: "python"})

    return both


@dataclass(slots=True, kw_only=True)
class ObservedRig(Rig):
    """A rig whose workers write down what Redis answers them; ``broken`` names a script of ``broken.py``.

    ``readers``: of the workers' stderr, by number.
    """

    broken: str = ""
    lane_clock: SteppedClock
    readers: dict[int, LogReader] = field(default_factory=dict)

    def output_of(self, number: int) -> Path:
        if number not in self.readers:
            self.readers[number] = LogReader.start(self.directory, f"worker-{number}")
        return self.readers[number].pipe

    def close_logs(self) -> None:
        """Read the logs of workers that have ended to their end."""
        while self.readers:
            self.readers.popitem()[1].close()

    def program(self, number: int) -> list[str]:
        words = [
            "-m",
            "tests.faults.harness.worker_entry",
            f"worker-{number}",
            str(self.history_file(number)),
        ]
        return [*words, *([self.broken] if self.broken else [])]

    @property
    def environment(self) -> dict[str, str]:
        return {"PYTHONPATH": str(ROOT), **lane_clock_environment(self.lane_clock)}

    def history_file(self, number: int) -> Path:
        return self.directory / f"worker-{number}.jsonl"
