"""Options and option types shared by several commands."""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from queueing.client.request_ids import request_id_from
from queueing.config.accept_level import AcceptLevel
from queueing.errors import ConfigError
from queueing.protocol.client_keys import ClientKeyKind
from queueing.protocol.priorities import Priority
from workers.cli.shell.output import Output, print_message

if TYPE_CHECKING:
    from workers.config.loading import Configuration
    from workers.config.tenants import Tenant

F = TypeVar("F", bound=Callable[..., object])

_DURATION: Final = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_UNIT_S: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}


class Duration(click.ParamType[float]):
    """Duration option: ``90s``, ``2h``, ``1h30m``, ``500ms``; a bare number is seconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Convert the text to seconds; fails as a usage error."""
        if isinstance(value, int | float):
            return float(value)
        text = str(value).strip()
        parts = _DURATION.findall(text)
        if parts and "".join(number + unit for number, unit in parts) == text:
            return sum(float(number) * _UNIT_S[unit] for number, unit in parts)
        try:
            seconds = float(text)
        except ValueError:
            seconds = -1.0
        if not 0 <= seconds < float("inf"):
            self.fail(f"{text!r} is not a duration such as 90s, 2h or 1h30m", param, ctx)
        return seconds


class JobId(click.ParamType[str]):
    """Job id of a client's command; an empty one is a usage error."""

    name = "job"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Text of the id as it is given."""
        if not value:
            self.fail("the id is empty; a variable of the shell may be unset", param, ctx)
        return str(value)


def _set_json(ctx: click.Context, _: click.Parameter, value: bool) -> None:  # noqa: FBT001  # click's form
    ctx.ensure_object(Output).as_json |= value


json_option = click.option(
    "--json",
    "as_json",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_set_json,
    help="Print everything, errors too, as JSON on stdout.",
)
config_option = click.option(
    "--config",
    type=click.Path(path_type=Path),
    default=Path("/etc/sigmill/sigmill.toml"),
    show_default=True,
    envvar="SIGMILL_CONFIG",
    show_envvar=True,
    help="The service's TOML file.",
)
dry_run_option = click.option("--dry-run", is_flag=True, help="Show the difference, and write nothing.")
client_config_option = click.option(
    "--config",
    type=click.Path(path_type=Path),
    required=True,
    envvar="SIGMILL_CLIENT_CONFIG",
    show_envvar=True,
    help="The client.toml of this build host.",
)
key_option = click.option("--key", required=True, metavar="KEY[/VERSION]", help="The key to sign with.")
key_kind_option = click.option(
    "--kind",
    type=click.Choice([str(k) for k in ClientKeyKind]),
    default=str(ClientKeyKind.ED25519),
    show_default=True,
    help="Kind of key; a TPM supports P-256.",
)
"""Of a key that signs envelopes or stop orders, and is a file."""

algorithm_option = click.option(
    "--algorithm", metavar="NAME", help="An AWS KMS algorithm name. Default: the key's default algorithm."
)
request_id_option = click.option(
    "--request-id",
    metavar="ID",
    help="Name of this run: a rerun with the same ID collects existing signatures. Default: from CI variables, else a random one.",
)
priority_option = click.option(
    "--priority",
    type=click.Choice([str(priority) for priority in Priority]),
    default=str(Priority.NORMAL),
    show_default=True,
    help="Order among this tenant's jobs.",
)
accept_option = click.option(
    "--accept",
    type=click.Choice([str(level) for level in AcceptLevel]),
    help="A job counts as queued once Redis has it (local), or replicas too. Default: `accept` in client.toml, else local.",
)
deadline_option = click.option(
    "--deadline",
    "deadline_s",
    type=Duration(),
    metavar="DURATION",
    help="Maximum time to wait, such as 2h. Default: `deadline_s` in client.toml, else 1h.",
)
DEFAULT_DEADLINE_S: Final = 3600.0


Decorator = Callable[[Callable[..., object]], Callable[..., object]]
"""An option or argument of click: adds a parameter to the command's function and returns the function."""


def combined(*options: Decorator) -> Callable[[F], F]:
    """One decorator for several options, in the order in which ``--help`` shows them."""

    def decorate(command: F) -> F:
        for option in reversed(options):
            option(command)
        return command

    return decorate


input_options = combined(
    click.argument("files", nargs=-1, type=click.Path(path_type=Path)),
    click.option(
        "--digest", "digests", multiple=True, metavar="ALG:HEX", help="A digest to sign; may be repeated."
    ),
    click.option(
        "--manifest",
        type=click.Path(path_type=Path, allow_dash=True),
        metavar="FILE",
        help='JSON lines {"name": …, "digest": "ALG:HEX"}, or the output of sha256sum; - reads stdin.',
    ),
    click.option(
        "--any-file",
        is_flag=True,
        help="Hash pipes and devices among FILES too, up to their end; without it only regular files.",
    ),
)


def chosen_request_id(given: str | None) -> str:
    """The given request id, one from the CI's variables, or a random one; prints it with its source on stderr.

    Raises ``click.UsageError`` if it is not UTF-8.
    """
    source = "from --request-id"
    if given is None:
        found = request_id_from(os.environ)
        if found is None:
            given = f"run-{secrets.token_hex(8)}"
            source = "made for this run; with --request-id a rerun collects its signatures"
        else:
            given, source = found.value, f"from {', '.join(found.variables)}"
    try:
        given.encode()
    except UnicodeEncodeError:
        raise click.UsageError(f"the request id {given} is not UTF-8") from None
    print_message(f"request id: {given} ({source})")
    return given


def chosen_tenants(configuration: Configuration, tenant: str | None) -> list[Tenant]:
    """The tenant of this name, or all tenants for None; raises ``ConfigError`` for an unknown name."""
    if tenant is None:
        return list(configuration.tenants.values())
    if tenant not in configuration.tenants:
        raise ConfigError(
            str(configuration.service.tenant_file(tenant)),
            "",
            "no such tenant",
            "`sigmill tenants list` prints the names.",
        )
    return [configuration.tenants[tenant]]
