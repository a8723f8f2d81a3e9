"""``sigmill clients create``: creates a client key on the build host, which the private key never leaves."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

import click
import msgspec

from queueing.client.config import ClientConfig
from queueing.config.toml import read_toml
from queueing.errors import ConfigError
from queueing.files.drafts import sweep
from queueing.protocol.client_keys import ClientKey, ClientKeyKind
from queueing.protocol.names import NAME_PATTERN
from workers.cli.shell.options import Duration, json_option, key_kind_option
from workers.cli.shell.output import Exit, Output, emit, print_block, print_message
from workers.config.tenant_edits import toml_key

_YEAR_S: Final = 365 * 86_400.0
_DEFAULT_PORT: Final = 6379
_BARE_KEY: Final = re.compile(r"^[A-Za-z0-9_-]+\Z")


class CreatedLine(msgspec.Struct, frozen=True, kw_only=True):
    """The created client in JSON; the operator adds ``tenant_block`` to the tenant's file."""

    client: str
    tenant: str
    config_file: str
    private_key_file: str
    public_key: str
    expires: str
    tenant_block: str


@click.command()
@click.argument("name")
@click.option(
    "--from",
    "connection",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Connection file from the operator: audience, tenant, service_public_keys and [redis].",
)
@click.option("--tenant", help="Tenant of the client.")
@click.option("--audience", help="Name of the cluster; the operator knows it.")
@click.option(
    "--redis", "redis_url", metavar="URL", help="redis://, rediss:// or unix:// URL, without a password."
)
@click.option(
    "--redis-password-file",
    metavar="FILE",
    help="File with the Redis password, of mode 0600; client.toml refers to it.",
)
@click.option("--redis-ca-file", metavar="FILE", help="CA certificate for a rediss:// server.")
@click.option("--url", metavar="URL", help="https:// URL of a relay, instead of --redis.")
@click.option("--ca-file", metavar="FILE", help="CA certificate of the relay; without it, those of the host.")
@click.option(
    "--cert-file", metavar="FILE", help="Certificate of this host for a relay that wants one, in PEM."
)
@click.option("--key-file", metavar="FILE", help="Private key of --cert-file, of mode 0600.")
@click.option(
    "--service-key",
    "service_keys",
    multiple=True,
    metavar="BASE64",
    help="Public key of the service; give two during a rollover.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path(),
    show_default="here",
    help="Folder for the files.",
)
@key_kind_option
@click.option(
    "--expires-in",
    type=Duration(),
    default=_YEAR_S,
    show_default="365d",
    metavar="DURATION",
    help="Lifetime of the client.",
)
@json_option
@click.pass_obj
def create(  # one parameter per option  # noqa: PLR0913 - one parameter per option
    output: Output,
    *,
    name: str,
    connection: Path | None,
    tenant: str | None,
    audience: str | None,
    redis_url: str | None,
    redis_password_file: str | None,
    redis_ca_file: str | None,
    url: str | None,
    ca_file: str | None,
    cert_file: str | None,
    key_file: str | None,
    service_keys: tuple[str, ...],
    out: Path,
    kind: str,
    expires_in: float,
) -> Exit:
    """Create a key for the client NAME: writes client.key (mode 0600) and client.toml, and prints lines for the operator.

    Only client.key is secret, and it stays on this host.
    """
    if not re.match(NAME_PATTERN, name):
        raise click.UsageError("a client's name has lower-case letters, digits, dots, dashes and underscores")
    table: dict[str, Any] = {} if connection is None else _connection(connection)
    table |= {k: v for k, v in {"tenant": tenant, "audience": audience}.items() if v is not None}
    if service_keys:
        table["service_public_keys"] = list(service_keys)
    if redis_url is not None:
        table["redis"] = redis_table(redis_url, redis_ca_file)
    if url is not None:
        table["url"] = url
    if (cert_file is None) != (key_file is None):
        raise click.UsageError("--cert-file and --key-file belong together: give both, or neither")
    for setting, file in (("ca_file", ca_file), ("cert_file", cert_file), ("key_file", key_file)):
        if file is not None:
            table[setting] = str(Path(file).absolute())
    if redis_password_file is not None:
        table.setdefault("redis", {})["password_file"] = str(Path(redis_password_file).absolute())
    _require(table)
    table |= {"client": name, "private_key_file": "client.key"}
    key = _write(out, table, ClientKey.generate(ClientKeyKind(kind)))
    expires = (datetime.now(UTC) + timedelta(seconds=expires_in)).replace(microsecond=0)
    return _print_created(out, key, table, f"{expires:%Y-%m-%dT%H:%M:%SZ}", as_json=output.as_json)


def redis_table(url: str, ca_file: str | None) -> dict[str, Any]:
    """Table ``[redis]`` for a URL; raises ``click.UsageError``."""
    try:
        parts = urlsplit(url)
    except ValueError:
        raise click.UsageError("--redis: the host is invalid; an IPv6 address is in brackets") from None
    if parts.password is not None:
        raise click.UsageError(
            "--redis: the URL must not have a password, which the shell's history would keep: put it"
            " into a file of mode 0600 and give that with --redis-password-file"
        )
    if parts.scheme not in {"redis", "rediss", "unix"}:
        raise click.UsageError(
            "--redis: write redis://HOST:PORT/DB, rediss://HOST:PORT/DB or unix:///PATH?db=DB"
        )
    table = _unix_address(parts) if parts.scheme == "unix" else _tcp_address(parts)
    if parts.username:
        table["username"] = unquote(parts.username)
    if parts.scheme == "rediss":
        if ca_file is None:
            raise click.UsageError("--redis: rediss:// needs --redis-ca-file to verify the server")
        table["tls"] = {"ca_file": str(Path(ca_file).absolute())}
    return table


def _unix_address(parts: SplitResult) -> dict[str, Any]:
    database = parse_qs(parts.query).get("db", ["0"])[0]
    return {"unix_socket": unquote(parts.path), "database": _database(database)}


def _tcp_address(parts: SplitResult) -> dict[str, Any]:
    try:
        host, port = parts.hostname, parts.port or _DEFAULT_PORT
    except ValueError:
        raise click.UsageError("--redis: the port is invalid") from None
    if not host:
        raise click.UsageError("--redis: the URL has no host")
    return {"host": host, "port": port, "database": _database(parts.path.strip("/") or "0")}


def _database(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,9}", text):
        raise click.UsageError("--redis: the database must be a number")
    return int(text)


def _connection(file: Path) -> dict[str, Any]:
    """Tables of the operator's connection file; raises ``ConfigError`` if it cannot be read."""
    try:
        return read_toml(file)
    except ConfigError as error:
        raise ConfigError(
            error.file, error.key, error.problem, "Get the file from the operator again."
        ) from None


def _require(table: dict[str, Any]) -> None:
    options = {
        "tenant": "--tenant",
        "audience": "--audience",
        "redis": "--redis or --url",
        "service_public_keys": "--service-key",
    }
    present = {**table, "redis": table.get("redis") or table.get("url")}
    missing = [option for key, option in options.items() if not present.get(key)]
    if missing:
        raise click.UsageError(f"missing: {', '.join(missing)} (or --from, the operator's connection file)")


def _write(out: Path, table: dict[str, Any], key: ClientKey) -> ClientKey:
    """Write client.key and client.toml; after a failure neither is left behind. Raises ``OSError`` with the file's name."""
    config_file, key_file = out / "client.toml", out / "client.key"
    try:
        out.mkdir(mode=0o700, parents=True, exist_ok=True)
        for file in (config_file, key_file):
            if file.exists():
                raise click.UsageError(f"{file} exists already; give another folder with --out")
        sweep([key_file])
        try:
            key.write(key_file)
        except FileExistsError:  # another process was quicker, or it is a link to nothing
            raise click.UsageError(f"{key_file} exists already; give another folder with --out") from None
        try:
            config_file.write_text(toml_text(table))
            ClientConfig.from_file(config_file)
        except BaseException:
            key_file.unlink(missing_ok=True)
            config_file.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(error.filename or out)) from None
    return key


def _print_created(out: Path, key: ClientKey, table: dict[str, Any], expires: str, *, as_json: bool) -> Exit:
    public_key = base64.b64encode(key.public_spki).decode()
    block = f'[clients.{toml_key(table["client"])}]\npublic_key = "{public_key}"\nexpires = {expires}'
    if as_json:
        emit(
            CreatedLine(
                client=table["client"],
                tenant=table["tenant"],
                config_file=str(out / "client.toml"),
                private_key_file=str(out / "client.key"),
                public_key=public_key,
                expires=expires,
                tenant_block=block,
            )
        )
        return Exit.DONE
    print_message(
        f"written: {out / 'client.toml'} and {out / 'client.key'} (mode 0600; keep it on this host)"
    )
    print_message(f"give these lines to the operator, for the file of tenant {table['tenant']}:")
    print_block(block)
    return Exit.DONE


def toml_text(table: Mapping[str, Any]) -> str:
    """The table as TOML 1.0: its values first, then its tables."""
    lines = _toml_lines(table, ())
    return "\n".join(lines).strip() + "\n"


def _toml_lines(table: Mapping[str, Any], path: tuple[str, ...]) -> list[str]:
    lines = [
        f"{_toml_name(key)} = {_toml_value(value)}"
        for key, value in table.items()
        if not isinstance(value, Mapping)
    ]
    for key, value in table.items():
        if isinstance(value, Mapping):
            inner = (*path, key)
            lines += ["", f"[{'.'.join(map(_toml_name, inner))}]", *_toml_lines(value, inner)]
    return lines


def _toml_name(key: str) -> str:
    return key if _BARE_KEY.match(key) else _toml_value(key)


def _toml_value(value: object) -> str:
    """Value in JSON, which is valid TOML for strings, numbers, booleans and lists once DEL is escaped."""
    if isinstance(value, str | bool | int | float | list | tuple):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    raise TypeError(f"{type(value).__name__} cannot be written to these files")
