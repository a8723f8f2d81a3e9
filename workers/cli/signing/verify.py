"""``sigmill verify``: checks the JSON lines of ``sign`` and ``wait`` against files and the key directory."""

from __future__ import annotations

import asyncio
import base64
import binascii
import codecs
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Literal, TypedDict, Unpack

import click
import msgspec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from queueing.client.config import ClientConfig
from queueing.client.signatures import Signature
from queueing.client.signing_client import SigningClient
from queueing.errors import InputUnreadable, ResultInvalid, SigningError
from queueing.protocol.algorithms import Algorithm
from queueing.transparency.trusted_keys import TrustedKeys
from workers.cli.audit.digest_option import Digest
from workers.cli.audit.key_files import service_key_option, vkeys_option
from workers.cli.audit.receipts.receipt_files import hash_of, keys_of, print_receipt, receipt_in, verified
from workers.cli.audit.receipts.signing_key import check_signing_key, signing_key_option
from workers.cli.audit.tenant_option import tenant_name
from workers.cli.shell.interrupts import run_stoppable
from workers.cli.shell.options import json_option
from workers.cli.shell.output import ErrorObject, Exit, Output, Tally, emit, print_message
from workers.cli.signing.hashing import hash_file
from workers.cli.signing.items import HASH_BYTES, Item, name_from_json
from workers.cli.signing.json_lines import SignedLine
from workers.cli.signing.manifest import batches_of, open_manifest
from workers.cli.signing.request_options import WaitingCommand

_CHANGED: Final = "Sign the file again, or restore the signed one. With --digests-only the signature is checked against the line's digest."

_DIGEST: Final = re.compile(r"(sha256|sha384|sha512):([0-9a-f]+)")
"""The one form of a digest that ``sign`` prints. Another spelling of the hash is refused, never skipped."""

Compared = Literal["file", "digest"]
"""``file``: the file of this name was hashed. ``digest``: only the digest in the line was used (--digests-only)."""


class VerifiedLine(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Result of one line; ``compared`` says of a verified line what the signature was compared with."""

    name: str
    name_bytes: str = ""
    verified: bool
    compared: Compared | None = None
    error: ErrorObject | None = None


class ReceiptArguments(TypedDict):
    """Options that belong to ``--receipt``."""

    digest: bytes | None
    signature: Path | None
    signing_key: Path | None
    service_key: Path | None
    vkeys: Path | None
    tenant: str | None


@click.command()
@click.option(
    "--config",
    type=click.Path(path_type=Path),
    envvar="SIGMILL_CLIENT_CONFIG",
    show_envvar=True,
    help="The client.toml of this build host. With --receipt its tenant and `service_public_keys` count.",
)
@click.option("--digests-only", is_flag=True, help="Check the digests in the lines; read no file.")
@click.option(
    "--receipt",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Verify this receipt instead, offline: that it is of the file RESULTS, or of --digest.",
)
@click.option("--digest", type=Digest(), metavar="HEX", help="With --receipt: the digest that was signed.")
@click.option(
    "--signature",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="With --receipt: the signature (its bytes) of which the receipt must be.",
)
@signing_key_option
@service_key_option
@vkeys_option
@click.option(
    "--tenant",
    callback=tenant_name,
    help="With --receipt: the tenant whose receipt it must be. Default: that of client.toml where its keys count, else any.",
)
@click.argument("results", required=False, type=click.Path(path_type=Path, allow_dash=True))
@json_option
@click.pass_obj
def verify(
    output: Output,
    /,
    *,
    config: Path | None,
    digests_only: bool,
    results: Path | None,
    receipt: Path | None,
    **proof: Unpack[ReceiptArguments],
) -> Exit:
    """Verify the lines of RESULTS, the output of `sigmill sign` (- reads stdin), or a receipt.

    Each line's file is hashed; a line whose file is missing fails. Lines of digests (sign --digest, --manifest,
    wait) have no file: --digests-only checks the signature over the digest in the line and reads no file. The
    keys come from the tenant's key directory, so a signature of a retired or revoked version does not verify.
    Prints the lines that fail, or all of them with --json.

    With --receipt FILE nothing but keys is needed: of --service-key (or --vkeys), or those that client.toml pins. RESULTS
    is then the file that was signed. Exit code 1 if the receipt is not of it. The service states which key signed; with --signing-key it
    must be yours.
    """
    if receipt is not None:
        return _verify_receipt(output, receipt, results, config, proof)
    if any(value is not None for value in proof.values()):
        raise click.UsageError(
            "--digest, --signature, --signing-key, --service-key, --vkeys and --tenant belong to --receipt"
        )
    if results is None or config is None:
        raise click.UsageError(f"Missing {'argument RESULTS' if results is None else 'option --config'}.")
    client = SigningClient.from_file(config)
    return run_stoppable(
        _verify(client, results, read_files=not digests_only, as_json=output.as_json),
        WaitingCommand(client, config),
    )


def _verify_receipt(
    output: Output, receipt: Path, signed: Path | None, config: Path | None, proof: ReceiptArguments
) -> Exit:
    """Verify a receipt of the file ``signed``, or of the given digest. Raises ``ProofInvalid``."""
    if (signed is None) == (proof["digest"] is None):
        raise click.UsageError("give --receipt the signed file, or its digest by --digest")
    data = receipt_in(receipt)
    tenant = proof["tenant"] or ""
    if config is None or proof["vkeys"] is not None or proof["service_key"] is not None:
        trusted = keys_of(proof["vkeys"], proof["service_key"])
    else:
        settings = ClientConfig.from_file(config)
        service = [key.spki for key in settings.pinned_keys(file=str(config))]
        trusted = TrustedKeys(service=service, audience=settings.audience)
        tenant = tenant or settings.tenant
    digest = proof["digest"]
    if signed is not None:
        digest = _file_digest(signed, hash_of(data))
    if digest is None:
        raise InputUnreadable("the file has no digest")
    found = verified(data, trusted, digest=digest, signature=proof["signature"], tenant=tenant)
    if proof["signing_key"] is not None:
        check_signing_key(found, proof["signing_key"])
    print_receipt(output, found)
    return Exit.DONE


async def _verify(client: SigningClient, results: Path, *, read_files: bool, as_json: bool) -> Exit:
    tally = Tally()
    compared: Compared = "file" if read_files else "digest"
    async with client:
        for location, raw in _lines(results):
            item, error = await _checked(client, location, raw, read_files=read_files)
            tally.add(error)
            if error is not None or as_json:
                emit(
                    VerifiedLine(
                        name=item.shown_name,
                        name_bytes=item.name_bytes,
                        verified=error is None,
                        compared=compared if error is None else None,
                        error=None if error is None else ErrorObject.of(error),
                    )
                )
    if not tally.done and not tally.bad:
        raise click.UsageError(f"{results}: no lines, so nothing was verified")
    what = "with their files" if read_files else "by the digests in the lines; no file was read"
    print_message(f"{tally.done} verified {what}; {tally.bad} failed")
    return tally.exit_code()


def _lines(results: Path) -> Iterator[tuple[str, bytes | None]]:
    """Lines that are not empty, with their places, and without a byte order mark; None for one of more than 1 MiB."""
    is_stdin = str(results) == "-"
    file, name = open_manifest(results), "stdin" if is_stdin else str(results)
    try:
        for batch in batches_of(file):
            for number, line in batch:
                yield f"{name}:{number}", line and line.removeprefix(codecs.BOM_UTF8)
    finally:
        if not is_stdin:
            file.close()


async def _checked(
    client: SigningClient, location: str, raw: bytes | None, *, read_files: bool
) -> tuple[Item, SigningError | None]:
    item = Item(name=location)
    try:
        if raw is None:
            raise InputUnreadable("the line is longer than 1 MiB")
        line = _line(raw)
        item = Item(name=name_from_json(line.name, line.name_bytes))
        digest = await asyncio.to_thread(_digest, line, item.name, read_files=read_files)
        await client.verify(_signature(line), digest)
    except SigningError as error:
        return item, error
    return item, None


def _line(raw: bytes) -> SignedLine:
    try:
        return msgspec.json.decode(raw, type=SignedLine)
    except (ValueError, RecursionError):  # ValueError: not JSON, not UTF-8, of other fields
        raise InputUnreadable("the line has no signature") from None


def _digest(line: SignedLine, name: str, *, read_files: bool) -> bytes:
    """Digest in the line; with ``read_files`` the line's file must have it."""
    match = _DIGEST.fullmatch(line.digest or "")
    if match is None:
        raise InputUnreadable(
            "the line's digest is not sha256:HEX, sha384:HEX or sha512:HEX in small letters"
        )
    hash_name, digits = match.groups()
    if len(digits) != 2 * HASH_BYTES[hash_name]:
        raise InputUnreadable(f"the line's {hash_name} digest does not have {HASH_BYTES[hash_name]} bytes")
    digest = bytes.fromhex(digits)
    if read_files and _file_digest(Path(name), hash_name) != digest:
        raise ResultInvalid(
            "the file has changed since it was signed, or another file was signed: digests differ",
            hint=_CHANGED,
        )
    return digest


def _file_digest(path: Path, hash_name: str) -> bytes | None:
    """Digest of a regular file; anything else could not be read to an end, or is not there."""
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError) as error:
        raise _unread(getattr(error, "strerror", None) or "no file can have this name") from None
    if not stat.S_ISREG(mode):
        raise _unread("it is not a regular file")
    item = hash_file(path, hash_name)
    if item.error is not None:
        raise item.error
    return item.digest


def _unread(why: str) -> InputUnreadable:
    return InputUnreadable(
        f"the file was not compared: {why}; verify where `sigmill sign` ran, or check digests with --digests-only"
    )


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
