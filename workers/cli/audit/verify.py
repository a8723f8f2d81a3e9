"""``sigmill audit verify``: verification of an exported record, offline."""

from __future__ import annotations

import base64
import binascii
from pathlib import Path
from typing import Final

import click
import msgspec

from queueing.errors import ConfigError, InputUnreadable
from queueing.files.regular_file import read_regular
from queueing.protocol.client_keys import ClientPublicKey
from queueing.transparency.notes import VerifierKey, read_verifier_key
from workers.cli.shell.options import json_option
from workers.cli.shell.output import Exit, Output, emit, print_line, print_message
from workers.record.bundle_reader import BundleReader, origins_of
from workers.record.verification import OriginVerifier

_MOST_KEY_BYTES: Final = 1024 * 1024
MOST_PROBLEMS: Final = 100
"""Problems that are printed for each origin: a log that was changed in one place can have one for each entry behind it."""


class ProblemLine(msgspec.Struct, frozen=True, kw_only=True):
    """A thing that is wrong, and its place: origin, and entry where there is one."""

    code: str
    place: str
    message: str


class OriginLine(msgspec.Struct, frozen=True, kw_only=True):
    """Counts of one origin: what was verified, and the problems."""

    origin: str
    entries: int
    signatures: int
    client_signatures: int
    problems: int


@click.command("verify")
@click.argument("bundle", type=click.Path(file_okay=False, exists=True, path_type=Path))
@click.option(
    "--vkeys",
    type=click.Path(dir_okay=False, exists=True, path_type=Path),
    required=True,
    help="Keys that sign checkpoints, one NAME+ID+BASE64 a line (signed-note). From the operator, not from the bundle.",
)
@click.option(
    "--clients",
    type=click.Path(dir_okay=False, exists=True, path_type=Path),
    help="Public keys of your clients, one 'NAME BASE64' a line, as in the tenant's file. Without it their signatures are not verified.",
)
@json_option
@click.pass_obj
def verify_record(output: Output, /, *, bundle: Path, vkeys: Path, clients: Path | None) -> Exit:
    """Verify an exported record, offline.

    Every entry of the range is hashed, and the tree over all of them must be that of the signed checkpoint; each outcome
    belongs to an intent that is before it, and its digests and signature hashes to both. With --clients, each signed
    envelope has the signature of a client of yours.

    Exit code 0 if everything holds, 1 with a line `code place what` for each problem.
    """
    trusted = _trusted(vkeys)
    keys = None if clients is None else _client_keys(clients)
    try:
        origins = origins_of(bundle)
    except OSError as error:
        raise InputUnreadable(f"{error.filename}: {error.strerror}") from error
    lines = [_verify(output, origin, trusted, keys) for origin in origins]
    bad = sum(line.problems for line in lines)
    if not output.as_json:
        if keys is None:
            print_message("client signatures were not verified: no --clients")
        print_message(f"{len(lines)} origins: " + (f"{bad} problems" if bad else "everything holds"))
    return Exit.FAILED if bad else Exit.DONE


def _verify(
    output: Output,
    origin: BundleReader,
    trusted: list[VerifierKey],
    clients: dict[str, ClientPublicKey] | None,
) -> OriginLine:
    verifier = OriginVerifier(origin, trusted=trusted, clients=clients)
    found = 0
    for problem in verifier.run():
        found += 1
        if found > MOST_PROBLEMS:
            continue
        if output.as_json:
            emit(ProblemLine(code=problem.code, place=problem.place, message=problem.what))
        else:
            print_line(str(problem))
    verified = verifier.verified
    line = OriginLine(
        origin=origin.name,
        entries=verified.entries,
        signatures=verified.signatures,
        client_signatures=verified.client_signatures,
        problems=found,
    )
    if output.as_json:
        emit(line)
    else:
        more = f", {found - MOST_PROBLEMS} problems not shown" if found > MOST_PROBLEMS else ""
        print_message(f"{origin.name}: {line.entries:,} entries, {line.signatures:,} signatures{more}")
    return line


def _lines_of(file: Path) -> list[str]:
    try:
        text = read_regular(file, largest_bytes=_MOST_KEY_BYTES).decode()
    except OSError as error:
        raise ConfigError(
            str(file), "", error.strerror or "cannot be read", "Give a small text file."
        ) from None
    except UnicodeDecodeError:
        raise ConfigError(str(file), "", "the file is not UTF-8", "Give a text file.") from None
    return [line for line in map(str.strip, text.splitlines()) if line and not line.startswith("#")]


def _trusted(file: Path) -> list[VerifierKey]:
    keys = [read_verifier_key(line) for line in _lines_of(file)]
    if not keys:
        raise ConfigError(
            str(file), "", "there is no key in it", "Ask the operator for the keys of the record."
        )
    return keys


def _client_keys(file: Path) -> dict[str, ClientPublicKey]:
    keys: dict[str, ClientPublicKey] = {}
    for number, line in enumerate(_lines_of(file), 1):
        name, _, encoded = line.partition(" ")
        try:
            keys[name] = ClientPublicKey.from_spki(base64.b64decode(encoded.strip(), validate=True))
        except (ValueError, binascii.Error):
            problem = f"line {number} is not 'NAME BASE64' with an Ed25519 or P-256 key"
            raise ConfigError(
                str(file), "", problem, "Take `public_key` of each client from the tenant's file."
            ) from None
    return keys
