"""``sigmill keys attach-certificate`` and ``certificate``: the chains that belong to a key version."""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import errno
import hashlib
import re
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final

import click
import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from queueing.config.toml import read_text
from queueing.errors import ConfigError, KeyUnknown
from queueing.files.durable_file import replace_durably
from queueing.files.folders import is_there
from queueing.files.regular_file import read_regular
from queueing.protocol.certificates import UNREADABLE, read_names
from queueing.protocol.names import NAME_PATTERN
from workers.cli.keys.pinned_version import PinnedVersion, find_key, find_version, version_options
from workers.cli.shell.key_events import keep_key_event
from workers.cli.shell.options import dry_run_option, json_option
from workers.cli.shell.output import Output, emit, print_block, print_bytes, print_difference, print_message
from workers.config.loading import load_scope
from workers.config.tenant_edits import attach_chain
from workers.config.tenant_file import load_tenant
from workers.config.tenant_writer import EditedTenant, edit_tenant, preview_tenant, remove_unnamed
from workers.pki.chain_reading import LARGEST_BYTES, read_chain
from workers.pki.chains import Chain, ChainInvalid

if TYPE_CHECKING:
    from workers.config.loading import ServiceScope

_UNNAMED: Final = ""
_FILE_MODE: Final = 0o644


class CertificateLine(msgspec.Struct, frozen=True, kw_only=True):
    """The chain of a key version. ``name``: that of the authority, empty for the first one; ``der``: the leaf in base64.

    ``trust_anchor``: the issuer at the chain's end, which verifiers must have as a root.
    """

    tenant: str
    key: str
    version: int
    name: str
    subject: str
    issuer: str
    serial: str
    not_before: datetime
    not_after: datetime
    trust_anchor: str
    sha256: str
    pem: str
    der: str
    warnings: tuple[str, ...] = ()
    difference: str = ""
    written: str | None = None


@click.command("attach-certificate")
@click.argument("chain_file", metavar="CHAIN.pem", type=click.Path(path_type=Path))
@version_options
@click.option(
    "--name", default=_UNNAMED, metavar="NAME", help="Name of a further authority; the first one needs none."
)
@dry_run_option
@json_option
@click.pass_obj
def attach_certificate(  # noqa: PLR0913 - one parameter per option
    output: Output, /, *, chain_file: Path, config: Path, tenant: str, key: str, name: str, dry_run: bool
) -> None:
    """Attach the certificate chain of a key version: PEM, the key's own certificate first, then its issuers.

    The chain is copied beside the tenant's file, and the file names it; its epoch grows. Without a version it belongs
    to the one whose key is in the certificate. Refused: a chain of another key, incomplete, expired, or with weak keys
    or signatures. `sigmill tenants reload` publishes it in the key directory. A chain that the version has already
    changes nothing.
    """
    if name and not re.match(NAME_PATTERN, name):
        raise click.BadParameter(
            f"{name!r:.80} is no name: lower-case letters, digits, dots, dashes and underscores",
            param_hint="--name",
        )
    scope = load_scope(config)
    chain = _checked_chain(chain_file)
    pinned = _version_of(scope, tenant, key, chain, chain_file)
    file = scope.tenants_dir / _file_name(pinned, chain)
    has_it = pinned.chain(name) == chain.der
    edited = (
        _unchanged(scope, pinned)
        if has_it
        else (_preview if dry_run else _write)(scope, pinned, file, chain, name)
    )
    if edited.written:
        keep_key_event(
            scope,
            "attached",
            tenant=tenant,
            key=pinned.key.name,
            version=pinned.version.version,
            public_key=pinned.version.public_key,
            changed=[f"chains.{name}" if name else "certificates"],
        )
    found = chain.warnings(datetime.now(UTC), code_signing=pinned.key.profile == "code-signing")
    line = msgspec.structs.replace(
        _line(pinned, name, chain),
        warnings=tuple(found),
        difference=edited.difference(),
        written=str(edited.file) if edited.written else None,
    )
    if output.as_json:
        emit(line)
        return
    certificate = f"certificate of {line.issuer}, valid until {line.not_after:%Y-%m-%d}"
    if has_it:
        print_message(f"{pinned.name} of {tenant}: {certificate}, is attached already: nothing was written")
    elif line.written is None:
        print_difference(line.difference, written=None)
        print_message(f"{pinned.name} of {tenant}: {certificate}, can be attached")
    else:
        print_message(
            f"{pinned.name} of {tenant}: {certificate}, attached in {line.written}; run `sigmill tenants reload` to publish it"
        )
    _print_end(chain)
    for warning in found:
        print_message(f"warning: {warning}")


def _print_end(chain: Chain) -> None:
    """Say what the chain itself cannot show: whether the issuer at its end is a root, or one more intermediate."""
    if chain.has_root:
        return
    address = chain.issuer_address()
    where = "" if address is None else f", from {address!r:.300}"
    print_message(
        f"the chain ends below `{chain.trust_anchor}`: verifiers must have that as a root. If it is an intermediate"
        f" certificate, append it{where}, and attach the chain again"
    )


@click.command()
@version_options
@click.option("--name", default=_UNNAMED, metavar="NAME", help="Name that the chain was attached with.")
@click.option("--der", "as_der", is_flag=True, help="Print the key's own certificate alone, in DER.")
@json_option
@click.pass_obj
def certificate(output: Output, /, *, config: Path, tenant: str, key: str, name: str, as_der: bool) -> None:
    """Print the certificate chain of a key version as PEM, the key's own certificate first.

    Without a version: of the active one, else of the next one.
    """
    pinned = find_version(load_scope(config), tenant, key, wanted=("active", "next", "verify-only"))
    raw = pinned.chain(name)
    if not raw:
        named = f" of the name `{name}`" if name else ""
        has = ", ".join(pinned.version.chains) or "none"
        raise KeyUnknown(
            f"{pinned.name} of {tenant} has no certificate{named}; by name it has {has}",
            hint="Attach one by `sigmill keys attach-certificate`.",
        )
    chain = Chain(tuple(read_names(x509.load_der_x509_certificate(each)) for each in raw))
    if output.as_json:
        emit(_line(pinned, name, chain))
    elif as_der:
        print_bytes(raw[0])
    else:
        print_block(chain.pem())


def _checked_chain(file: Path) -> Chain:
    try:
        chain = read_chain(read_regular(file, largest_bytes=LARGEST_BYTES))
        chain.check(datetime.now(UTC))
    except OSError as error:
        why = f"larger than {LARGEST_BYTES // 1024} kB" if error.errno == errno.EFBIG else error.strerror
        raise ConfigError(
            str(file), "", f"cannot be read ({why})", "Give the PEM file with the chain, and nothing else."
        ) from None
    except ChainInvalid as error:
        raise ConfigError(str(file), "", error.problem, error.remedy) from None
    except UNREADABLE as error:  # of a name or extension that cryptography reads only when it is asked for
        raise ConfigError(
            str(file),
            "",
            f"has a malformed certificate ({error!s:.200})",
            "Get the chain from the authority again.",
        ) from None
    return chain


def _version_of(scope: ServiceScope, tenant: str, key: str, chain: Chain, file: Path) -> PinnedVersion:
    """The version of the key whose public key the leaf has. Raises ``ConfigError`` that says whose it is otherwise."""
    name, slash, number = key.partition("/")
    owner, found = find_key(scope, tenant, name)
    if slash:
        find_version(scope, tenant, key, wanted=())
    for version in found.versions:
        if version.public_key.spki == chain.leaf_spki and number in {"", str(version.version)}:
            return PinnedVersion(scope=scope, tenant=owner, key=found, version=version)
    raise ConfigError(
        str(file),
        "",
        f"is not a certificate of {key} of {tenant}: its key is {_owner_of(scope, chain)}",
        "Attach it to that key, or give the certificate that was issued from this key's request.",
    )


def _owner_of(scope: ServiceScope, chain: Chain) -> str:
    for file in scope.tenant_files():
        with contextlib.suppress(ConfigError):
            tenant = load_tenant(file, scope.tokens)
            for key in tenant.keys.values():
                for version in key.versions:
                    if version.public_key.spki == chain.leaf_spki:
                        return f"{key.name}/{version.version} of {tenant.name}"
    return f"none of this configuration (SHA-256 of its SPKI: {hashlib.sha256(chain.leaf_spki).hexdigest()})"


def _file_name(pinned: PinnedVersion, chain: Chain) -> str:
    """Name by content: a chain once referred to never changes, and two operators never write the same file."""
    digest = hashlib.sha256(b"".join(chain.der)).hexdigest()[:16]
    return f"{pinned.tenant.name}.{pinned.key.name}.v{pinned.version.version}.{digest}.pem"


def _unchanged(scope: ServiceScope, pinned: PinnedVersion) -> EditedTenant:
    """The tenant's file as it is: the version has the chain, under whatever name of its file."""
    tenant_file = scope.tenant_file(pinned.tenant.name)
    text = read_text(tenant_file)
    return EditedTenant(file=tenant_file, before=text, after=text, tenant=pinned.tenant)


def _preview(scope: ServiceScope, pinned: PinnedVersion, file: Path, chain: Chain, name: str) -> EditedTenant:
    """The edit, checked with a copy of the chain in another folder."""
    tenant, key, version = pinned.tenant.name, pinned.key.name, pinned.version.version
    with TemporaryDirectory(prefix="sigmill-") as folder:
        copy = Path(folder) / file.name
        copy.write_text(chain.pem())
        edited = preview_tenant(scope, tenant, lambda text: attach_chain(text, key, version, name, str(copy)))
    return dataclasses.replace(edited, after=attach_chain(edited.before, key, version, name, file.name))


def _write(scope: ServiceScope, pinned: PinnedVersion, file: Path, chain: Chain, name: str) -> EditedTenant:
    """The chain first, then the file that names it; if the second fails, the first goes again."""
    new = not is_there(file)
    try:
        replace_durably(file, chain.pem().encode(), mode=scope.tenants_dir.stat().st_mode & _FILE_MODE)
    except OSError as error:
        raise ConfigError(
            str(file),
            "",
            f"cannot be written ({error.strerror})",
            "Make room, or check owner and mode of the folder.",
        ) from error
    version = pinned.version.version
    try:
        return edit_tenant(
            scope,
            pinned.tenant.name,
            lambda text: attach_chain(text, pinned.key.name, version, name, file.name),
        )
    except BaseException:
        if new:
            with contextlib.suppress(OSError, ConfigError):
                remove_unnamed(scope, pinned.tenant.name, file)
        raise


def _line(
    pinned: PinnedVersion,
    name: str,
    chain: Chain,
) -> CertificateLine:
    leaf = chain.leaf
    der = leaf.public_bytes(Encoding.DER)
    return CertificateLine(
        tenant=pinned.tenant.name,
        key=pinned.key.name,
        version=pinned.version.version,
        name=name,
        subject=leaf.subject.rfc4514_string(),
        issuer=leaf.issuer.rfc4514_string(),
        serial=f"{leaf.serial_number:x}",
        not_before=leaf.not_valid_before_utc,
        not_after=leaf.not_valid_after_utc,
        trust_anchor=chain.trust_anchor,
        sha256=hashlib.sha256(der).hexdigest(),
        pem=chain.pem(),
        der=base64.b64encode(der).decode(),
    )
