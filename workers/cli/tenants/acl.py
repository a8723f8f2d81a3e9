"""``sigmill tenants acl``: Redis user of a tenant's clients, or of the workers, with least privilege."""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import Final

import click
import msgspec

from queueing.aio.runner import run
from queueing.config.secrets import Secret
from queueing.errors import ConfigError
from queueing.redis.acl import password_sha256, set_user, tenant_rules, worker_rules
from queueing.redis.connection import connect
from workers.cli.shell.options import config_option, json_option
from workers.cli.shell.output import Exit, Output, emit, print_line, print_message
from workers.config.service_file import ServiceConfiguration, load_service

_PASSWORD_BYTES: Final = 24


class AclLine(msgspec.Struct, frozen=True, kw_only=True):
    """The user and its line for an ACL file; the password only as its SHA-256."""

    user: str
    acl: str
    applied: bool


@click.command()
@config_option
@click.option("--tenant", help="The user for the clients of this tenant.")
@click.option("--worker", is_flag=True, help="The user for the workers.")
@click.option("--user", help="Name of the user. Default: tenant-TENANT, or worker.")
@click.option(
    "--password-file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="File of the user's password (mode 0600); created if missing. Without a password no login is possible.",
)
@click.option("--apply", is_flag=True, help="Also set the user in Redis, as the service's own Redis user.")
@json_option
@click.pass_obj
def acl(  # one parameter per option  # noqa: PLR0913 - one parameter per option
    output: Output,
    /,
    *,
    config: Path,
    tenant: str | None,
    worker: bool,
    user: str | None,
    password_file: Path | None,
    apply: bool,
) -> Exit:
    """Print the ACL line of a Redis user with the least privileges for its role.

    Set a tenant's user again after an upgrade of Sigmill: its ACL contains the digest of the submit script. To survive
    a restart of Redis, the user must be in Redis' aclfile, on each node.
    """
    if (tenant is not None) == worker:
        raise click.UsageError("give --tenant or --worker")
    if apply and password_file is None:
        raise click.UsageError("--apply needs --password-file: no login is possible without a password")
    service = load_service(config)
    if tenant is not None and not service.tenant_file(tenant).exists():
        raise ConfigError(
            str(service.tenant_file(tenant)), "", "no such tenant", "`sigmill tenants list` prints the names."
        )
    password = None if password_file is None else password_sha256(_password(password_file).reveal())
    cluster = service.redis.cluster is not None
    rules = (
        worker_rules(password, cluster=cluster)
        if tenant is None
        else tenant_rules(tenant, password, cluster=cluster)
    )
    name = user or ("worker" if tenant is None else f"tenant-{tenant}")
    if apply:
        run(_apply(service, name, rules))
    line = f"user {name} {' '.join(rules)}"
    if output.as_json:
        emit(AclLine(user=name, acl=line, applied=apply))
        return Exit.DONE
    print_line(line)
    if apply:
        print_message(f"set in Redis; if Redis has an aclfile, run `ACL SAVE` to keep {name} after a restart")
    return Exit.DONE


def _password(file: Path) -> Secret:
    if not file.exists():
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as stream:
            stream.write(secrets.token_urlsafe(_PASSWORD_BYTES) + "\n")
    return Secret.from_file(file)


async def _apply(service: ServiceConfiguration, user: str, rules: list[str]) -> None:
    redis = connect(service.redis)
    try:
        await set_user(redis, user, rules)
    finally:
        await redis.aclose()
