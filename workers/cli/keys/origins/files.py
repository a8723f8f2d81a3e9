"""Files of origin statements beside the tenant's file: their names, all of them or none, and what they say."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import re
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, get_args

import msgspec

from queueing.errors import ConfigError, ResultInvalid
from queueing.files.durable_file import make_folder, remove_durably, replace_durably
from queueing.files.folders import entries, is_there
from queueing.files.regular_file import read_regular
from workers.cli.shell.output import Output, emit, print_message
from workers.pki.cms import SignedDataInvalid, open_signed
from workers.pki.origin import How, Origin, OriginInvalid, OriginStatement, VendorEvidence, read_origin

if TYPE_CHECKING:
    from collections.abc import Mapping

    from queueing.protocol.public_keys import PublicKey
    from workers.config.loading import ServiceScope
    from workers.pki.cms import OpenedContent

_SUFFIX: Final = ".origin.p7s"
_LARGEST_BYTES: Final = 1024 * 1024
_FILE_MODE: Final = 0o644
_FOLDER_MODE: Final = 0o777  # less the umask

_STRENGTH: Final[tuple[How, ...]] = get_args(How)

EvidenceState = Literal["good", "missing"]


class OriginFiles(msgspec.Struct, frozen=True, kw_only=True):
    """Files of a ceremony, beside the configuration. ``certificate``: that of the service key, for openssl.

    ``how``: whether the statement says that the key was generated, by an interrupted ceremony, or found. ``openssl_reads_it``: each OpenSSL 3
    verifies it; that of an Ed25519 service key needs OpenSSL 3.5.
    """

    statement: str
    statement_sha256: str
    certificate: str
    how: How
    evidence: str | None = None
    openssl_reads_it: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class StatedKey:
    """Key version whose statements these files are; the key is in their names, since two can have had one version."""

    scope: ServiceScope
    tenant: str
    key: str
    version: int
    public_key: PublicKey

    @property
    def stem(self) -> str:
        """Beginning of the names of its files."""
        return f"{self.tenant}.{self.key}.v{self.version}.{self.public_key.sha256.hex()[:16]}"

    def unused(self) -> tuple[Path, Path]:
        """Names of statement and evidence that no file has: a later statement replaces none of an earlier ceremony."""
        folder = self.scope.tenants_dir
        names = (self.stem if number == 1 else f"{self.stem}.{number}" for number in count(1))
        files = ((folder / f"{name}{_SUFFIX}", folder / f"{name}.evidence") for name in names)
        return next(pair for pair in files if not any(map(is_there, pair)))

    def statement(self, service_key: PublicKey) -> tuple[Path, OriginStatement] | None:
        """A statement of the key that holds, one of its generation before the others; None where there is none.

        One that does not hold is told, and not used: its service key may have been replaced. Raises ``OSError``.
        """
        found: list[tuple[Path, OriginStatement]] = []
        for file in self._statement_files():
            try:
                said = verified(file, service_key).statement
            except (ResultInvalid, ConfigError) as error:
                print_message(f"warning: {error}; this statement is not used")
                continue
            if said.public_key_sha256 == self.public_key.sha256.hex():
                found.append((file, said))
        return min(found, key=lambda each: _STRENGTH.index(each[1].how), default=None)

    def _statement_files(self) -> list[Path]:
        name = re.compile(rf"{re.escape(self.stem)}(\.\d+)?{re.escape(_SUFFIX)}")
        present = entries(self.scope.tenants_dir, suffix=_SUFFIX, missing_ok=True)
        return [file for file in present if name.fullmatch(file.name)]


def write_all(contents: Mapping[Path, bytes]) -> None:
    """Write new files in this order, each durably; if one fails, those before it are removed. Raises ``ConfigError``."""
    written: list[Path] = []
    try:
        for file, content in contents.items():
            written.append(file)
            make_folder(file.parent, mode=_FOLDER_MODE)
            replace_durably(file, content, mode=file.parent.stat().st_mode & _FILE_MODE)
    except BaseException as error:
        for file in reversed(written):
            with contextlib.suppress(OSError):
                remove_durably(file)
        if isinstance(error, OSError):
            why = f"cannot be written ({error.strerror})"
            raise ConfigError(str(written[-1]), "", why, "Make room, or check owner and mode.") from error
        raise


def opened(file: Path) -> OpenedContent:
    """The content of a statement's file, of which nothing is verified. Raises ``ConfigError``, ``ResultInvalid``."""
    try:
        return open_signed(read_regular(file, largest_bytes=_LARGEST_BYTES))
    except OSError as error:
        raise ConfigError(
            str(file), "", f"cannot be read ({error.strerror})", "Name a statement's file."
        ) from None
    except SignedDataInvalid as error:
        raise ResultInvalid(f"{file}: {error}", hint=f"Name an origin statement, `…{_SUFFIX}`.") from None


def read(file: Path, content: bytes) -> Origin:
    """The statement in the content of ``file``. Raises ``ResultInvalid``."""
    try:
        return read_origin(content)
    except OriginInvalid as error:
        raise ResultInvalid(f"{file}: {error}", hint=f"Name an origin statement, `…{_SUFFIX}`.") from None


def verified(file: Path, service_key: PublicKey) -> Origin:
    """The statement of ``file``, signed by this key, with its own request inside. Raises as ``opened``, ``ResultInvalid``."""
    content = opened(file)
    try:
        content.verify(service_key)
        found = read(file, content.content)
        found.check()
    except (SignedDataInvalid, OriginInvalid) as error:
        raise ResultInvalid(
            f"{file}: {error}", hint="Do not rely on it; ask for the original file."
        ) from None
    return found


def evidence_file(statement: Path) -> Path:
    """File of the vendor's evidence beside a statement."""
    return statement.with_name(f"{statement.name.removesuffix(_SUFFIX)}.evidence")


def check_evidence(statement: Path, said: VendorEvidence) -> EvidenceState:
    """Compare the file beside the statement with it. Raises ``ResultInvalid`` where it is another one, ``ConfigError``."""
    file = evidence_file(statement)
    if not is_there(file):
        return "missing"
    try:
        raw = read_regular(file, largest_bytes=said.bytes)
    except OSError as error:
        if error.errno != errno.EFBIG:
            why = f"cannot be read ({error.strerror})"
            raise ConfigError(str(file), "", why, "Check owner and mode.") from None
        raw = b""  # longer than the statement's evidence, so another one
    if hashlib.sha256(raw).hexdigest() != said.sha256:
        raise ResultInvalid(
            f"{file}: it is not the evidence of the statement, whose SHA-256 is {said.sha256}",
            hint="Do not rely on it; ask for the original file.",
        )
    return "good"


def print_files(output: Output, files: OriginFiles) -> None:
    """Say where the files of a ceremony are."""
    if output.as_json:
        emit(files)
        return
    print_message(f"origin statement ({files.how}) in {files.statement}; keep it with the configuration")
    if files.evidence:
        print_message(f"vendor's evidence in {files.evidence}")
    if files.openssl_reads_it:
        print_message(
            f"check: openssl cms -verify -inform DER -in {files.statement} -CAfile {files.certificate}"
        )
    else:
        print_message(
            f"check: sigmill keys origin verify {files.statement}, or with OpenSSL 3.5 or later (the service key is Ed25519, of which"
            f" `openssl cms` before says `invalid digest`): openssl cms -verify -inform DER -in {files.statement} -CAfile"
            f" {files.certificate}"
        )
