"""``sigmill verify``: checks the JSON lines of ``sign`` and ``wait`` against files and the key directory."""

from __future__ import annotations

import asyncio
import base64
import binascii
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final

import click
import msgspec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from queueing.client.signatures import Signature
from queueing.client.signing_client import SigningClient
from queueing.errors import InputUnreadable, ResultInvalid, SigningError
from queueing.protocol.algorithms import Algorithm
from workers.cli.shell.interrupts import run_stoppable
from workers.cli.shell.options import client_config_option, json_option
from workers.cli.shell.output import ErrorObject, Exit, Output, Tally, emit, print_message
from workers.cli.signing.hashing import hash_file
from workers.cli.signing.items import Item, name_from_json
from workers.cli.signing.json_lines import SignedLine
from workers.cli.signing.request_options import WaitingCommand

_CHANGED: Final = "Sign the file again, or restore the signed one. With --digests-only the signature is checked against the line's digest."


class VerifiedLine(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Result of one line."""

    name: str
    name_bytes: str = ""
    verified: bool
    error: ErrorObject | None = None


@click.command()
@client_config_option
@click.option("--digests-only", is_flag=True, help="Use the digests in the lines; read no files.")
@click.argument("results", type=click.Path(path_type=Path, allow_dash=True))
@json_option
@click.pass_obj
def verify(output: Output, *, config: Path, digests_only: bool, results: Path) -> Exit:
    """Verify the lines of RESULTS, the output of `sigmill sign` (- reads stdin).

    If the name in a line is a file, the file's content is checked too. The keys come from the tenant's key
    directory, so a signature of a retired or revoked version does not verify. Prints the lines that fail, or
    all of them with --json.
    """
    client = SigningClient.from_file(config)
    return run_stoppable(
        _verify(client, results, read_files=not digests_only, as_json=output.as_json),
        WaitingCommand(client, config),
    )


async def _verify(client: SigningClient, results: Path, *, read_files: bool, as_json: bool) -> Exit:
    tally = Tally()
    async with client:
        for location, raw in _lines(results):
            item, error = await _checked(client, location, raw, read_files=read_files)
            tally.add(error)
            if error is not None or as_json:
                note = None if error is None else ErrorObject.of(error)
                emit(
                    VerifiedLine(
                        name=item.shown_name,
                        name_bytes=item.name_bytes,
                        verified=error is None,
                        error=note,
                    )
                )
    print_message(f"{tally.done} verified, {tally.bad} failed")
    return tally.exit_code()


def _lines(results: Path) -> Iterator[tuple[str, bytes]]:
    if str(results) == "-":
        yield from _numbered("stdin", sys.stdin.buffer)
        return
    try:
        with results.open("rb") as file:
            yield from _numbered(str(results), file)
    except OSError as error:
        raise click.UsageError(f"{results}: {error.strerror}") from None


def _numbered(name: str, file: BinaryIO) -> Iterator[tuple[str, bytes]]:
    return ((f"{name}:{number}", line) for number, line in enumerate(file, 1) if line.strip())


async def _checked(
    client: SigningClient, location: str, raw: bytes, *, read_files: bool
) -> tuple[Item, SigningError | None]:
    item = Item(name=location)
    try:
        line = _line(raw)
        item = Item(name=name_from_json(line.name, line.name_bytes))
        digest = await asyncio.to_thread(_digest, line, read_files=read_files)
        await client.verify(_signature(line), digest)
    except OSError as error:  # a name that no file can have
        return item, InputUnreadable(f"the file cannot be read: {error.strerror}")
    except SigningError as error:
        return item, error
    return item, None


def _line(raw: bytes) -> SignedLine:
    try:
        return msgspec.json.decode(raw, type=SignedLine)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise InputUnreadable("the line has no signature") from None


def _digest(line: SignedLine, *, read_files: bool) -> bytes:
    """Digest in the line; if the line names a file, the file must still have it."""
    hash_name, _, digits = (line.digest or "").partition(":")
    try:
        digest = bytes.fromhex(digits)
    except ValueError:
        raise InputUnreadable("the line's digest is not ALG:HEX") from None
    if not digest:
        raise InputUnreadable("the line has no digest")
    path = Path(name_from_json(line.name, line.name_bytes))
    if read_files and hash_name in {"sha256", "sha384", "sha512"} and path.is_file():
        item = hash_file(path, hash_name)
        if item.error is not None:
            raise item.error
        if item.digest != digest:
            raise ResultInvalid("the file has changed since it was signed", hint=_CHANGED)
    return digest


def _signature(line: SignedLine) -> Signature:
    try:
        signature = base64.b64decode(line.signature, validate=True)
        fingerprint = bytes.fromhex(line.public_key_sha256)
        algorithm = Algorithm(line.algorithm)
    except (binascii.Error, ValueError):
        raise InputUnreadable("the line's signature, fingerprint or algorithm cannot be read") from None
    if line.encoding == "raw" and algorithm.startswith("ECDSA"):
        half = len(signature) // 2
        r, s = int.from_bytes(signature[:half], "big"), int.from_bytes(signature[half:], "big")
        signature = encode_dss_signature(r, s)
    return Signature(
        signature=signature,
        algorithm=algorithm,
        key=line.key,
        key_version=line.key_version,
        public_key_sha256=fingerprint,
        job_id=line.job_id,
        verified=False,
    )
