"""Creation of a key in its token, with the lines that configure it and the request for its certificate."""

from __future__ import annotations

import base64
import contextlib
import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key

from queueing.errors import ConfigError, SigningError, TokenUnavailable
from queueing.protocol.algorithms import KeyKind
from queueing.protocol.public_keys import PublicKey
from workers.cli.keys.origins.ceremony import Ceremony, check_evidence
from workers.cli.keys.origins.files import OriginFiles, StatedKey, print_files
from workers.cli.keys.origins.records import HeldCeremony, finish, open_ceremony
from workers.cli.keys.request import RequestedCertificate, print_request
from workers.cli.shell.interrupts import Stopped
from workers.cli.shell.key_events import keep_key_event
from workers.cli.shell.output import Output, emit, print_block, print_message
from workers.token_admin.client import KeyNotFit

if TYPE_CHECKING:
    from workers.cli.keys.key_request import KeyRequest
    from workers.config.tenant_edits import NewVersion
    from workers.token_admin.messages import KeyFacts


class NewKey(msgspec.Struct, frozen=True, kw_only=True):
    """A key in its token, and the TOML that pins it. Public key: SPKI in base64, and as PEM."""

    tenant: str | None
    key: str
    version: int
    state: str
    token: str
    label: str
    key_id: str
    kind: KeyKind
    public_key: str
    public_key_sha256: str
    public_key_pem: str
    attributes: dict[str, bool]
    toml: str
    written: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Papers:
    """Papers to be made with a new key: the request for a certificate, and a statement with these witnesses.

    ``event``: the key's event on record; ``left_out``: the operator wants no statement.
    """

    event: Literal["created", "rotated"]
    certificate: RequestedCertificate | None
    witnesses: tuple[str, ...] | None
    left_out: bool


def make_key(output: Output, request: KeyRequest, kind: KeyKind, label: str | None, papers: Papers) -> None:
    """Create the key, print it, write it if that was asked for, then make and print its papers."""
    ceremony = None
    if papers.witnesses is not None:
        check_evidence(request.scope, request.token)
        ceremony = open_ceremony(request, papers.witnesses)
    facts = _created(request, kind, label or request.default_label(), ceremony)
    request = dataclasses.replace(request, created=datetime.now(UTC))
    if request.tenant is None:
        print_key(request, facts, as_json=output.as_json)
        return
    key = StatedKey(
        scope=request.scope,
        tenant=request.tenant,
        key=request.key,
        version=request.version_number(),
        public_key=PublicKey.from_spki(facts.public_key),
    )
    files: OriginFiles | None = None
    try:
        if ceremony is not None:
            ceremony.keep(key, _created_at(request))
        print_key(request, facts, as_json=output.as_json)
        with _named_after(key.version, request, facts, papers):
            made = None
            if ceremony is not None:
                files, made = _stated(request, key, ceremony, papers)
                print_files(output, files)
            elif papers.certificate is not None:
                made = papers.certificate.sign(request.token_admin(), key)
            _print_papers(output, request, papers, made, version=key.version)
    finally:
        keep_key_event(
            request.scope,
            papers.event,
            tenant=request.tenant,
            key=request.key,
            version=key.version,
            public_key=key.public_key,
            statement_sha256=b"" if files is None else bytes.fromhex(files.statement_sha256),
            witnesses=papers.witnesses or (),
        )


def _created_at(request: KeyRequest) -> datetime:
    """Time of the creation in whole seconds, as statements have it."""
    assert request.created is not None
    return request.created.replace(microsecond=0)


def _stated(
    request: KeyRequest, key: StatedKey, ceremony: HeldCeremony, papers: Papers
) -> tuple[OriginFiles, x509.CertificateSigningRequest | None]:
    """The statement of the new key in its files, and the request; the record of the ceremony has no use then."""
    files, made = Ceremony(
        key=key,
        service=ceremony.service,
        token=request.token,
        witnesses=papers.witnesses or (),
        generated_at=_created_at(request),
    ).hold(papers.certificate)
    finish(key)
    return files, made


def _print_papers(
    output: Output,
    request: KeyRequest,
    papers: Papers,
    made: x509.CertificateSigningRequest | None,
    *,
    version: int,
) -> None:
    """Write and print the certificate request, and say why there is no statement."""
    tenant = request.tenant or ""
    if papers.witnesses is None and not papers.left_out:
        print_message(
            "no origin statement was made: there is no service key yet. When there is one (`sigmill keys create --service`),"
            f" `sigmill keys origin create --tenant {tenant} --key {request.key}/{version}` makes it"
        )
    if papers.certificate is not None and made is not None:
        line = papers.certificate.written_line(made, tenant=tenant, key=request.key, version=version)
        print_request(output, line)


@contextlib.contextmanager
def _named_after(version: int, request: KeyRequest, facts: KeyFacts, papers: Papers) -> Iterator[None]:
    """An error of the papers names the key, which is in its token by now."""
    try:
        yield
    except (SigningError, ConfigError) as error:
        raise _papers_failed(error, version, request, facts, papers) from error
    except (KeyboardInterrupt, Stopped):
        print_message(f"interrupted: {_made(request, facts)}. {_later(version, request, facts, papers)}")
        raise


def print_key(request: KeyRequest, facts: KeyFacts, *, as_json: bool) -> None:
    """Print the key and its lines, and write them if that was asked for. Raises ``ConfigError``."""
    public_key = PublicKey.from_spki(facts.public_key)
    new = request.new_version(public_key)
    line = NewKey(
        tenant=request.tenant,
        key=request.key,
        version=new.version,
        state=new.state,
        token=request.token,
        label=facts.label,
        key_id=facts.key_id,
        kind=facts.kind,
        public_key=base64.b64encode(facts.public_key).decode(),
        public_key_sha256=public_key.sha256.hex(),
        public_key_pem=pem(facts.public_key),
        attributes=facts.attributes,
        toml=request.toml(new),
        written=_written(request, new, facts) if request.write else None,
    )
    if as_json:
        emit(line)
        return
    print_block(
        f"{line.public_key_pem}SHA-256 of the public key (SPKI): {line.public_key_sha256}\n\n{line.toml}"
    )
    print_message(f"{facts.kind} in token {request.token} as {facts.label!r}, CKA_ID {facts.key_id}")
    if request.tenant is None:
        print_message(
            f"paste the TOML into {request.file()} and restart the workers; clients pin the public key"
        )
    elif line.written:
        print_message(f"written to {line.written}; run `sigmill tenants reload` to use it")
    else:
        print_message(
            f"paste the TOML into {request.file()}, raise its epoch, then run `sigmill tenants reload`"
        )


def _written(request: KeyRequest, new: NewVersion, facts: KeyFacts) -> str:
    """The file with the new version; an error names the key, which is in its token by now."""
    try:
        return str(request.write_version(new))
    except (ConfigError, OSError) as error:
        why = error.problem if isinstance(error, ConfigError) else error.strerror
        raise ConfigError(
            str(request.file()),
            "",
            f"the key is in token {request.token} as {facts.label!r}, CKA_ID {facts.key_id}, but was not written: {why}",
            f"Do not create it again: `sigmill keys adopt --label {facts.label} --write` takes it over.",
        ) from error


def pem(spki: bytes) -> str:
    """Public key as PEM."""
    return load_der_public_key(spki).public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def _created(request: KeyRequest, kind: KeyKind, label: str, ceremony: HeldCeremony | None) -> KeyFacts:
    """The new key; an error after which it may be in the token nevertheless says how to find it."""
    try:
        key_id = b"" if ceremony is None else ceremony.opening.key_id
        return request.token_admin().create(kind, label, key_id=key_id)
    except BaseException as error:
        if ceremony is not None and isinstance(error, KeyNotFit | ConfigError):
            ceremony.discard()  # there is no key; else the opening names the one that may be there
        hint = (
            f"The token may have made the key before. When it is back, `sigmill keys adopt --label {label}` takes it"
            " over, `sigmill keys origin create` completes its ceremony, and if there is none, create it again."
        )
        if isinstance(error, KeyboardInterrupt | Stopped):
            print_message(f"interrupted. {hint}")
        if not isinstance(error, TokenUnavailable):
            raise
        raise TokenUnavailable(error.message, hint=hint) from error


def _papers_failed(
    error: SigningError | ConfigError, version: int, request: KeyRequest, facts: KeyFacts, papers: Papers
) -> SigningError | ConfigError:
    """The error of a request or statement whose key was created: it names the key, which is not to be made again."""
    made, hint = _made(request, facts), _later(version, request, facts, papers)
    if isinstance(error, ConfigError):
        return ConfigError(error.file, error.key, f"{error.problem}; {made}", f"{error.remedy} {hint}")
    return type(error)(f"{made}: {error.message}", hint=hint)


def _made(request: KeyRequest, facts: KeyFacts) -> str:
    return (
        f"the key was created (token {request.token}, label {facts.label!r}, CKA_ID {facts.key_id}), but not all of its"
        " papers"
    )


def _later(version: int, request: KeyRequest, facts: KeyFacts, papers: Papers) -> str:
    """The commands that make the papers of this version of the key later."""
    adopt = (
        f"`sigmill keys adopt --tenant {request.tenant} --key {request.key} --version {version} --token {request.token}"
        f" --label {facts.label} --write`, then "
    )
    words = f"--tenant {request.tenant} --key {request.key}/{version}"
    commands = [] if papers.witnesses is None else [f"`sigmill keys origin create {words}`"]
    commands += [] if papers.certificate is None else [f"`sigmill keys request {words}`"]
    later = ", then ".join(commands)
    return "Do not create it again" + (f": {'' if request.write else adopt}{later}." if later else ".")
