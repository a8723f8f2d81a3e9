"""Files of public keys: those that sign checkpoints, and those of the tenant's clients. One key a line, ``#`` for comments."""

from __future__ import annotations

import base64
import binascii
from pathlib import Path
from typing import Final

import click

from queueing.errors import ConfigError, ProofInvalid
from queueing.files.regular_file import read_regular
from queueing.protocol.client_keys import ClientPublicKey
from queueing.transparency.notes import VerifierKey, read_verifier_key

_MOST_KEY_BYTES: Final = 1024 * 1024
_SERVICE_KEYS: Final = "Copy `service_public_keys` of client.toml."
_TWO_KEYS: Final = "Give one key a name. If the key of a client was replaced, export the times before and after apart, and verify each with its key."

vkeys_option = click.option(
    "--vkeys",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Keys that sign checkpoints, one NAME+ID+BASE64 a line (signed-note). From the operator, not from the bundle.",
)
service_key_option = click.option(
    "--service-key",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Service keys, one base64 a line, as `service_public_keys` in your client.toml: they certify the keys of checkpoints.",
)


def _lines_of(file: Path) -> list[tuple[int, str]]:
    """Lines with their numbers, without comments and empty ones."""
    try:
        text = read_regular(file, largest_bytes=_MOST_KEY_BYTES).decode()
    except OSError as error:
        raise ConfigError(
            str(file), "", error.strerror or "cannot be read", "Give a small text file."
        ) from None
    except UnicodeDecodeError:
        raise ConfigError(str(file), "", "the file is not UTF-8", "Give a text file.") from None
    numbered = enumerate(map(str.strip, text.splitlines()), 1)
    return [(number, line) for number, line in numbered if line and not line.startswith("#")]


def trusted_keys(file: Path) -> list[VerifierKey]:
    """Keys that sign checkpoints. Raises ``ConfigError``, with the number of a line that is no key."""
    keys: list[VerifierKey] = []
    for number, line in _lines_of(file):
        try:
            keys.append(read_verifier_key(line))
        except ProofInvalid as error:
            problem = f"line {number} is no key of checkpoints: {error.message}"
            raise ConfigError(
                str(file), "", problem, "Copy the lines that `sigmill audit keys` prints."
            ) from None
    if not keys:
        raise ConfigError(
            str(file), "", "there is no key in it", "Ask the operator for the keys of the record."
        )
    return keys


def client_keys(file: Path) -> dict[str, ClientPublicKey]:
    """Public keys of clients, by name. Raises ``ConfigError``, also for a name with two keys: the signatures by one of them would be refused."""
    keys: dict[str, ClientPublicKey] = {}
    for number, line in _lines_of(file):
        name, _, encoded = line.partition(" ")
        if name in keys:
            problem = f"line {number} has a second key of {name}"
            raise ConfigError(str(file), "", problem, _TWO_KEYS)
        try:
            keys[name] = ClientPublicKey.from_spki(base64.b64decode(encoded.strip(), validate=True))
        except (ValueError, binascii.Error):
            problem = f"line {number} is not 'NAME BASE64' with an Ed25519 or P-256 key"
            raise ConfigError(
                str(file), "", problem, "Take `public_key` of each client from the tenant's file."
            ) from None
    return keys


def service_keys(file: Path) -> list[bytes]:
    """Service keys as SubjectPublicKeyInfo in DER. Raises ``ConfigError``."""
    keys: list[bytes] = []
    for number, line in _lines_of(file):
        try:
            keys.append(base64.b64decode(line.strip('",[] '), validate=True))
        except (ValueError, binascii.Error):
            problem = f"line {number} is not a key in base64"
            raise ConfigError(str(file), "", problem, _SERVICE_KEYS) from None
    if not keys:
        raise ConfigError(str(file), "", "there is no key in it", _SERVICE_KEYS)
    return keys
