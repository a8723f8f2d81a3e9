"""Ceremony of a key: its origin statement, with the request in it, countersigned by the service key, and its files."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from queueing.errors import ConfigError
from queueing.files.folders import is_there
from queueing.files.regular_file import read_regular
from workers.cli.keys.origins.files import OriginFiles, StatedKey, write_all
from workers.cli.keys.origins.service_key import sign_by_service_key
from workers.pki.chain_reading import LARGEST_BYTES, read_chain
from workers.pki.chains import ChainInvalid
from workers.pki.cms import CertificateContent, SignedContent, now_in_seconds
from workers.pki.origin import (
    How,
    Origin,
    OriginModule,
    OriginStatement,
    OriginToken,
    VendorEvidence,
    speaks_of,
)
from workers.pki.schemes import openssl_verifies_cms
from workers.token_admin.evidence import check_evidence_command, run_evidence
from workers.token_admin.owned_tokens import admin_for

if TYPE_CHECKING:
    from workers.cli.keys.request import RequestedCertificate
    from workers.config.loading import ServiceScope
    from workers.config.service_file import ServiceConfiguration
    from workers.config.settings import TokenSettings
    from workers.token_admin.client import TokenAdmin


@dataclass(frozen=True, slots=True, kw_only=True)
class Ceremony:
    """Making of a statement about one key version in ``token``.

    ``generated_at``: when the token made the key, by this command or by the record of its ceremony; None for a key that was found.
    ``opened_at``: when the service key signed the opening of an interrupted ceremony that named the key.
    """

    key: StatedKey
    service: ServiceConfiguration
    token: str
    witnesses: tuple[str, ...]
    generated_at: datetime | None
    opened_at: datetime | None = None

    @property
    def how(self) -> How:
        """Origin of the key, as the statement says it."""
        if self.generated_at is not None:
            return "generated"
        return "found" if self.opened_at is None else "interrupted"

    def hold(
        self, wanted: RequestedCertificate | None
    ) -> tuple[OriginFiles, x509.CertificateSigningRequest | None]:
        """Read the key back, collect the evidence, have request and statement signed, and write the files.

        Raises ``SigningError`` of a token, ``ConfigError``; then no file is written.
        """
        admin = admin_for(self.key.scope, self.token, owner=self.key.tenant)
        evidence = self._evidence()
        statement = self._statement(admin, evidence)
        request = None
        if wanted is not None:
            request = wanted.sign(admin, self.key, attestation=statement.attestation())
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
        return self._write(signed, certificate, evidence), request

    def _statement(self, admin: TokenAdmin, evidence: bytes | None) -> OriginStatement:
        public_key, settings = self.key.public_key, self.key.scope.tokens[self.token]
        shown = admin.describe(public_key.spki)
        return OriginStatement(
            v=1,
            audience=self.service.audience,
            tenant=self.key.tenant,
            key=self.key.key,
            version=self.key.version,
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
            generated_at=self.generated_at,
            opened_at=self.opened_at,
        )

    def _evidence(self) -> bytes | None:
        key, settings = self.key, self.key.scope.tokens[self.token]
        if not settings.evidence:
            return None
        environment = {
            **_evidence_environment(settings),
            "SIGMILL_KEY": f"{key.tenant}.{key.key}.v{key.version}",
            "SIGMILL_PUBLIC_KEY": key.public_key.spki.hex(),
        }
        output = run_evidence(self.token, settings.evidence, environment)
        if not speaks_of(output, key.public_key):
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
            if chain.leaf_spki != public_key.spki:
                why = "is the certificate of another key than the service key"
                raise ConfigError(str(file), "", why, "Remove it: it is made again.")
            return chain.leaf
        content = CertificateContent(
            public_key=public_key, name=f"{self.service.audience:.50} statements", starts=now_in_seconds()
        )
        return content.assemble(self._by_service_key(content.to_be_signed()))

    def _by_service_key(self, message: bytes) -> bytes:
        return sign_by_service_key(self.key.scope, self.service.service_key, message)

    def _certificate_file(self) -> Path:
        service_key = self.service.service_key.public_key
        return self.key.scope.file.parent / f"statements.{service_key.sha256.hex()[:16]}.pem"

    def _write(self, signed: bytes, certificate: x509.Certificate, evidence: bytes | None) -> OriginFiles:
        statement, collected = self.key.unused()
        contents: dict[Path, bytes] = {}
        if not is_there(self._certificate_file()):
            contents[self._certificate_file()] = certificate.public_bytes(Encoding.PEM)
        if evidence is not None:
            contents[collected] = evidence
        contents[statement] = signed  # last: what it refers to is there
        write_all(contents)
        return OriginFiles(
            statement=str(statement),
            statement_sha256=hashlib.sha256(signed).hexdigest(),
            certificate=str(self._certificate_file()),
            how=self.how,
            evidence=None if evidence is None else str(collected),
            openssl_reads_it=openssl_verifies_cms(self.service.service_key.public_key.kind),
        )


def check_evidence(scope: ServiceScope, token: str) -> None:
    """Raise ``ConfigError`` where the vendor's command of this token cannot be started."""
    settings = scope.tokens[token]
    if settings.evidence:
        check_evidence_command(token, settings.evidence, _evidence_environment(settings))


def _evidence_environment(settings: TokenSettings) -> dict[str, str]:
    return {"PATH": os.environ.get("PATH", os.defpath), **settings.environment}
