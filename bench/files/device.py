"""The module behind the lanes: SoftHSM on the cores that hash the files, or a simulated network HSM that is elsewhere."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.capacity.hsm_rates import HsmRate
from bench.ceiling.measure import CeilingSession
from bench.ceiling.probe import Drive, Loop
from bench.hsm.cheap_key import import_cheap_key
from bench.hsm.keyring import LABEL, KeptFile
from bench.hsm.simhsm import SimHsm
from bench.native.build import build_simhsm
from bench.session import Session
from bench.testbed.config_files import BenchTenant
from queueing.protocol.algorithms import KeyKind
from workers.dev.softhsm import make_token

KIND: Final = KeyKind.RSA_3072
CEILING_S: Final = 1.0
AT_ONCE: Final = 8
"""Signatures that the simulated device makes at once, each in this many times its mean."""

SESSIONS: Final = 2 * AT_ONCE
"""Of its lane and of its ceiling: a request is there when another one ends."""

_TENANT: Final = "files"


@dataclass(frozen=True, slots=True)
class Device:
    """``rate``: published, of the network HSM that is simulated; None: SoftHSM."""

    rate: HsmRate | None = None

    @property
    def name(self) -> str:
        """The device in words."""
        return "SoftHSM" if self.rate is None else f"a simulated {self.rate.model}"

    @property
    def tenant(self) -> BenchTenant:
        """The tenant whose key it has. One lane, because the simulated device counts its slots in each process."""
        if self.rate is None:
            return BenchTenant(name=_TENANT, kind=KIND)
        return BenchTenant(name=_TENANT, kind=KIND, lanes=1, sessions=SESSIONS)

    def key(self, session: Session) -> KeptFile:
        """The token with the key; call it before the testbed starts."""
        if self.rate is not None:
            session.keyring.hold(_simulated(session.directory / "device", self.rate))
        return session.keyring[KIND]

    def ceiling(self, session: Session) -> AbstractContextManager[CeilingSession]:
        """The module in a bare loop."""
        if self.rate is None:
            return session.ceiling(KIND, seconds=CEILING_S)
        drive = Drive(loop=Loop.C, threads=SESSIONS, processes=1)
        return CeilingSession(session.keyring[KIND].target(), [drive])


def _simulated(directory: Path, rate: HsmRate) -> KeptFile:
    """A token whose signatures come at the device's rate, real and with next to no CPU."""
    token = make_token(directory, _TENANT, sessions=1)
    primes_file = directory / "primes"
    kept = KeptFile(kind=KIND, token=token, public_key=import_cheap_key(token, LABEL, primes_file))
    simulated = SimHsm(
        real_module=Path(token.module),
        sign_us=sign_us(rate.per_s),
        slots=AT_ONCE,
        primes_file=primes_file,
    )
    return kept.behind(build_simhsm(), simulated.environment())


def sign_us(per_s: float) -> int:
    """Time of a C_Sign of a device that makes ``AT_ONCE`` signatures at once, and so many a second."""
    return round(1e6 * AT_ONCE / per_s)
