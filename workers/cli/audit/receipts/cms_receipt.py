"""``sigmill audit cms-receipt``: a receipt in a CMS signature, put there or verified, offline."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

import click

from queueing.artifacts.cms import read_signed_data
from queueing.errors import InputUnreadable, OutputUnwritable, ProofInvalid
from queueing.files.durable_file import replace_durably
from queueing.protocol import der
from queueing.protocol.algorithms import HASH_OIDS
from queueing.transparency.receipts import Receipt, verify_receipt
from queueing.transparency.trusted_keys import TrustedKeys
from workers.cli.audit.key_files import service_key_option, vkeys_option
from workers.cli.audit.receipts.receipt import newest_receipt
from workers.cli.audit.receipts.receipt_files import keys_of, print_receipt, read_file, receipt_in
from workers.cli.shell.options import json_option
from workers.cli.shell.output import Exit, Output
from workers.pki.receipts import receipt_of, signed_digest, with_receipt

_LARGEST_BYTES: Final = 16 * 1024 * 1024
"""A signature with its content in it; a detached one has some kB."""

_HASH_NAMES: Final = {der.oid(oid): name for name, oid in HASH_OIDS.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedFile:
    """A CMS signature of one signer, as read; ``digest``: of its signed attributes, which the key has signed."""

    data: bytes
    digest: bytes
    signature: bytes

    @classmethod
    def read(cls, file: Path) -> Self:
        """Raises ``InputUnreadable``."""
        data = read_file(file, _LARGEST_BYTES)
        try:
            signed = read_signed_data(data)
            digest = signed_digest(data, _hash_name(signed.signer[2]))
        except der.DerInvalid as error:
            raise InputUnreadable(f"{file} is no CMS signature in DER by one signer: {error}") from error
        return cls(data=data, digest=digest, signature=signed.signature)

    def verified(self, receipt: bytes, trusted: TrustedKeys) -> Receipt:
        """The content of a receipt, which must be of this signature. Raises ``ProofInvalid``."""
        return verify_receipt(receipt, trusted, digest=self.digest, signature=self.signature)

    def own_receipt(self) -> bytes:
        """The receipt in it, not verified. Raises ``ProofInvalid`` where there is none."""
        try:
            receipt = receipt_of(self.data)
        except der.DerInvalid as error:
            raise ProofInvalid(f"the receipt in the signature cannot be read: {error}") from error
        if receipt is None:
            raise ProofInvalid("the signature has no receipt in it")
        return receipt


def _hash_name(algorithm: bytes) -> str:
    """Name of the hash of an AlgorithmIdentifier. Raises ``DerInvalid``."""
    oid, *_ = der.read(algorithm).fields_or_more(der.SEQUENCE, 1)
    name = _HASH_NAMES.get(oid.encoded)
    if name is None:
        raise der.DerInvalid("its hash is none of SHA-256, SHA-384 and SHA-512")
    return name


@click.command("cms-receipt")
@click.argument("signed", type=click.Path(dir_okay=False, path_type=Path), metavar="SIGNATURE")
@click.option(
    "--from",
    "source",
    type=click.Path(path_type=Path),
    metavar="BUNDLE|RECEIPT",
    help="Put the receipt of this signature into it: from a folder of `sigmill audit export`, or from the file of a receipt.",
)
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    help="With --from: file of the signature with its receipt. Default: SIGNATURE is replaced.",
)
@service_key_option
@vkeys_option
@json_option
@click.pass_obj
def cms_receipt(
    output: Output,
    /,
    *,
    signed: Path,
    source: Path | None,
    out: Path | None,
    **keys: Path | None,
) -> Exit:
    """Put a receipt into a CMS signature (.p7s), or verify the one that is in it.

    The receipt becomes an unsigned attribute of the signer: the signature stays as valid as it is, and tools that do not know
    the attribute skip it. It must be of the digest that the signer's key signed (that of the signed attributes), and of this very
    signature, so that nothing else needs to be named. It is verified before it is written; a receipt that was in the
    signature is replaced. The signature itself is left to `openssl cms -verify`, or the tool that it is for.

    SIGNATURE is in DER, as `sigmill sign-file` writes it, and has one signer. Exit code 1 if the receipt does not hold, or there is none.
    """
    if out is not None and source is None:
        raise click.UsageError("--out needs --from: without it nothing is written")
    trusted = keys_of(keys["vkeys"], keys["service_key"])
    file = SignedFile.read(signed)
    if source is None:
        print_receipt(output, file.verified(file.own_receipt(), trusted))
        return Exit.DONE
    if source.is_dir():
        receipt = newest_receipt(source, file.digest, [hashlib.sha256(file.signature).digest()])
    else:
        receipt = receipt_in(source)
    found = file.verified(receipt, trusted)
    _replace(out or signed, with_receipt(file.data, receipt))
    print_receipt(output, found)
    return Exit.DONE


def _replace(file: Path, data: bytes) -> None:
    try:
        replace_durably(file, data, mode=0o644)
    except OSError as error:
        raise OutputUnwritable(f"{file}: {error.strerror}") from error
