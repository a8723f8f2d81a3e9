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
from queueing.errors import SigningError
from queueing.protocol.algorithms import DEFAULT_FOR_KEY, FACTS
from queueing.protocol.public_keys import PublicKey
from workers.hsm import module
from workers.hsm.faults import Action, HsmFailure, failure_for_code, to_signing_error
from workers.hsm.keys import find_key, object_handle, session_handle
from workers.hsm.native.loop import NativeLoop, choose_loop
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
    loaded = module.load(asked.module)
    pool = open_pool(select_token(loaded, TokenSelect(label=asked.token)), pin=Secret(asked.pin), count=1)
    by_native = choose_loop(loaded).native
    assert (by_native is None) is (loaded.functions is None)
    wrong = _wrong(asked, pool, None, asked.calls)
    if by_native is not None:  # it asks for no length
        wrong += _wrong(asked, pool, by_native, [call for call in asked.calls if call != "C_SignLength"])
    pool.close()
    return wrong


def _wrong(asked: FaultRun, pool: SessionPool, loop: NativeLoop | None, calls: list[str]) -> list[str]:
    """Values after which this loop did not follow the table; None: python-pkcs11's."""
    public_key = PublicKey.from_spki(bytes.fromhex(asked.spki))
    wrong = []
    for call in calls:
        # One good signature behind each bad one, so the bad ones have odd numbers.
        bad = [f"{call} rv={code:#x} nth={2 * i + 1}" for i, code in enumerate(asked.codes)]
        write_rules(Path(asked.rules), bad)
        time.sleep(RULES_COUNT_AFTER_S)
        signer = _signer(pool, public_key, loop)
        for code in asked.codes:
            reported, expected = _sign(signer), failure_for_code(code)
            if reported is None or not _same(reported, expected):
                wrong.append(f"{call} {code:#x}: {reported or 'signed'} instead of {expected}")
            pool.replace(0)  # as a lane does: an operation may be active in the old one
            signer = _signer(pool, public_key, loop)
            if after := _sign(signer):
                wrong.append(f"{call} after {code:#x}: {after}")
        write_rules(Path(asked.rules), [])
    return wrong


def _signer(pool: SessionPool, public_key: PublicKey, loop: NativeLoop | None) -> Signer:
    session = pool.sessions[0]
    key = find_key(session, public_key)
    native = None if loop is None else loop.for_thread().key(session_handle(session), object_handle(key))
    return Signer(key, public_key, native=native)


def _same(reported: HsmFailure | SigningError, expected: HsmFailure) -> bool:
    """Whether they are one row of the table; after CKR_BUFFER_TOO_SMALL python-pkcs11 asks once more, and has another failure."""
    if isinstance(reported, SigningError):
        return expected.action is Action.PERMANENT and str(reported) == str(to_signing_error(expected))
    by_action = (reported.action, reported.pin_failure) == (expected.action, expected.pin_failure)
    return by_action and expected.code in {reported.code, BUFFER_TOO_SMALL}


def _sign(signer: Signer) -> HsmFailure | SigningError | None:
    """The failure of a signature; None where it verified."""
    algorithm = DEFAULT_FOR_KEY[signer.public_key.kind]
    digest = os.urandom(max(FACTS[algorithm].digest_lengths))
    done: list[bytes | SigningError] = []
    try:
        signer.sign_run(algorithm, [digest], done)
    except HsmFailure as failure:
        return failure
    (outcome,) = done
    if isinstance(outcome, SigningError):
        return outcome
    signer.public_key.verify(algorithm, digest, outcome)
    return None


if __name__ == "__main__":
    sys.stdout.buffer.write(msgspec.json.encode(run(msgspec.json.decode(sys.argv[1], type=FaultRun))))
    sys.stdout.flush()
    os._exit(0)
