"""Ceremony of a key: its origin statement, with the request in it, countersigned by the service key, and its files."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, TypedDict

import click
import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from queueing.errors import ConfigError
from queueing.files.durable_file import make_folder, replace_durably
from queueing.files.folders import is_there
from queueing.files.regular_file import read_regular
from queueing.protocol.algorithms import DEFAULT_FOR_KEY, FACTS
from workers.cli.shell.options import combined
from workers.cli.shell.output import Output, emit, print_message
from workers.config.service_file import SERVICE
from workers.pki.chain_reading import LARGEST_BYTES, read_chain
from workers.pki.chains import ChainInvalid
from workers.pki.cms import CertificateContent, SignedContent, now_in_seconds
from workers.pki.origin import Origin, OriginModule, OriginStatement, OriginToken, VendorEvidence, speaks_of
from workers.token_admin.evidence import run_evidence
from workers.token_admin.owned_tokens import admin_for

if TYPE_CHECKING:
    from queueing.protocol.public_keys import PublicKey
    from workers.cli.keys.request import RequestedCertificate
    from workers.config.loading import ServiceScope
    from workers.config.service_file import ServiceConfiguration
    from workers.token_admin.client import TokenAdmin

_FILE_MODE: Final = 0o644
_FOLDER_MODE: Final = 0o777  # less the umask
_MOST_NAME_CHARACTERS: Final = 200

origin_options = combined(
    click.option(
        "--origin/--no-origin",
        "with_origin",
        default=None,
        help="Make a statement of the key's origin, signed by the service key. Default: yes, if there is a service key.",
    ),
    click.option(
        "--witness",
        "witnesses",
        multiple=True,
        metavar="NAME",
        help="Name of a person present, for the statement; may be repeated. Implies --origin.",
    ),
)


class OriginArguments(TypedDict):
    """Values of ``origin_options``, as click passes them to a command."""

    with_origin: bool | None
    witnesses: tuple[str, ...]


def wanted_witnesses(
    arguments: OriginArguments, scope: ServiceScope, *, tenant: str | None
) -> tuple[str, ...] | None:
    """Witnesses of the statement, which a tenant's key has as soon as there is a service key; None for no statement.

    Raises ``click.UsageError``.
    """
    witnesses, wanted = checked_witnesses(arguments["witnesses"]), arguments["with_origin"]
    if witnesses and wanted is False:
        raise click.UsageError("witnesses are named in the statement: omit --witness or --no-origin")
    if wanted is None:
        wanted = bool(witnesses) or (tenant is not None and scope.service_token is not None)
    if tenant is None and wanted:
        raise click.UsageError(
            "the service key signs statements, and has none itself: omit --origin and --witness"
        )
    if wanted is False:
        return None
    return witnesses


class OriginFiles(msgspec.Struct, frozen=True, kw_only=True):
    """Files of a ceremony, beside the configuration. ``certificate``: that of the service key, for openssl.

    ``openssl_reads_it``: OpenSSL 3 takes EdDSA in requests and certificates, but not in CMS (RFC 8419).
    """

    statement: str
    statement_sha256: str
    certificate: str
    evidence: str | None = None
    openssl_reads_it: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Ceremony:
    """Making of a statement about one key version; ``service`` is read before any key is created."""

    scope: ServiceScope
    service: ServiceConfiguration
    tenant: str
    key: str
    version: int
    token: str
    witnesses: tuple[str, ...]
    how: Literal["generated", "found"]

    def hold(
        self, public_key: PublicKey, wanted: RequestedCertificate | None
    ) -> tuple[OriginFiles, x509.CertificateSigningRequest | None]:
        """Read the key back, collect the evidence, have request and statement signed, and write the files.

        Raises ``SigningError`` of a token, ``ConfigError``; then no file is written.
        """
        admin = admin_for(self.scope, self.token, owner=self.tenant)
        evidence = self._evidence(public_key)
        statement = self._statement(admin, public_key, evidence)
        request = None
        if wanted is not None:
            request = wanted.sign(admin, public_key, attestation=statement.attestation())
        certificate = self._service_certificate()
        origin = Origin.of(
            statement, None if request is None else request.public_bytes(Encoding.PEM).decode()
        )
        content = SignedContent(
            content=origin.encode(),
            certificate=certificate,
            signer=self.service.service_key.public_key,
            at=now_in_seconds(),
        )
        signed = content.assemble(self._by_service_key(content.to_be_signed()))
        return self._write(public_key, signed, certificate, evidence), request

    def _statement(self, admin: TokenAdmin, public_key: PublicKey, evidence: bytes | None) -> OriginStatement:
        shown = admin.describe(public_key.spki)
        settings = self.scope.tokens[self.token]
        return OriginStatement(
            v=1,
            audience=self.service.audience,
            tenant=self.tenant,
            key=self.key,
            version=self.version,
            kind=public_key.kind,
            public_key_sha256=public_key.sha256.hex(),
            how=self.how,
            mechanism=shown.mechanism,
            token=OriginToken(
                label=shown.label,
                serial=shown.serial,
                manufacturer=shown.manufacturer,
                model=shown.model,
                hardware=shown.hardware,
                firmware=shown.firmware,
                certification=settings.certification,
            ),
            module=OriginModule(
                path=shown.module_path,
                description=shown.module_description,
                library=shown.module_library,
                cryptoki=shown.module_cryptoki,
                sha256=shown.module_sha256,
            ),
            attributes=dict(shown.attributes),
            witnesses=self.witnesses,
            vendor_evidence=()
            if evidence is None
            else (
                VendorEvidence(
                    command=settings.evidence,
                    sha256=hashlib.sha256(evidence).hexdigest(),
                    bytes=len(evidence),
                ),
            ),
            build=f"sigmill {version('sigmill')}",
            at=now_in_seconds(),
        )

    def _evidence(self, public_key: PublicKey) -> bytes | None:
        settings = self.scope.tokens[self.token]
        if not settings.evidence:
            return None
        environment = {
            "PATH": os.environ.get("PATH", os.defpath),
            **settings.environment,
            "SIGMILL_KEY": f"{self.tenant}.{self.key}.v{self.version}",
            "SIGMILL_PUBLIC_KEY": public_key.spki.hex(),
        }
        output = run_evidence(self.token, settings.evidence, environment)
        if not speaks_of(output, public_key):
            raise ConfigError(
                f"[tokens.{self.token}]",
                "evidence",
                "the output of the command does not have the public key of this key in it",
                "Let it ask for the key of $SIGMILL_KEY, whose SPKI is in $SIGMILL_PUBLIC_KEY in hex.",
            )
        return output

    def _service_certificate(self) -> x509.Certificate:
        """The certificate of the service key; made once, and found again by the key in its name."""
        file = self._certificate_file()
        public_key = self.service.service_key.public_key
        if is_there(file):
            try:
                chain = read_chain(read_regular(file, largest_bytes=LARGEST_BYTES))
            except (OSError, ChainInvalid) as error:
                why = f"cannot be read ({error})"
                raise ConfigError(str(file), "", why, "Remove it: it is made again.") from None
            if chain.leaf_spki == public_key.spki:
                return chain.leaf
        content = CertificateContent(
            public_key=public_key, name=f"{self.service.audience:.50} statements", starts=now_in_seconds()
        )
        return content.assemble(self._by_service_key(content.to_be_signed()))

    def _by_service_key(self, message: bytes) -> bytes:
        key = self.service.service_key
        return admin_for(self.scope, key.token, owner=SERVICE).sign_message(key.public_key.spki, message)

    def _certificate_file(self) -> Path:
        return (
            self.scope.file.parent / f"statements.{self.service.service_key.public_key.sha256.hex()[:16]}.pem"
        )

    def _unused(self, stem: str) -> tuple[Path, Path]:
        """Names of statement and evidence that no file has: a later statement replaces none of an earlier ceremony."""
        folder = self.scope.tenants_dir
        names = (stem if number == 1 else f"{stem}.{number}" for number in count(1))
        files = ((folder / f"{name}.origin.p7s", folder / f"{name}.evidence") for name in names)
        return next(pair for pair in files if not any(map(is_there, pair)))

    def _write(
        self, public_key: PublicKey, signed: bytes, certificate: x509.Certificate, evidence: bytes | None
    ) -> OriginFiles:
        stem = f"{self.tenant}.{self.key}.v{self.version}.{public_key.sha256.hex()[:16]}"
        statement, collected = self._unused(stem)
        contents = {self._certificate_file(): certificate.public_bytes(Encoding.PEM)}
        if evidence is not None:
            contents[collected] = evidence
        contents[statement] = signed  # last: what it refers to is there
        for file, content in contents.items():
            try:
                make_folder(file.parent, mode=_FOLDER_MODE)
                replace_durably(file, content, mode=file.parent.stat().st_mode & _FILE_MODE)
            except OSError as error:
                why = f"cannot be written ({error.strerror})"
                raise ConfigError(str(file), "", why, "Make room, or check owner and mode.") from error
        return OriginFiles(
            statement=str(statement),
            statement_sha256=hashlib.sha256(signed).hexdigest(),
            certificate=str(self._certificate_file()),
            evidence=None if evidence is None else str(collected),
            openssl_reads_it=FACTS[DEFAULT_FOR_KEY[self.service.service_key.public_key.kind]].hash_name
            is not None,
        )


def checked_witnesses(names: Sequence[str]) -> tuple[str, ...]:
    """Names of the witnesses, each once. Raises ``click.UsageError``."""
    seen: dict[str, str] = {}
    for name in names:
        plain = " ".join(name.split())
        if not plain or not plain.isprintable() or len(plain) > _MOST_NAME_CHARACTERS:
            raise click.UsageError(
                f"--witness {name!r:.80} is no name of a person: 1 to 200 printable characters"
            )
        if plain.casefold() in seen:
            raise click.UsageError(f"the witness {plain!r} is named twice: name each person once")
        seen[plain.casefold()] = plain
    return tuple(seen.values())


def print_files(output: Output, files: OriginFiles) -> None:
    """Say where the files of a ceremony are."""
    if output.as_json:
        emit(files)
        return
    print_message(f"origin statement in {files.statement}; keep it with the configuration")
    if files.evidence:
        print_message(f"vendor's evidence in {files.evidence}")
    if files.openssl_reads_it:
        print_message(
            f"check: openssl cms -verify -inform DER -in {files.statement} -CAfile {files.certificate}"
        )
    else:
        print_message(
            f"check: sigmill keys origin verify {files.statement} (the service key is Ed25519, which `openssl cms` of OpenSSL 3"
            " does not verify)"
        )
