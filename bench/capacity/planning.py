"""From a report's rows to a plan: which measured costs are used for which part."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Final

from bench.capacity.hsm_rates import MODELS, hsm_rate
from bench.capacity.model import Costs, Demand, Plan, plan
from bench.report.data import Row
from queueing.protocol.algorithms import KeyKind

DIGESTS_PER_JOB: Final = 64
DEFAULT_MODEL: Final = "azure-managed-hsm"  # the one whose table has RSA and both curves
HEADLINE_DEMANDS: Final = (
    Demand(per_day=500e6, kind=KeyKind.P256),
    Demand(per_day=500e6, kind=KeyKind.RSA_3072),
)
VERIFICATIONS: Final = 300


class NotMeasured(LookupError):
    """The report lacks a row that the plan needs."""


def planned(rows: Sequence[Row], demand: Demand, model: str = DEFAULT_MODEL) -> Plan:
    """The plan by the costs of these rows; raises ``NotMeasured``, or ``LookupError`` for an unknown rate."""
    return plan(demand, costs_of(rows, demand.kind), hsm_rate(MODELS[model], demand.kind))


def costs_of(rows: Sequence[Row], kind: KeyKind) -> Costs:
    """Measured CPU cost of a signature at 64 digests per envelope.

    Client, Redis and worker: this kind's row, or P-256's. Lane: the simulated network HSM's, because SoftHSM
    signs in the lane and a device does not; and one verification of this kind, measured now.
    """
    end_to_end = _row(rows, [str(kind), str(KeyKind.P256)], ("verify-after-sign", "end to end"))
    network = _row(rows, [str(KeyKind.P256)], ("simulated HSM, 1 ms in C_Sign, 64 sessions",))
    cpu = end_to_end.cpu_us_per_signature
    return Costs(
        client_us=cpu.client,
        redis_us=cpu.redis,
        worker_us=cpu.worker,
        lane_us=network.cpu_us_per_signature.lane + verification_us(kind),
    )


def verification_us(kind: KeyKind) -> float:
    """CPU microseconds of one verification with ``cryptography``, the library that the lane uses."""
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa

    curves = {KeyKind.P256: ec.SECP256R1(), KeyKind.P384: ec.SECP384R1(), KeyKind.P521: ec.SECP521R1()}
    message = b"m" * 32
    began = 0.0
    if kind in curves:
        ecdsa, scheme = ec.generate_private_key(curves[kind]), ec.ECDSA(hashes.SHA256())
        ecdsa_public, signature = ecdsa.public_key(), ecdsa.sign(message, scheme)
        began = time.process_time()
        for _ in range(VERIFICATIONS):
            ecdsa_public.verify(signature, message, scheme)
    elif kind is KeyKind.ED25519:
        eddsa = ed25519.Ed25519PrivateKey.generate()
        eddsa_public, signature = eddsa.public_key(), eddsa.sign(message)
        began = time.process_time()
        for _ in range(VERIFICATIONS):
            eddsa_public.verify(signature, message)
    else:
        bits = int(str(kind).rpartition("_")[2])
        private = rsa.generate_private_key(public_exponent=65537, key_size=bits)
        padded, public = padding.PKCS1v15(), private.public_key()
        signature = private.sign(message, padded, hashes.SHA256())
        began = time.process_time()
        for _ in range(VERIFICATIONS):
            public.verify(signature, message, padded, hashes.SHA256())
    return 1e6 * (time.process_time() - began) / VERIFICATIONS


def _row(rows: Sequence[Row], kinds: Sequence[str], scenarios: Sequence[str]) -> Row:
    for kind in kinds:
        for scenario in scenarios:
            for row in rows:
                found = (row.key_kind, row.scenario, row.digests_per_job)
                if found == (kind, scenario, DIGESTS_PER_JOB):
                    return row
    raise NotMeasured(f"the report has no row of {' or '.join(kinds)} in {' or '.join(scenarios)}")
