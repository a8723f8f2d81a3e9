"""Signing loop of python-pkcs11 alone: the Python counterpart of signloop.c.

    python -m bench.ceiling.python_loop --module PATH --token LABEL --key LABEL --mechanism rsa|ecdsa|eddsa
                           --input-bytes N [--threads N] [--verify] --pin-file PATH

It speaks signloop's protocol: "ready", then a JSON line for each "go SECONDS". One process for each
measurement, because a module that was loaded once stays as it was initialised.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import resource
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

CKF_OS_LOCKING_OK: Final = 2  # PKCS#11 2.40, CK_C_INITIALIZE_ARGS
SHA256_PREFIX: Final = bytes.fromhex("3031300d060960864801650304020105000420")  # RFC 8017 9.2, note 1
MECHANISMS: Final = {"rsa": "RSA_PKCS", "ecdsa": "ECDSA", "eddsa": "EDDSA"}


class _InitializeArgs(ctypes.Structure):
    _fields_ = (
        ("mutexes", ctypes.c_void_p * 4),
        ("flags", ctypes.c_ulong),
        ("reserved", ctypes.c_void_p),
    )


def initialise_with_locking(module: Path) -> Any:
    """python-pkcs11's library object, safe for threads.

    python-pkcs11 calls C_Initialize(NULL), which promises one thread. So, before anything else, the module
    is finalised and initialised again with CKF_OS_LOCKING_OK.
    """
    import pkcs11

    library = pkcs11.lib(str(module))
    raw = ctypes.CDLL(str(module))
    arguments = _InitializeArgs(flags=CKF_OS_LOCKING_OK)
    for rv in (raw.C_Finalize(None), raw.C_Initialize(ctypes.byref(arguments))):
        if rv:
            raise RuntimeError(f"the module refuses locking: 0x{rv:x}")
    return library


def signer(session: Any, options: argparse.Namespace, serial: int) -> Callable[[], None]:
    """A function that signs the next input of its own series, and verifies if told to."""
    from pkcs11 import KeyType, Mechanism, ObjectClass

    key_type = {"rsa": KeyType.RSA, "ecdsa": KeyType.EC, "eddsa": KeyType.EC_EDWARDS}[options.mechanism]
    mechanism = Mechanism[MECHANISMS[options.mechanism]]

    def key(kind: Any) -> Any:
        return session.get_key(object_class=kind, key_type=key_type, label=options.key)

    private = key(ObjectClass.PRIVATE_KEY)
    public = key(ObjectClass.PUBLIC_KEY) if options.verify else None
    head = SHA256_PREFIX if options.mechanism == "rsa" and options.input_bytes == 51 else b""
    head = head.ljust(options.input_bytes - 8, b"Z")

    def sign_next() -> None:
        nonlocal serial
        data = head + serial.to_bytes(8, "little")
        serial += 1
        signature = private.sign(data, mechanism=mechanism)
        if public is not None and not public.verify(data, signature, mechanism=mechanism):
            raise RuntimeError("a signature does not verify")

    return sign_next


def run_round(signers: list[Callable[[], None]], seconds: float) -> dict[str, float]:
    """Every signer in a thread of its own for ``seconds``; the sum of their own rates."""
    counts = [(0, 1.0)] * len(signers)
    start_line = threading.Barrier(len(signers))

    def work(index: int, sign_next: Callable[[], None]) -> None:
        clock = time.perf_counter
        start_line.wait()
        start = clock()
        count, elapsed_s = 0, 0.0
        while elapsed_s < seconds:
            sign_next()
            count += 1
            elapsed_s = clock() - start
        counts[index] = (count, elapsed_s)

    cpu_s = _cpu_s()
    threads = [threading.Thread(target=work, args=pair) for pair in enumerate(signers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if any(count == 0 for count, _ in counts):
        raise RuntimeError("a signing thread failed")
    return {
        "signatures": sum(count for count, _ in counts),
        "seconds": max(elapsed_s for _, elapsed_s in counts),
        "rate_per_s": sum(count / elapsed_s for count, elapsed_s in counts),
        "cpu_s": _cpu_s() - cpu_s,
    }


def _cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.ceiling.python_loop")
    for name in ("module", "token", "key", "pin-file"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--mechanism", choices=sorted(MECHANISMS), required=True)
    parser.add_argument("--input-bytes", type=int, required=True)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--verify", action="store_true")
    return parser.parse_args()


def main() -> None:
    """Open everything, say so, and obey until stdin ends."""
    options = _options()
    token = initialise_with_locking(Path(options.module)).get_token(token_label=options.token)
    pin = Path(options.pin_file).read_text().strip()
    sessions = [token.open(user_pin=pin)]  # the login's owner; the others share its login
    sessions += [token.open() for _ in range(options.threads - 1)]
    signers = [signer(session, options, index << 48) for index, session in enumerate(sessions)]
    print("ready", flush=True)
    for command in sys.stdin:
        word, seconds = command.split()
        if word != "go":
            raise SystemExit(f"unknown command {word}")
        print(json.dumps(run_round(signers, float(seconds))), flush=True)


if __name__ == "__main__":
    main()
