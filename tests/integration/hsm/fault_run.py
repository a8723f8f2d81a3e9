"""Fault table of a token, in a process of its own: each return value from each call of a signature, between good ones.

``python fault_run.py JSON``: a ``FaultRun`` comes as JSON, what did not follow the table goes to stdout as JSON.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import msgspec

from bench.hsm.simhsm import write_rules
from queueing.config.secrets import Secret
from queueing.protocol.algorithms import DEFAULT_FOR_KEY, FACTS
from queueing.protocol.public_keys import PublicKey
from workers.hsm import module
from workers.hsm.faults import HsmFailure, failure_for_code
from workers.hsm.keys import find_key
from workers.hsm.sessions import SessionPool, open_pool
from workers.hsm.signing import Signer
from workers.hsm.tokens import TokenSelect, select_token

BUFFER_TOO_SMALL = 0x150
RULES_COUNT_AFTER_S = 0.02  # bench.hsm.simhsm.write_rules


class FaultRun(msgspec.Struct, kw_only=True):
    """Token, the public key (SPKI in hex) of a key in it, and the values that its simulated HSM returns, from each call."""

    module: str
    token: str
    pin: str
    spki: str
    rules: str
    calls: list[str]
    codes: list[int]


def run(asked: FaultRun) -> list[str]:
    """Values that were not reported as the table says, and signatures that failed after them."""
    token = select_token(module.load(asked.module), TokenSelect(label=asked.token))
    pool = open_pool(token, pin=Secret(asked.pin), count=1)
    public_key = PublicKey.from_spki(bytes.fromhex(asked.spki))
    wrong = []
    for call in asked.calls:
        # One good signature behind each bad one, so the bad ones have odd numbers.
        bad = [f"{call} rv={code:#x} nth={2 * i + 1}" for i, code in enumerate(asked.codes)]
        write_rules(Path(asked.rules), bad)
        time.sleep(RULES_COUNT_AFTER_S)
        signer = _signer(pool, public_key)
        for code in asked.codes:
            reported, expected = _sign(signer), failure_for_code(code)
            if reported is None or not _same(reported, expected):
                wrong.append(f"{call} {code:#x}: {reported or 'signed'} instead of {expected}")
            pool.replace(0)  # as a lane does: an operation may be active in the old one
            signer = _signer(pool, public_key)
            if after := _sign(signer):
                wrong.append(f"{call} after {code:#x}: {after}")
        write_rules(Path(asked.rules), [])
    pool.close()
    return wrong


def _signer(pool: SessionPool, public_key: PublicKey) -> Signer:
    return Signer(find_key(pool.sessions[0], public_key), public_key)


def _same(reported: HsmFailure, expected: HsmFailure) -> bool:
    """Whether they are one row of the table; after CKR_BUFFER_TOO_SMALL python-pkcs11 asks once more, and has another failure."""
    by_action = (reported.action, reported.pin_failure) == (expected.action, expected.pin_failure)
    return by_action and expected.code in {reported.code, BUFFER_TOO_SMALL}


def _sign(signer: Signer) -> HsmFailure | None:
    """The failure of a signature; None where it verified."""
    algorithm = DEFAULT_FOR_KEY[signer.public_key.kind]
    digest = os.urandom(max(FACTS[algorithm].digest_lengths))
    try:
        signer.public_key.verify(algorithm, digest, signer.sign(algorithm, digest))
    except HsmFailure as failure:
        return failure
    return None


if __name__ == "__main__":
    sys.stdout.buffer.write(msgspec.json.encode(run(msgspec.json.decode(sys.argv[1], type=FaultRun))))
    sys.stdout.flush()
    os._exit(0)
