"""Survey of a token behind another module, in a process of its own: what it creates, adopts, lists and signs, and what
``sigmill doctor`` reads of it.

``python survey.py JSON``: a ``Survey`` comes as JSON, its result goes to stdout as JSON.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import msgspec

from queueing.config.secrets import Secret
from queueing.errors import SigningError
from queueing.protocol.algorithms import FACTS, Algorithm, KeyKind
from queueing.protocol.public_keys import PublicKey
from workers.config.settings import PinLogin, SelectSettings, TokenSettings
from workers.hsm import module
from workers.hsm.faults import HsmFailure
from workers.hsm.key_creation import KeyRecord, adopt_key, create_key, list_keys
from workers.hsm.keys import find_key, object_handle, session_handle
from workers.hsm.mechanisms import unable_to_sign
from workers.hsm.native.loop import NativeLoop, choose_loop
from workers.hsm.sessions import SessionPool, open_pool
from workers.hsm.signing import Signer
from workers.hsm.tokens import TokenSelect, select_token
from workers.token_admin.client import TokenAdmin

SIGNATURES = 4  # by each algorithm and session
SESSIONS = 2


class Survey(msgspec.Struct, kw_only=True):
    """Kinds to create, and labels of keys to adopt that other tools created."""

    module: str
    token: str
    pin: str
    create: list[KeyKind]
    adopt: list[str] = []
    environment: dict[str, str] = {}
    folder: str


class Surveyed(msgspec.Struct, kw_only=True):
    """Findings; an empty text is a success, any other the error."""

    threads: bool
    unlisted: list[Algorithm]
    created: dict[str, str] = {}
    adopted: dict[str, str] = {}
    signed: dict[str, str] = {}
    listed: list[str] = []
    doctor_problem: str = ""
    doctor_keys: dict[str, str] = {}
    doctor_unable: list[Algorithm] = []

    @property
    def refused_signatures(self) -> dict[str, str]:
        """Algorithms by which a key did not sign, with the reason."""
        return {name: error for name, error in self.signed.items() if error}


def survey(asked: Survey) -> Surveyed:
    """Create, adopt, find, sign and list, in one process and login, then ask as the doctor does, in another."""
    loaded = module.load(asked.module)
    token = select_token(loaded, TokenSelect(label=asked.token))
    found = Surveyed(
        threads=loaded.threads_allowed, unlisted=list(unable_to_sign(token.slot, list(Algorithm)))
    )
    pool = open_pool(token, pin=Secret(asked.pin), count=SESSIONS, rw=True)
    loop = choose_loop(loaded).native
    assert (loop is None) is (loaded.functions is None), (
        "only a module with several lists signs by python-pkcs11 alone"
    )
    records: dict[str, KeyRecord] = {}
    for kind in asked.create:
        found.created[kind] = _said(lambda kind=kind: create_key(pool.sessions[0], kind, kind))
    made = [kind for kind, error in found.created.items() if not error]
    for label in (*made, *asked.adopt):

        def adopt(label: str = label) -> None:
            records[label] = adopt_key(pool.sessions[0], label=label)

        found.adopted[label] = _said(adopt)
    for label, record in records.items():
        for algorithm in sorted(record.public_key.algorithms):
            found.signed[f"{label} {algorithm}"] = _said(
                lambda r=record, a=algorithm: _sign(pool, r, a, loop)
            )
    found.listed = [record.label for record in list_keys(pool.sessions[0])]
    pool.close()
    _examine(asked, records, found)
    return found


def _sign(pool: SessionPool, record: KeyRecord, algorithm: Algorithm, loop: NativeLoop | None) -> None:
    """Single digests by python-pkcs11, and a run, by the native loop where the module lets it."""
    length = max(FACTS[algorithm].digest_lengths)
    for session in pool.sessions:
        key = find_key(session, record.public_key)
        native = loop.for_thread().key(session_handle(session), object_handle(key)) if loop else None
        signer = Signer(key, record.public_key, native=native)
        for _ in range(SIGNATURES):
            digest = os.urandom(length)
            record.public_key.verify(algorithm, digest, signer.sign(algorithm, digest))
        digests, done = [os.urandom(length) for _ in range(SIGNATURES)], list[bytes | SigningError]()
        signer.sign_run(algorithm, digests, done)
        for digest, signature in zip(digests, done, strict=True):
            if isinstance(signature, SigningError):
                raise signature
            record.public_key.verify(algorithm, digest, signature)


def _examine(asked: Survey, records: dict[str, KeyRecord], found: Surveyed) -> None:
    folder = Path(asked.folder)
    pin_file = folder / "pin"
    pin_file.write_text(asked.pin)
    pin_file.chmod(0o600)
    settings = TokenSettings(
        module=asked.module,
        select=SelectSettings(label=asked.token),
        login=PinLogin(pin_file=str(pin_file)),
        environment=asked.environment,
    )
    spkis = [record.public_key.spki for record in records.values()]
    algorithms = sorted({a for spki in spkis for a in PublicKey.from_spki(spki).algorithms})
    report = TokenAdmin("other", settings, folder).examine(spkis, algorithms, log_in=True)
    found.doctor_problem = report.problem
    found.doctor_keys = {
        label: key.problem for label, key in zip(records, report.keys, strict=True) if key.problem
    }
    found.doctor_unable = list(report.unable)


def _said(call: object) -> str:
    assert callable(call)
    try:
        call()
    except (HsmFailure, SigningError) as error:
        return str(error)
    return ""


if __name__ == "__main__":
    answer = survey(msgspec.json.decode(sys.argv[1], type=Survey))
    sys.stdout.buffer.write(msgspec.json.encode(answer))
    sys.stdout.flush()
    os._exit(0)  # not through the module's own exit handlers: some hang there
