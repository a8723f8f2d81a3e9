"""The simulated HSM signs with a key of small primes: verifiers take its signatures, and nothing else is signed by it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from bench.hsm.cheap_key import CheapKey, import_cheap_key
from bench.hsm.simhsm import SimHsm
from bench.native.build import build_simhsm
from queueing.errors import ResultInvalid
from queueing.protocol.algorithms import Algorithm
from queueing.protocol.public_keys import PublicKey
from workers.config.settings import PinLogin, TokenSettings
from workers.dev.softhsm import make_token
from workers.hsm.keys import REQUIRED_ATTRIBUTES

LABEL = "bench.release.v1"
DIGEST = bytes(range(32))
DIGEST_INFO = bytes.fromhex("3031300d060960864801650304020105000420") + DIGEST  # RFC 8017 9.2, note 1

SIGN = """
import json, os, sys
import pkcs11
from pkcs11 import Attribute, Mechanism, ObjectClass
def outcome(data, mechanism):
    try:
        return key.sign(data, mechanism=mechanism).hex()
    except pkcs11.PKCS11Error as exc:
        return type(exc).__name__
token = pkcs11.lib(os.environ["TEST_MODULE"]).get_token(token_label="cheap")
with token.open(user_pin=open(sys.argv[1]).read().strip()) as session:
    key = session.get_key(object_class=ObjectClass.PRIVATE_KEY, label=sys.argv[2])
    shown = {name: key[Attribute[name]] for name in json.loads(sys.argv[4])}
    print(json.dumps([*(outcome(bytes.fromhex(data), Mechanism[name]) for data, name in json.loads(sys.argv[3])), shown]))
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cheap:
    """A token with a key of small primes."""

    token: TokenSettings
    public_key: PublicKey
    primes_file: Path
    build: Path

    @property
    def pin_file(self) -> str:
        assert isinstance(self.token.login, PinLogin)
        return self.token.login.pin_file


@pytest.fixture(scope="module")
def cheap(native_build: Path, tmp_path_factory: pytest.TempPathFactory) -> Cheap:
    folder = tmp_path_factory.mktemp("cheap")
    token = make_token(folder / "token", "cheap", sessions=1)
    public_key = import_cheap_key(token, LABEL, folder / "primes")
    return Cheap(token=token, public_key=public_key, primes_file=folder / "primes", build=native_build)


def sign(cheap: Cheap, primes_file: Path, *inputs: tuple[bytes, str], names: Sequence[str] = ()) -> Any:
    """Answers of the simulated HSM in a process of its own: signatures in hex, or names of errors; then attributes of the key."""
    device = SimHsm(real_module=Path(cheap.token.module), primes_file=primes_file)
    words = json.dumps([(data.hex(), mechanism) for data, mechanism in inputs])
    done = subprocess.run(
        [sys.executable, "-c", SIGN, cheap.pin_file, LABEL, words, json.dumps(names)],
        env={
            **os.environ,
            **cheap.token.environment,
            **device.environment(),
            "TEST_MODULE": str(build_simhsm(cheap.build)),
        },
        check=False,
        capture_output=True,
        text=True,
    )
    return json.loads(done.stdout) if done.returncode == 0 else done.stderr


def test_signatures_are_real(cheap: Cheap) -> None:
    """By an implementation that knows nothing of the primes; each digest has its own."""
    others = [bytes([n]) * 51 for n in range(8)]
    first, *rest, _ = sign(cheap, cheap.primes_file, *((data, "RSA_PKCS") for data in (DIGEST_INFO, *others)))
    cheap.public_key.verify(Algorithm.RSASSA_PKCS1_V1_5_SHA_256, DIGEST, bytes.fromhex(first))
    assert len({first, *rest}) == 9
    numbers = CheapKey(tuple(int(line.split()[0]) for line in cheap.primes_file.read_text().splitlines()))
    modulus = numbers.public.public_numbers().n
    padded = [pow(int(each, 16), 65537, modulus).to_bytes(384, "big") for each in rest]
    assert padded == [b"\0\1" + b"\xff" * 330 + b"\0" + data for data in others]


def test_the_key_is_shown_as_made_inside(cheap: Cheap) -> None:
    """Though it was imported: a lane signs with no other key."""
    names = [name.removeprefix("CKA_") for name in REQUIRED_ATTRIBUTES]
    (shown,) = sign(cheap, cheap.primes_file, names=names)
    assert {f"CKA_{name}": value for name, value in shown.items()} == REQUIRED_ATTRIBUTES


def test_nothing_else_is_signed(cheap: Cheap) -> None:
    """Other mechanisms and inputs that no padding holds are errors, as of a device that has neither."""
    longest = bytes(384 - 11)
    refused, fits, long, _ = sign(
        cheap,
        cheap.primes_file,
        (DIGEST, "SHA256_RSA_PKCS"),
        (longest, "RSA_PKCS"),
        (longest + b"\0", "RSA_PKCS"),
    )
    assert (refused, len(fits), long) == ("MechanismInvalid", 768, "DataLenRange")


@pytest.mark.parametrize("damage", ["", "7 3\n", "none", "one more", "one less"])
def test_a_file_that_is_no_such_key_ends_the_module(cheap: Cheap, tmp_path: Path, damage: str) -> None:
    """A mistake of the bench is told at once, not by signatures that do not verify."""
    lines = cheap.primes_file.read_text().splitlines(keepends=True)
    file = tmp_path / "primes"
    if damage != "none":
        file.write_text(
            {"one more": "".join([*lines, "3 1\n"]), "one less": "".join(lines[1:])}.get(damage, damage)
        )
    assert "not 96 primes of 3,072 bits" in sign(cheap, file, (DIGEST_INFO, "RSA_PKCS"))


def test_a_changed_prime_makes_signatures_that_do_not_verify(cheap: Cheap, tmp_path: Path) -> None:
    """So verification is no formality here."""
    lines = cheap.primes_file.read_text().splitlines()
    prime, exponent = map(int, lines[0].split())
    file = tmp_path / "primes"
    file.write_text("\n".join([f"{prime} {exponent ^ 2}", *lines[1:], ""]))
    signature, _ = sign(cheap, file, (DIGEST_INFO, "RSA_PKCS"))
    with pytest.raises(ResultInvalid, match="does not verify"):
        cheap.public_key.verify(Algorithm.RSASSA_PKCS1_V1_5_SHA_256, DIGEST, bytes.fromhex(signature))
