"""``sigmill stop``: an operator's signed order that stops a tenant, key, client, issuer or subject on every host."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import click
import msgspec

from queueing.config.toml import nearest, read_toml
from queueing.errors import ConfigError
from queueing.errors.counts import counted
from queueing.protocol.grants.grant import Subject
from queueing.protocol.stop_orders import Scope
from workers.cli.operate.order_sender import OrderSender
from workers.cli.shell.options import config_option, json_option
from workers.cli.shell.output import Exit, Output, emit, print_message
from workers.config.loading import tenant_files
from workers.config.service_file import ServiceConfiguration, load_service

_GRANT_ID: Final = re.compile(r"^[0-9a-f]{32}\Z")


@click.command()
@config_option
@click.option("--tenant", required=True, help="The tenant to stop, or the tenant of what is stopped.")
@click.option("--key", metavar="KEY[/VERSION]", help="Stop this key, or this version of it, only.")
@click.option("--client", help="Stop this client only, or one grant: ISSUER.ID, as the log has it.")
@click.option("--issuer", help="Stop the grants of this issuer only.")
@click.option("--subject", help="Stop the grants of this subject only, as grants and the log have it.")
@click.option("--reason", required=True, help="Reason, kept with the order and shown to operators.")
@click.option("--operator", required=True, metavar="NAME", help="The [operators.NAME] that signs the order.")
@click.option(
    "--operator-key",
    type=click.Path(path_type=Path),
    required=True,
    envvar="SIGMILL_OPERATOR_KEY",
    show_envvar=True,
    help="The operator's private key (PEM, mode 0600).",
)
@click.option(
    "--unchecked",
    is_flag=True,
    help="Send it even if this host's files have no such tenant, key, client or issuer.",
)
@json_option
@click.pass_obj
def stop(  # one parameter per option  # noqa: PLR0913 - one parameter per option
    output: Output,
    /,
    *,
    config: Path,
    tenant: str,
    key: str | None,
    client: str | None,
    issuer: str | None,
    subject: str | None,
    reason: str,
    operator: str,
    operator_key: Path,
    unchecked: bool,
) -> Exit:
    """Stop a tenant, a key, a client, an issuer or a subject on every worker and lane within a second, queued jobs included.

    The order survives restarts. Only the tenant's file can lift it: lifted_orders = ["ID"] with a higher
    epoch. Without a version a key is stopped with all its versions. Exit code 75 if not every worker confirmed the order in
    time; 2, with nothing sent, if this host's tenant files do not have the name.
    """
    given = [(scope, name) for scope, name in _named(key, client, issuer, subject) if name is not None]
    if len(given) > 1:
        raise click.UsageError(
            "give one of --key, --client, --issuer and --subject, or none to stop the whole tenant"
        )
    if subject is not None:
        _check_subject(subject)
    service = load_service(config)
    sender = OrderSender.of(service, operator, operator_key)
    scope, name = given[0] if given else ("tenant", "")
    if not unchecked:
        _check_exists(service, tenant, scope, name)
    line = sender.send(scope=scope, tenant=tenant, name=name, reason=reason)
    if output.as_json:
        emit(line)
    else:
        print_message(f"order {line.order}: {scope} {line.name or tenant} is stopped")
        print_message(
            f"applied by {len(line.adopted_by)} of {counted(line.workers, 'worker')} within {line.within_s:.2f} s:"
            f" {', '.join(line.adopted_by) or 'none'}"
        )
        print_message(
            f'to lift it, set lifted_orders = ["{line.order}"] in the tenant\'s file, with a higher epoch'
        )
    return Exit.DONE if line.everywhere else Exit.RETRY


def _check_subject(subject: str) -> None:
    """Raise ``UsageError`` for a text that is the subject of no grant: the order would stop nothing."""
    try:
        msgspec.convert(subject, Subject)
    except msgspec.ValidationError:
        raise click.UsageError(
            "a subject has 1 to 512 printable ASCII characters; copy it from the log, where others are percent-encoded"
        ) from None


def _named(
    key: str | None, client: str | None, issuer: str | None, subject: str | None
) -> tuple[tuple[Scope, str | None], ...]:
    """Names by the scope of their order; a key with a slash is a version of it."""
    of_key: Scope = "version" if key is not None and "/" in key else "key"
    return ((of_key, key), ("client", client), ("issuer", issuer), ("subject", subject))


def _check_exists(service: ServiceConfiguration, tenant: str, scope: Scope, name: str) -> None:
    """Raise ``ConfigError`` unless the tenant has what is to be stopped: an order of another name would stop nothing.

    Only names are read: a mistake elsewhere in the tenant's file holds up no stop.
    """
    files = {file.stem: file for file in tenant_files(service)}
    if tenant not in files:
        raise _not_found(service.tenants_dir, f"{tenant}.toml", nearest(tenant, files))
    if scope in {"tenant", "subject"}:
        return  # no file names subjects
    table = {"client": "clients", "issuer": "issuers"}.get(scope, "keys")
    content = read_toml(files[tenant])
    if scope == "client" and _is_of_a_grant(name, content.get("issuers")):
        return
    known = content.get(table)
    names = sorted(known) if isinstance(known, dict) else []
    wanted, _, version = name.partition("/") if scope == "version" else (name, "", "")
    if wanted not in names:
        raise _not_found(files[tenant], f"{table}.{name}", nearest(name.partition("/")[0], names))
    if scope == "version" and version not in _versions(known, wanted):
        raise _not_found(
            files[tenant], f"keys.{name}", f"It has {', '.join(_versions(known, wanted)) or 'none'}."
        )


def _is_of_a_grant(client: str, issuers: object) -> bool:
    """Whether this is the client of a grant, ISSUER.ID, by one of the issuers in a file that may have mistakes."""
    issuer, point, grant = client.rpartition(".")
    return bool(point and _GRANT_ID.match(grant) and isinstance(issuers, dict) and issuer in issuers)


def _versions(keys: object, key: str) -> list[str]:
    """Numbers of the versions of a key in a file that may have mistakes."""
    table = keys.get(key) if isinstance(keys, dict) else None
    versions = table.get("versions") if isinstance(table, dict) else None
    found = versions if isinstance(versions, list) else []
    return [str(each.get("version")) for each in found if isinstance(each, dict)]


def _not_found(file: Path, key: str, remedy: str) -> ConfigError:
    remedy = "" if remedy == "Remove it." else f"{remedy} "
    return ConfigError(
        str(file),
        key,
        "does not exist on this host, so the order would stop nothing; nothing was sent",
        f"{remedy}If only other hosts have it, add `--unchecked`.",
    )
