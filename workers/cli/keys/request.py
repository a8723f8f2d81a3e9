"""``sigmill keys request``: a certificate request (PKCS#10), signed by the key inside its token."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypedDict, Unpack

import click
import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from queueing.errors import OutputUnwritable
from queueing.files.durable_file import replace_durably
from queueing.files.folders import is_there
from queueing.protocol.certificates import read_names
from workers.cli.keys.origins.files import StatedKey
from workers.cli.keys.origins.records import record_file
from workers.cli.keys.pinned_version import find_version, version_options
from workers.cli.shell.key_events import keep_key_event
from workers.cli.shell.options import combined, json_option
from workers.cli.shell.output import Output, emit, print_block, print_message
from workers.config.loading import load_scope
from workers.config.service_file import load_service
from workers.pki.names import NameInvalid, parse_alternative_names, parse_subject
from workers.pki.requests import Profile, RequestContent, assemble, request_pem

if TYPE_CHECKING:
    from workers.cli.keys.pinned_version import PinnedVersion
    from workers.config.tenants import KeyVersion, TenantKey
    from workers.pki.origin import OriginStatement
    from workers.token_admin.client import TokenAdmin

WANTED: Final = ("next", "active")
"""Without a version: the one that waits for its certificate, else the active one, whose certificate is renewed."""

_FILE_MODE: Final = 0o644
_MOST_ALTERNATIVES: Final = 16

request_options = combined(
    click.option(
        "--subject",
        metavar="NAME",
        help="Subject of the certificate: 'CN=Example Ltd,O=Example Ltd,C=DE'. Default: that of the present certificate.",
    ),
    click.option(
        "--san",
        "alternative_names",
        multiple=True,
        metavar="KIND:VALUE",
        help="Alternative name: dns:NAME, email:ADDRESS, uri:URI or ip:ADDRESS; may be repeated.",
    ),
    click.option(
        "--eku",
        "usage",
        type=click.Choice([str(profile) for profile in Profile]),
        default=str(Profile.CODE_SIGNING),
        show_default=True,
        help="Extended key usage to ask for.",
    ),
    click.option(
        "--out",
        type=click.Path(dir_okay=False, path_type=Path),
        metavar="FILE",
        help="Write the request to this file (PEM), not to stdout.",
    ),
)


class RequestArguments(TypedDict):
    """Values of ``request_options``, as click passes them to a command."""

    subject: str | None
    alternative_names: tuple[str, ...]
    usage: str
    out: Path | None


class _CommandArguments(RequestArguments):
    config: Path
    tenant: str
    key: str
    token: str | None
    without_origin: bool


class RequestLine(msgspec.Struct, frozen=True, kw_only=True):
    """A certificate request. ``out``: its file, if it was written to one; ``statement``: that of which a copy is inside."""

    tenant: str
    key: str
    version: int
    subject: str
    public_key_sha256: str
    request: str
    out: str | None
    statement: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestedCertificate:
    """Certificate as an operator asks for it; checked before any key is created."""

    subject: x509.Name
    alternative_names: tuple[x509.GeneralName, ...]
    profile: Profile
    out: Path | None

    @classmethod
    def of(cls, arguments: RequestArguments, *, renewed: bytes | None) -> RequestedCertificate:
        """Check the arguments; ``renewed`` is the present certificate (DER), if any. Raises ``click.UsageError``."""
        out = arguments["out"]
        if out is not None and not out.parent.is_dir():
            raise click.BadParameter(f"there is no folder {out.parent}", param_hint="--out")
        if out is not None and is_there(out) and not out.is_file():
            raise click.BadParameter(f"{out} is a device or a pipe; name a file", param_hint="--out")
        if len(arguments["alternative_names"]) > _MOST_ALTERNATIVES:
            raise click.BadParameter(f"at most {_MOST_ALTERNATIVES} are taken", param_hint="--san")
        try:
            return cls(
                subject=_subject(arguments["subject"], renewed),
                alternative_names=parse_alternative_names(arguments["alternative_names"]),
                profile=Profile(arguments["usage"]),
                out=out,
            )
        except NameInvalid as error:
            raise click.UsageError(str(error)) from None

    def written_line(
        self, made: x509.CertificateSigningRequest, *, tenant: str, key: str, version: int
    ) -> RequestLine:
        """A request that was signed, in its file; raises ``OutputUnwritable``."""
        self._write(made)
        spki = made.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        return RequestLine(
            tenant=tenant,
            key=key,
            version=version,
            subject=self.subject.rfc4514_string(),
            public_key_sha256=hashlib.sha256(spki).hexdigest(),
            request=request_pem(made),
            out=None if self.out is None else str(self.out),
        )

    def sign(
        self, admin: TokenAdmin, key: StatedKey, *, attestation: bytes = b""
    ) -> x509.CertificateSigningRequest:
        """The request, signed in the token; raises as ``TokenAdmin.sign_message``.

        No lane counts this signature of the key: its event is kept before it is made.
        """
        content = RequestContent(
            subject=self.subject,
            public_key=key.public_key,
            profile=self.profile,
            alternative_names=self.alternative_names,
            attestation=attestation,
        )
        keep_key_event(
            key.scope,
            "requested",
            tenant=key.tenant,
            key=key.key,
            version=key.version,
            public_key=key.public_key,
        )
        return assemble(content, admin.sign_message(key.public_key.spki, content.to_be_signed()))

    def _write(self, request: x509.CertificateSigningRequest) -> None:
        if self.out is None:
            return
        try:
            replace_durably(self.out, request_pem(request).encode(), mode=_FILE_MODE)
        except OSError as error:
            raise OutputUnwritable(
                f"{self.out} cannot be written ({error.strerror})",
                hint="Make room, or choose another place, and ask for the request again: a key can sign several.",
            ) from error


@click.command()
@version_options
@request_options
@click.option("--token", metavar="TOKEN", help="Token to sign in. Default: the first one of the version.")
@click.option(
    "--no-origin",
    "without_origin",
    is_flag=True,
    help="Put no copy of the key's origin statement into the request.",
)
@json_option
@click.pass_obj
def request(output: Output, /, **arguments: Unpack[_CommandArguments]) -> None:
    """Make a certificate request (PKCS#10), signed by the key inside its token.

    Without a version: for the `next` version, which waits for its certificate, else for the active one, whose
    certificate is renewed. Where the key has an origin statement beside the tenant's file, the request has a copy of it
    inside (id-aa-attestation). Send the request to a certificate authority; `sigmill keys attach-certificate` takes
    what it issues.
    """
    pinned = find_version(
        load_scope(arguments["config"]), arguments["tenant"], arguments["key"], wanted=WANTED
    )
    wanted = RequestedCertificate.of(arguments, renewed=present_certificate(pinned.key, pinned.version))
    admin = pinned.token_admin(arguments["token"])
    key = StatedKey(
        scope=pinned.scope,
        tenant=pinned.tenant.name,
        key=pinned.key.name,
        version=pinned.version.version,
        public_key=pinned.version.public_key,
    )
    stated = None if arguments["without_origin"] else _stated(pinned, key)
    made = wanted.sign(admin, key, attestation=b"" if stated is None else stated[1].attestation())
    line = wanted.written_line(
        made, tenant=pinned.tenant.name, key=pinned.key.name, version=pinned.version.version
    )
    print_request(output, msgspec.structs.replace(line, statement=None if stated is None else str(stated[0])))


def _stated(pinned: PinnedVersion, key: StatedKey) -> tuple[Path, OriginStatement] | None:
    """The origin statement of the key; None where it has none that the service key signed."""
    if pinned.scope.service_token is None:
        return None
    found = key.statement(load_service(pinned.scope.file).service_key.public_key)
    if found is None and is_there(record_file(key)):
        print_message(
            f"the ceremony of {pinned.name} has no statement yet: `sigmill keys origin create` makes it, and a request"
            " that is made after it has a copy inside"
        )
    return found


def print_request(output: Output, line: RequestLine) -> None:
    """Print a request, or say where it is."""
    if output.as_json:
        emit(line)
        return
    if line.out is None:
        print_block(line.request)
    else:
        print_message(f"written to {line.out}")
    if line.statement is not None:
        print_message(f"a copy of the origin statement {line.statement} is inside")
    print_message(
        f"request for {line.key}/{line.version} of {line.tenant}, subject {line.subject}; when the certificate is there:"
        f" sigmill keys attach-certificate --tenant {line.tenant} --key {line.key}/{line.version} CHAIN.pem"
    )


def present_certificate(key: TenantKey | None, version: KeyVersion | None = None) -> bytes | None:
    """The certificate of this version, or of the newest other one that has one; in DER."""
    if version is not None and version.certificates:
        return version.certificates[0]
    others = () if key is None else (v for v in reversed(key.versions) if v.certificates)
    found = next(iter(others), None)
    return None if found is None else found.certificates[0]


def _subject(text: str | None, renewed: bytes | None) -> x509.Name:
    if text is not None:
        return parse_subject(text)
    if renewed is None:
        raise NameInvalid("give --subject: the key has no certificate whose subject could be taken")
    return read_names(x509.load_der_x509_certificate(renewed)).subject
