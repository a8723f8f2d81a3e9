"""One rig for all tests that leave it as it is: three tenants on simulated network HSMs that keep a log.

``acme`` has a P-256 key ``release`` and keys in every state that does not sign; ``globex`` a P-256 key of its
own; ``initech`` a key of each kind.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
from cryptography.hazmat.primitives.asymmetric import ec

from bench.hsm.simhsm import SignRecord, SimHsm, read_log
from bench.native.build import build_simhsm
from queueing import ClientKey
from queueing.protocol.algorithms import FACTS, Algorithm, KeyKind
from queueing.protocol.public_keys import PublicKey
from tests.support.hsm.tokens import TokenShelf
from tests.support.keys import spki_of
from tests.support.redis.process import RedisProcess
from tests.support.rig.rig import Rig, WorkerProcess, client_block, key_block
from workers.config.settings import TokenSettings
from workers.lanes.canary import canary_digest

CANARY_TAILS = {canary_digest(algorithm)[-8:] for algorithm in Algorithm}
"""The ends of what canaries sign: the record of a signature has the last 8 bytes of its input."""

EACH_KIND = (KeyKind.RSA_2048, KeyKind.P256, KeyKind.P384, KeyKind.P521, KeyKind.ED25519)


@dataclass(slots=True, kw_only=True)
class SharedRig:
    """The running rig; ``revoked`` and ``expired`` are client keys of acme."""

    rig: Rig
    worker: WorkerProcess
    revoked: ClientKey = field(default_factory=ClientKey.generate)
    expired: ClientKey = field(default_factory=ClientKey.generate)

    def signed(self, tenant: str) -> list[SignRecord]:
        """Every C_Sign that reached the tenant's module so far, but for canaries."""
        return signed_for_jobs(self.rig.directory / f"{tenant}.simhsm.log")


def signed_for_jobs(log: Path) -> list[SignRecord]:
    """Signatures of this module other than canaries."""
    return [record for record in read_log(log) if record.input_tail not in CANARY_TAILS]


def behind_simhsm(directory: Path, **behaviour: int) -> Callable[[TokenSettings], TokenSettings]:
    """A ``Rig.wrap`` that puts the simulated HSM before each module, with a log and fault rules per token.

    The service's own token is as fast as it can be, whatever the others' behaviour.
    """

    def wrap(settings: TokenSettings) -> TokenSettings:
        name = settings.select.label
        device = SimHsm(
            real_module=Path(settings.module),
            log=directory / f"{name}.simhsm.log",
            faults_file=directory / f"{name}.faults",
            **(behaviour if name != "service" else {}),  # type: ignore[arg-type]  # times and counts only
        )
        environment = {**settings.environment, **device.environment()}
        return msgspec.structs.replace(settings, module=str(build_simhsm()), environment=environment)

    return wrap


def _nowhere() -> PublicKey:
    """A key that no token has: whoever looked for it would say something else than its state."""
    return PublicKey.from_spki(spki_of(ec.generate_private_key(ec.SECP256R1())))


def start_shared_rig(directory: Path, redis: RedisProcess, shelf: TokenShelf) -> SharedRig:
    """Make the files and start the worker."""
    made = shelf.get(
        acme={"acme.release.v1": KeyKind.P256, "acme.twin": KeyKind.RSA_2048},
        initech={"initech.release.v1": KeyKind.P256, **{f"initech.{kind}": kind for kind in EACH_KIND}},
    )
    acme, initech = made["acme"], made["initech"]
    acme.duplicate("acme.twin")
    revoked, expired = ClientKey.generate(), ClientKey.generate()
    ecdsa = ["ECDSA_SHA_256"]
    blocks = [
        client_block("revoked", revoked, state="revoked"),
        client_block("expired", expired, expires="2020-01-01T00:00:00Z"),
        *(
            key_block(state, "acme", _nowhere(), ecdsa, state=f'"{state}"')
            for state in ("next", "verify-only", "retired", "revoked")
        ),
        key_block("lapsed", "acme", _nowhere(), ecdsa, expires="2020-01-01T00:00:00Z"),
        key_block("twin", "acme", acme.keys["acme.twin"], ["RSASSA_PKCS1_V1_5_SHA_256"]),
    ]
    each = [
        key_block(
            kind.lower().replace("_", "-"),
            "initech",
            initech.keys[f"initech.{kind}"],
            sorted(a for a, facts in FACTS.items() if kind in facts.key_kinds),
        )
        for kind in EACH_KIND
    ]
    rig = Rig(
        directory=directory,
        redis=redis,
        shelf=shelf,
        tenants=dict.fromkeys(("acme", "globex", "initech"), KeyKind.P256),
        worker={"lane_idle_s": 3600.0},  # all tests of a run share its lanes
        wrap=behind_simhsm(directory),
        more={"acme": "".join(blocks), "initech": "".join(each)},
    )
    rig.__enter__()
    return SharedRig(rig=rig, worker=rig.start_worker(), revoked=revoked, expired=expired)
