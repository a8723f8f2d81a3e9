"""An RSA-3072 key whose signatures are real and cost next to nothing: its modulus is 96 primes of 32 bits.

Verifiers see an ordinary public key. The private operation takes about 60 us (``native/simhsm_primes.c``), so a simulated
device can answer with valid signatures and leave the cores to everything else. Such a key protects nothing.

    python -m bench.hsm.cheap_key --module PATH --token LABEL --pin-file PATH --label LABEL --primes-file PATH

makes a key, puts it into a token, and prints its SubjectPublicKeyInfo in hex. It is a process of its own, because a module that
was loaded once stays loaded.
"""

from __future__ import annotations

import argparse
import math
import os
import secrets
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from queueing.protocol.public_keys import PublicKey
from workers.config.settings import PinLogin, TokenSettings

PRIMES: Final = 96
EXPONENT: Final = 65537
_LEAST: Final = int(2 ** (32 - 1 / PRIMES)) + 1
"""The product of 96 primes from here on has 3,072 bits."""

_WITNESSES: Final = (2, 7, 61)
"""Enough for every number of 32 bits (Jaeschke, Mathematics of Computation 61, 1993)."""


@dataclass(frozen=True, slots=True)
class CheapKey:
    """The primes."""

    primes: tuple[int, ...]

    @classmethod
    def generate(cls) -> Self:
        """A new key."""
        primes: set[int] = set()
        while len(primes) < PRIMES:
            candidate = _LEAST + secrets.randbelow(2**32 - _LEAST)
            if _is_prime(candidate) and (candidate - 1) % EXPONENT:
                primes.add(candidate)
        return cls(tuple(sorted(primes)))

    @property
    def public(self) -> rsa.RSAPublicKey:
        """The public key."""
        return rsa.RSAPublicNumbers(EXPONENT, math.prod(self.primes)).public_key()

    def spki(self) -> bytes:
        """SubjectPublicKeyInfo, DER."""
        return self.public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)

    def pkcs1(self) -> tuple[bytes, bytes]:
        """Private and public key, DER. Each of the two "primes" is the product of half of the primes, and still signs."""
        p, q = math.prod(self.primes[: PRIMES // 2]), math.prod(self.primes[PRIMES // 2 :])
        d = pow(EXPONENT, -1, math.lcm(*(prime - 1 for prime in self.primes)))
        numbers = rsa.RSAPrivateNumbers(
            p=p,
            q=q,
            d=d,
            dmp1=d % math.lcm(*(prime - 1 for prime in self.primes[: PRIMES // 2])),
            dmq1=d % math.lcm(*(prime - 1 for prime in self.primes[PRIMES // 2 :])),
            iqmp=pow(q, -1, p),
            public_numbers=rsa.RSAPublicNumbers(EXPONENT, p * q),
        )
        private = numbers.private_key(unsafe_skip_rsa_key_validation=True)
        return (
            private.private_bytes(Encoding.DER, PrivateFormat.TraditionalOpenSSL, NoEncryption()),
            self.public.public_bytes(Encoding.DER, PublicFormat.PKCS1),
        )

    def text(self) -> str:
        """``SIMHSM_PRIMES_FILE``: each prime with the private exponent modulo the prime less one."""
        return "".join(f"{prime} {pow(EXPONENT, -1, prime - 1)}\n" for prime in self.primes)


def _is_prime(number: int) -> bool:
    """Whether a number of 32 bits is prime, by Miller and Rabin."""
    if number % 2 == 0:
        return number == 2
    twos = ((number - 1) & (1 - number)).bit_length() - 1
    odd = (number - 1) >> twos
    return all(_passes(pow(witness, odd, number), number, twos) for witness in _WITNESSES)


def _passes(power: int, number: int, twos: int) -> bool:
    if power in {0, 1, number - 1}:
        return True
    return any((power := power * power % number) == number - 1 for _ in range(twos - 1))


def import_cheap_key(token: TokenSettings, label: str, primes_file: Path) -> PublicKey:
    """Put a new key into a token, by a process of its own; its public key."""
    assert token.select.label is not None
    assert isinstance(token.login, PinLogin)
    options = {
        "module": token.module,
        "token": token.select.label,
        "pin-file": token.login.pin_file,
        "label": label,
        "primes-file": str(primes_file),
    }
    command = [sys.executable, "-m", "bench.hsm.cheap_key"]
    command += [word for name, value in options.items() for word in (f"--{name}", value)]
    environment = {**os.environ, **token.environment}
    done = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True)
    return PublicKey.from_spki(bytes.fromhex(done.stdout))


def main() -> None:
    """Make a key and put it into the token."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.hsm.cheap_key", description=(__doc__ or "").splitlines()[0]
    )
    for name in ("module", "token", "pin-file", "label", "primes-file"):
        parser.add_argument(f"--{name}", required=True)
    options = parser.parse_args()
    key = CheapKey.generate()
    _put(key, options)
    Path(options.primes_file).write_text(key.text(), "utf-8")
    print(key.spki().hex())


def _put(key: CheapKey, options: argparse.Namespace) -> None:
    import pkcs11
    from pkcs11 import Attribute
    from pkcs11.util.rsa import decode_rsa_private_key, decode_rsa_public_key

    private, public = key.pkcs1()
    pin = Path(options.pin_file).read_text("utf-8").strip()
    token = pkcs11.lib(options.module).get_token(token_label=options.token)
    of_a_private_key = {
        Attribute.PRIVATE: True,
        Attribute.SENSITIVE: True,
        Attribute.EXTRACTABLE: False,
        Attribute.SIGN: True,
    }
    named = {Attribute.TOKEN: True, Attribute.LABEL: options.label, Attribute.ID: b"\1"}
    with token.open(rw=True, user_pin=pin) as session:
        for attributes, own in (
            (decode_rsa_private_key(private), of_a_private_key),
            (decode_rsa_public_key(public), {Attribute.PRIVATE: False, Attribute.VERIFY: True}),
        ):
            session.create_object({**attributes, **named, **own})


if __name__ == "__main__":
    main()
