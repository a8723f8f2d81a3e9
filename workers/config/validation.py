"""Validation of the configuration: all errors at once, and the files that the configuration refers to.

Each table of each file (a token, a client, a key) is read separately: its first error is reported, and the other
tables are read nevertheless. Tenants refer to tokens of the service's file, so they are read only if that is valid.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from queueing.config.secrets import Secret, is_for_another_process
from queueing.config.toml import read_toml
from queueing.errors import ConfigError
from queueing.files.regular_file import open_regular
from queueing.protocol.algorithms import FACTS, Algorithm
from workers.config.issuers.mutability import mutable_identities
from workers.config.loading import Configuration, Ownership, tenant_files
from workers.config.service_file import read_service
from workers.config.settings import PinLogin
from workers.config.tenant_file import read_tenant
from workers.config.values import ErrorList
from workers.pki.schemes import openssl_verifies_cms

if TYPE_CHECKING:
    from collections.abc import Iterator

    from workers.config.service_file import ServiceConfiguration
    from workers.config.tenants import Tenant

_ELF: Final = b"\x7fELF"
"""First bytes of a shared library (elf(5), EI_MAG)."""


class FileKind(enum.Enum):
    """Kind of a configuration file."""

    SERVICE = "sigmill.toml"
    ISSUER = "issuer.toml"
    RELAY = "relay.toml"
    CLIENT = "client.toml"


def kind_of(file: Path) -> FileKind:
    """Kind of the file; one that cannot be read, or is of no kind, is taken for a service's, whose reader says what is wrong."""
    try:
        tables = read_toml(file)
    except ConfigError:
        return FileKind.SERVICE
    if "service" in tables or "service_key" in tables:
        return FileKind.SERVICE
    if "service_public_keys" in tables:
        return FileKind.CLIENT  # before an issuer's: under `identity` it names one, too
    if "issuer" in tables:
        return FileKind.ISSUER
    return FileKind.RELAY if {"tls", "tenants"} & tables.keys() else FileKind.SERVICE


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigReport:
    """Result of a validation; ``configuration`` has the valid tenants, and is None where the service's file is invalid.

    ``warnings``: what is valid and may fail later.
    """

    configuration: Configuration | None
    errors: tuple[ConfigError, ...]
    warnings: tuple[ConfigError, ...] = ()


def validate_all(file: Path) -> ConfigReport:
    """Read all files, and check that modules and secret files exist. Shows no secret and logs in to no token."""
    errors = ErrorList()
    service = errors.collect(lambda: read_service(file.resolve(), read_toml(file), errors))
    if service is None:
        return ConfigReport(configuration=None, errors=tuple(errors.all))
    tenants: dict[str, Tenant] = {}
    warnings: list[ConfigError] = []
    ownership = Ownership.of_service(service)
    for path in errors.collect(lambda: tenant_files(service)) or []:
        tenant = errors.collect(partial(_tenant, path, service, errors))
        if tenant is not None:
            tenants[tenant.name] = tenant
            warnings += mutable_identities(path, tenant)
            errors.collect(partial(ownership.claim, path, tenant))
    errors.all += _broken_references(service)
    return ConfigReport(
        configuration=Configuration(service=service, tenants=tenants),
        errors=tuple(errors.all),
        warnings=(*_warnings(service), *warnings),
    )


def _tenant(file: Path, service: ServiceConfiguration, errors: ErrorList) -> Tenant | None:
    return read_tenant(file, read_toml(file), service.tokens, errors)


def _broken_references(service: ServiceConfiguration) -> Iterator[ConfigError]:
    for name, token in service.tokens.items():
        problem = module_problem(Path(token.module))
        if problem:
            yield ConfigError(
                str(service.file),
                f"tokens.{name}.module",
                f"{token.module} {problem}",
                "Install the vendor's module, or correct the path.",
            )
        if isinstance(token.login, PinLogin):
            yield from broken_secret(service.file, f"tokens.{name}.login.pin_file", token.login.pin_file)
    yield from broken_secret(service.file, "redis.password_file", service.redis.password_file)


def module_problem(module: Path) -> str:
    """Reason why the file cannot be a PKCS#11 module; empty where it may be one. It is not loaded."""
    try:
        with open_regular(module) as file:
            head = file.read(len(_ELF))
    except FileNotFoundError:
        return "is not a file"
    except OSError as error:
        return f"cannot be read ({error.strerror})"
    return "" if head == _ELF else "is not a shared library"


def _warnings(service: ServiceConfiguration) -> Iterator[ConfigError]:
    kind = service.service_key.public_key.kind
    if service.record.enabled and kind not in FACTS[Algorithm.ECDSA_SHA_256].key_kinds:
        yield ConfigError(
            str(service.file),
            "record.enabled",
            f"the service key is {kind.value}: only a P-256 key can certify the keys of the record's checkpoints",
            "Create another service key with `sigmill keys create --service`; until then third parties cannot verify the record.",
        )
    if not openssl_verifies_cms(kind):
        yield ConfigError(
            str(service.file),
            "service_key.public_key",
            f"is {kind.value}: OpenSSL before 3.5 does not verify the origin statements that it signs (`invalid digest`)",
            "Tell auditors to use OpenSSL 3.5 or `sigmill keys origin verify`, or create a P-256 service key, and pin it in each client.toml.",
        )
    for name, token in service.tokens.items():
        if token.select.slot_alone:
            yield ConfigError(
                str(service.file),
                f"tokens.{name}.select",
                "selects by the slot alone: slot numbers move when tokens come and go, and its PIN is tried on another token",
                "Select it by `serial` and `label`, as `sigmill tokens list` prints them.",
            )
        if isinstance(token.login, PinLogin):
            yield from _blank(service.file, f"tokens.{name}.login.pin_file", token.login.pin_file)
    if service.redis.password_file is not None:
        yield from _blank(service.file, "redis.password_file", service.redis.password_file)


def _blank(file: Path, path: str, name: str) -> Iterator[ConfigError]:
    """A blank at the end of a secret: it counts, and is rarely meant."""
    try:
        text = Secret.from_file(name).reveal()
    except ConfigError:
        return  # reported as an error, or for another process
    if text != text.rstrip():
        yield ConfigError(
            str(file),
            path,
            f"{name} ends in a blank, which is a part of the secret",
            "Remove it unless it is.",
        )


def broken_secret(file: Path, path: str, name: str | None) -> Iterator[ConfigError]:
    """The reason for which the file of a secret cannot be used, unless it is one of another process. ``path``: the key that names it."""
    if name is None or is_for_another_process(name):
        return
    try:
        Secret.from_file(name)
    except ConfigError as error:
        yield ConfigError(str(file), path, str(error), error.remedy)
