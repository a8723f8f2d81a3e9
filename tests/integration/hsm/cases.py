"""Cases of the integration tests with a real module: run by ``conftest.in_child``, each case in a process of its
own, for a process loads one module once.

``python cases.py CASE JSON``: the case's keyword arguments come as JSON, what it returns goes to stdout as JSON.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, Final

import pkcs11
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from pkcs11 import Attribute, KeyType, Mechanism, MechanismFlag, ObjectClass
from pkcs11.util.rsa import decode_rsa_private_key

from queueing.config.secrets import Secret
from queueing.errors import DigestLength, SigningError
from queueing.protocol.algorithms import FACTS, Algorithm, KeyKind
from queueing.protocol.public_keys import PublicKey
from workers.hsm import module
from workers.hsm.encodings import CURVE_OF
from workers.hsm.faults import HsmFailure
from workers.hsm.key_creation import KeyRecord, adopt_key, create_key, list_keys
from workers.hsm.keys import find_key, object_handle, session_handle
from workers.hsm.native.loop import NativeLoop, choose_loop
from workers.hsm.objects import objects
from workers.hsm.sessions import SessionPool, open_pool
from workers.hsm.signing import Signer
from workers.hsm.tokens import TokenSelect, select_token

Result = dict[str, Any]
CASES: Final[dict[str, Callable[..., Result]]] = {}
ECDSA: Final = Algorithm.ECDSA_SHA_256


def case(function: Callable[..., Result]) -> Callable[..., Result]:
    CASES[function.__name__] = function
    return function


_loops: Final[list[NativeLoop | None]] = []
"""The native loop of the module of this process."""


def pool_for(
    path: str, label: str, pin: str, *, count: int = 1, rw: bool = False, threads: bool = True
) -> SessionPool:
    loaded = module.load(path)
    assert loaded.threads_allowed is threads
    _loops[:] = [choose_loop(loaded).native]
    assert (_loops[0] is None) is (loaded.functions is None)
    return open_pool(select_token(loaded, TokenSelect(label=label)), pin=Secret(pin), count=count, rw=rw)


def signer_for(session: pkcs11.Session, spki: str) -> Signer:
    """Signer that signs single digests by python-pkcs11, and runs by the native loop where the module lets it."""
    public_key = PublicKey.from_spki(bytes.fromhex(spki))
    key = find_key(session, public_key)
    native = None
    if (loop := _loops[0]) is not None:
        native = loop.for_thread().key(session_handle(session), object_handle(key))
    return Signer(key, public_key, native=native)


def sign_as_run(signer: Signer, algorithm: Algorithm, digest: bytes) -> bytes:
    """Signature of a run of one digest."""
    done: list[bytes | SigningError] = []
    signer.sign_run(algorithm, [digest], done)
    (signature,) = done
    if isinstance(signature, SigningError):
        raise signature
    return signature


SIGN_BY: Final = (Signer.sign, sign_as_run)
"""By python-pkcs11, and by the native loop."""


def outcome(call: Callable[[], object]) -> Result:
    """Outcome of a call, in a form that the parent can compare."""
    try:
        call()
    except HsmFailure as exc:
        return {
            "error": "HsmFailure",
            "name": exc.code_name,
            "action": exc.action.value,
            "pin": exc.pin_failure,
            "text": str(exc),
        }
    except (SigningError, RuntimeError) as exc:
        return {"error": type(exc).__name__, "text": str(exc)}
    return {"error": None}


def shown(record: KeyRecord) -> Result:
    return {
        "label": record.label,
        "key_id": record.key_id,
        "kind": record.kind,
        "spki": record.public_key.spki.hex(),
        "attributes": dict(record.attributes),
    }


@case
def create_keys(path: str, token: str, pin: str, labels: dict[str, str]) -> Result:
    pool = pool_for(path, token, pin, rw=True)
    records = {
        label: shown(create_key(pool.sessions[0], KeyKind(kind), label)) for label, kind in labels.items()
    }
    first = next(iter(labels))
    again = outcome(lambda: create_key(pool.sessions[0], KeyKind.P256, first))
    listed = [shown(record) for record in list_keys(pool.sessions[0])]
    adopted = shown(adopt_key(pool.sessions[0], label=first))
    by_id = shown(adopt_key(pool.sessions[0], key_id=bytes.fromhex(adopted["key_id"])))
    pool.close()
    return {"records": records, "again": again, "listed": listed, "adopted": [adopted, by_id]}


@case
def sign_everything(path: str, token: str, pin: str, spkis: list[str]) -> Result:
    pool = pool_for(path, token, pin)
    signatures = []
    for spki in spkis:
        signer = signer_for(pool.sessions[0], spki)
        for algorithm in sorted(signer.public_key.algorithms):
            for length in sorted(FACTS[algorithm].digest_lengths):
                for sign in SIGN_BY:
                    digest = os.urandom(length)
                    signatures.append([spki, algorithm, digest.hex(), sign(signer, algorithm, digest).hex()])
    pool.close()
    return {"signatures": signatures}


@case
def contract(path: str, token: str, pin: str, spkis: dict[str, str], label: str, threads: bool) -> Result:
    """All that is done with keys, in a token whose module has manners: list, adopt and find each, sign, create one."""
    pool = pool_for(path, token, pin, rw=True, threads=threads)
    session = pool.sessions[0]
    result: Result = {
        "listed": sorted(record.public_key.spki.hex() for record in list_keys(session)),
        "adopted": {name: outcome(lambda n=name: adopt_key(session, label=n)) for name in spkis},  # type: ignore[misc]
        "signed": {},
    }
    for name, spki in spkis.items():
        public_key = PublicKey.from_spki(bytes.fromhex(spki))
        for algorithm in sorted(public_key.algorithms):

            def sign(algorithm: Algorithm = algorithm, spki: str = spki) -> None:
                signer, length = signer_for(session, spki), max(FACTS[algorithm].digest_lengths)
                for sign_one in SIGN_BY * 4:
                    digest = os.urandom(length)
                    signer.public_key.verify(algorithm, digest, sign_one(signer, algorithm, digest))

            result["signed"][f"{name} {algorithm}"] = outcome(sign)
    result["created"] = outcome(lambda: create_key(session, KeyKind.P256, label))
    for item in objects(session, {Attribute.LABEL: label}):
        item.destroy()
    pool.close()
    return result


@case
def two_threads(path: str, token: str, pin: str, spki: str, seconds: float, native: bool) -> Result:
    pool = pool_for(path, token, pin, count=2)
    if not native:
        _loops[:] = [None]
    assert (_loops[0] is not None) is native
    signers = [signer_for(session, spki) for session in pool.sessions]
    stop_at = time.monotonic() + seconds
    counts, errors = [0, 0], []

    def work(index: int) -> None:
        try:
            while time.monotonic() < stop_at:
                digests = [os.urandom(32) for _ in range(16)]
                out: list[bytes | SigningError] = []
                signers[index].sign_run(ECDSA, digests, out)
                assert all(isinstance(item, bytes) for item in out)
                counts[index] += len(out)
        except BaseException as exc:  # noqa: BLE001 - whatever ends a thread is the test's finding
            errors.append(repr(exc))

    threads = [threading.Thread(target=work, args=(index,)) for index in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    pool.close()
    return {"counts": counts, "errors": errors}


@case
def wrong_lengths(path: str, token: str, pin: str, spkis: list[str], lengths: list[int]) -> Result:
    pool = pool_for(path, token, pin)
    refused, reached = 0, []
    for spki in spkis:
        signer = signer_for(pool.sessions[0], spki)
        for algorithm in sorted(signer.public_key.algorithms):
            for length in lengths:
                try:
                    signer.sign(algorithm, bytes(length))
                    reached.append([algorithm, length])
                except DigestLength:
                    refused += 1
                done: list[bytes | SigningError] = []
                signer.sign_run(algorithm, [bytes(length)], done)
                assert [type(outcome) for outcome in done] == [DigestLength]
            signer.sign(algorithm, bytes(max(FACTS[algorithm].digest_lengths)))
    pool.close()
    return {"refused": refused, "reached": reached}


@case
def close_one_session(path: str, token: str, pin: str, spki: str) -> Result:
    pool = pool_for(path, token, pin, count=3)
    signers = [signer_for(session, spki) for session in pool.sessions]
    pool.sessions[1].close()
    after_close = [outcome(lambda s=s: s.sign(ECDSA, bytes(32))) for s in signers]  # type: ignore[misc]
    fresh = signer_for(pool.replace(1), spki)
    after_replace = [outcome(lambda s=s: s.sign(ECDSA, bytes(32))) for s in (signers[0], fresh, signers[2])]  # type: ignore[misc]
    pool.close()
    return {"after_close": after_close, "after_replace": after_replace}


@case
def foreign_handle(path: str, token: str, pin: str, pinned: str, handle_of: str) -> Result:
    pool = pool_for(path, token, pin)
    pinned_key = PublicKey.from_spki(bytes.fromhex(pinned))
    other = find_key(pool.sessions[0], PublicKey.from_spki(bytes.fromhex(handle_of)))
    released: list[bytes] = []
    ended = outcome(lambda: released.append(Signer(other, pinned_key).sign(ECDSA, bytes(32))))
    return {"ended": ended, "released": len(released)}


@case
def wrong_pin(path: str, token: str, pin: str) -> Result:
    return {"ended": outcome(lambda: pool_for(path, token, "0" + pin))}


@case
def load_outcomes(path: str, first: str) -> Result:
    return {"first": outcome(lambda: module.load(first)), "second": outcome(lambda: module.load(path))}


@case
def select(path: str, label: str | None = None, serial: str | None = None, slot: int | None = None) -> Result:
    loaded = module.load(path)
    return {
        "ended": outcome(lambda: select_token(loaded, TokenSelect(label=label, serial=serial, slot=slot)))
    }


@case
def lost_login(path: str, token: str, pin: str, spki: str) -> Result:
    """The token was logged out under the pool: the key is not there any more."""
    pool = pool_for(path, token, pin)
    assert pool._login is not None
    pool._login.close()
    public_key = PublicKey.from_spki(bytes.fromhex(spki))
    return {"ended": outcome(lambda: find_key(pool.sessions[0], public_key))}


def _generate(session: pkcs11.Session, kind: KeyKind, label: str, key_id: bytes, **private: bool) -> None:
    template = {Attribute[name.upper()]: value for name, value in private.items()}
    common: dict[str, Any] = {
        "id": key_id,
        "label": label,
        "store": True,
        "capabilities": MechanismFlag.SIGN | MechanismFlag.VERIFY,
        "private_template": template,
    }
    if kind is KeyKind.RSA_2048:
        session.generate_keypair(KeyType.RSA, 2048, **common)
        return
    params = {Attribute.EC_PARAMS: CURVE_OF[kind].params[0]}
    session.create_domain_parameters(KeyType.EC, params, local=True).generate_keypair(**common)


def _import_rsa(session: pkcs11.Session, label: str, key_id: bytes, **private: bool) -> None:
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    key = rsa.generate_private_key(65537, 2048)
    der = key.private_bytes(Encoding.DER, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    attributes = {
        **decode_rsa_private_key(der, MechanismFlag.SIGN),
        Attribute.TOKEN: True,
        Attribute.PRIVATE: True,
        Attribute.LABEL: label,
        Attribute.ID: key_id,
        **{Attribute[name.upper()]: value for name, value in private.items()},
    }
    session.create_object(attributes)


@case
def refused_keys(path: str, token: str, pin: str) -> Result:
    """Keys with wrong attributes; each must be refused with the reason."""
    session = pool_for(path, token, pin, rw=True).sessions[0]
    _generate(session, KeyKind.P256, "extractable", b"\x01", extractable=True)
    _generate(session, KeyKind.RSA_2048, "not-sensitive", b"\x02", sensitive=False, extractable=False)
    _generate(session, KeyKind.P256, "no-sign", b"\x03", sign=False, extractable=False)
    _import_rsa(session, "imported", b"\x04", sensitive=True, extractable=False)
    _generate(session, KeyKind.P256, "twin-a", b"\x05", extractable=False)
    _generate(session, KeyKind.P256, "twin-b", b"\x05", extractable=False)
    _generate(session, KeyKind.P256, "same-label", b"\x06", extractable=False)
    _generate(session, KeyKind.P256, "same-label", b"\x07", extractable=False)
    _generate(session, KeyKind.P256, "no-public", b"\x08", extractable=False)
    public = {Attribute.CLASS: ObjectClass.PUBLIC_KEY, Attribute.LABEL: "no-public"}
    next(iter(list(session.get_objects(public)))).destroy()
    labels = [
        "extractable",
        "not-sensitive",
        "no-sign",
        "imported",
        "twin-a",
        "same-label",
        "no-public",
        "missing",
    ]
    return {label: outcome(lambda label=label: adopt_key(session, label=label)) for label in labels}  # type: ignore[misc]


@case
def find_duplicates(path: str, token: str, pin: str) -> Result:
    """Two private keys under the CKA_ID of one public key, the same RSA key twice, and a key of nowhere."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    session = pool_for(path, token, pin, rw=True).sessions[0]
    record = create_key(session, KeyKind.P256, "one")
    _generate(session, KeyKind.P256, "two", bytes.fromhex(record.key_id), extractable=False)
    twice = create_key(session, KeyKind.RSA_2048, "rsa")
    private = next(
        iter(list(session.get_objects({Attribute.CLASS: ObjectClass.PRIVATE_KEY, Attribute.LABEL: "rsa"})))
    )
    private.copy({Attribute.LABEL: "rsa-copy"})
    nowhere = ec.generate_private_key(ec.SECP256R1()).public_key()
    absent = PublicKey.from_spki(nowhere.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))
    return {
        "ec": outcome(lambda: find_key(session, record.public_key)),
        "rsa": outcome(lambda: find_key(session, twice.public_key)),
        "absent": outcome(lambda: find_key(session, absent)),
    }


@case
def private_template(path: str, token: str, pin: str, labels: list[str]) -> Result:
    """The usage attributes of the private keys that ``create_key`` made."""
    session = pool_for(path, token, pin).sessions[0]
    wanted = ["SIGN", "SIGN_RECOVER", "DECRYPT", "UNWRAP", "DERIVE", "PRIVATE", "TOKEN"]
    found = {}
    for label in labels:
        template = {Attribute.CLASS: ObjectClass.PRIVATE_KEY, Attribute.LABEL: label}
        key = list(session.get_objects(template))[0]  # noqa: RUF015
        values = key.get_attributes([Attribute[name] for name in wanted])
        found[label] = {name: values.get(Attribute[name]) for name in wanted}
    return {"found": found}


@case
def raw_lengths_of_softhsm(path: str, token: str, pin: str, spki: str) -> Result:
    """Signature lengths of the module without the checks of ``Signer``."""
    pool = pool_for(path, token, pin)
    key = find_key(pool.sessions[0], PublicKey.from_spki(bytes.fromhex(spki)))
    assert isinstance(key, pkcs11.SignMixin)
    return {"signed": [len(key.sign(bytes(n), mechanism=Mechanism.ECDSA)) for n in (1, 31, 100_000)]}


if __name__ == "__main__":
    print(json.dumps(CASES[sys.argv[1]](**json.loads(sys.argv[2]))))  # noqa: T201
