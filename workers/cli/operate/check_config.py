"""``sigmill check-config``: reports mistakes in the configuration by file, key path, problem and remedy."""

from __future__ import annotations

from pathlib import Path

import click
import msgspec
from msgspec.structs import replace

from queueing.client.config import ClientConfig
from queueing.errors import ConfigError
from workers.cli.shell.options import config_option, json_option
from workers.cli.shell.output import Exit, Output, emit, print_line, print_message, print_table
from workers.config.loading import Configuration
from workers.config.validation import ConfigReport, FileKind, kind_of, validate_all
from workers.config.values import ErrorList


class Mistake(msgspec.Struct, frozen=True, kw_only=True):
    """One mistake; ``key`` is its path in the file, empty for the file itself."""

    file: str
    key: str
    problem: str
    remedy: str

    @classmethod
    def of(cls, error: ConfigError) -> Mistake:
        """Make the mistake of an error."""
        return cls(file=error.file, key=error.key, problem=error.problem, remedy=error.remedy)


class TenantSummary(msgspec.Struct, frozen=True, kw_only=True):
    """Summary of a tenant."""

    tenant: str
    epoch: int
    suspended: bool
    keys: int
    active_versions: int
    clients: int
    tokens: tuple[str, ...]


class Checked(msgspec.Struct, frozen=True, kw_only=True):
    """Output in JSON; ``warnings`` are no mistakes; ``tenants`` has the numbers of keys, active versions and clients of each."""

    ok: bool
    mistakes: tuple[Mistake, ...]
    warnings: tuple[Mistake, ...] = ()
    audience: str | None = None
    epoch: int | None = None
    tokens: tuple[str, ...] = ()
    tenants: tuple[TenantSummary, ...] = ()


@click.command()
@config_option
@json_option
@click.pass_obj
def check_config(output: Output, /, *, config: Path) -> Exit:
    """Check the service's file, every tenant's file, and that the modules and secret files exist; or issuer.toml, relay.toml or client.toml.

    Reports the first mistake of each table (a token, a client, a key) and every missing file. Logs in to no token and
    prints no secret. Exit code 2 if there is a mistake.
    """
    found = _validated(config)
    mistakes = tuple(Mistake.of(error) for error in found.errors)
    warnings = tuple(Mistake.of(warning) for warning in found.warnings)
    exit_code = Exit.USAGE if mistakes else Exit.DONE
    if output.as_json:
        emit(replace(_checked(found.configuration, mistakes), warnings=warnings))
        return exit_code
    if found.configuration is not None:
        _print_summary(found.configuration)
    for warning in warnings:
        print_message(f"warning: {warning.file}: {warning.key}: {warning.problem}\nhint: {warning.remedy}")
    for mistake in mistakes:
        location = f"{mistake.file}: {mistake.key}" if mistake.key else mistake.file
        print_message(f"error: {location}: {mistake.problem} [config.invalid]")
        print_message(f"hint: {mistake.remedy}")
    if found.configuration is None and kind_of(config) is FileKind.SERVICE:
        print_message("the tenants' files were not read: correct the service's file first")
    print_message({0: "no mistakes", 1: "1 mistake"}.get(len(mistakes), f"{len(mistakes)} mistakes"))
    return exit_code


def _validated(file: Path) -> ConfigReport:
    kind = kind_of(file)
    if kind is FileKind.SERVICE:
        return validate_all(file)
    errors, warnings = ErrorList(), list[ConfigError]()
    if kind is FileKind.CLIENT:
        errors.collect(lambda: ClientConfig.from_file(file))
    elif kind is FileKind.RELAY:
        from workers.relay.checking import check_file

        check_file(file, errors)
    else:
        from workers.issuer.checking import broken_references, check_files
        from workers.issuer.issuer_file import read_issuer

        issuer = read_issuer(file, errors)
        if issuer is not None:
            warnings = check_files(issuer, errors)
            errors.all += broken_references(issuer)
    return ConfigReport(configuration=None, errors=tuple(errors.all), warnings=tuple(warnings))


def _print_summary(configuration: Configuration) -> None:
    service = configuration.service
    print_line(f"audience {service.audience}, epoch {service.epoch}, state in {service.state_dir}")
    print_line(f"tokens {', '.join(service.tokens)}; the service key is in {service.service_key.token}")
    print_table(
        ("TENANT", "EPOCH", "SUSPENDED", "KEYS", "ACTIVE VERSIONS", "CLIENTS", "TOKENS"),
        [
            (t.tenant, t.epoch, t.suspended, t.keys, t.active_versions, t.clients, ", ".join(t.tokens))
            for t in _summaries(configuration)
        ],
    )


def _checked(configuration: Configuration | None, mistakes: tuple[Mistake, ...]) -> Checked:
    if configuration is None:
        return Checked(ok=not mistakes, mistakes=mistakes)
    return Checked(
        ok=not mistakes,
        mistakes=mistakes,
        audience=configuration.service.audience,
        epoch=configuration.service.epoch,
        tokens=tuple(configuration.service.tokens),
        tenants=_summaries(configuration),
    )


def _summaries(configuration: Configuration) -> tuple[TenantSummary, ...]:
    return tuple(
        TenantSummary(
            tenant=tenant.name,
            epoch=tenant.epoch,
            suspended=tenant.suspended,
            keys=len(tenant.keys),
            active_versions=sum(
                v.state_now == "active" for key in tenant.keys.values() for v in key.versions
            ),
            clients=len(tenant.clients),
            tokens=tuple(sorted(tenant.tokens)),
        )
        for tenant in configuration.tenants.values()
    )
