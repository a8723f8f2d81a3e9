"""Options and values that several commands share."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from queueing.client.request_ids import request_id_from
from queueing.config.accept_level import AcceptLevel
from queueing.errors import ConfigError
from queueing.protocol.priorities import Priority
from workers.cli.shell.output import Output, say

if TYPE_CHECKING:
    from workers.config.loading import Configuration
    from workers.config.tenants import Tenant

F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")

_DURATION: Final = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_UNIT_S: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}


class Duration(click.ParamType[float]):
    """``90s``, ``2h``, ``1h30m``, ``500ms``; a bare number is seconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Seconds."""
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
            self.fail(f"{text!r} is no duration such as 90s, 2h or 1h30m", param, ctx)
        return seconds


def _set_json(ctx: click.Context, _: click.Parameter, value: bool) -> None:  # noqa: FBT001  # click's form
    ctx.ensure_object(Output).as_json |= value


json_option = click.option(
    "--json",
    "as_json",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_set_json,
    help="Everything as JSON, errors too, on stdout.",
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
client_config_option = click.option(
    "--config",
    type=click.Path(path_type=Path),
    required=True,
    envvar="SIGMILL_CLIENT_CONFIG",
    show_envvar=True,
    help="The client.toml of this build host.",
)
key_option = click.option("--key", required=True, metavar="KEY[/VERSION]", help="The key to sign with.")
algorithm_option = click.option(
    "--algorithm", metavar="NAME", help="An AWS KMS algorithm name; default: the key's own."
)
request_id_option = click.option(
    "--request-id",
    metavar="ID",
    help="Names this run: a repeat gets back what is done. Default: from the CI's run variables.",
)
priority_option = click.option(
    "--priority",
    type=click.Choice([str(priority) for priority in Priority]),
    default=str(Priority.NORMAL),
    show_default=True,
    help="Which of this tenant's jobs come first.",
)
accept_option = click.option(
    "--accept",
    type=click.Choice([str(level) for level in AcceptLevel]),
    help="When the queue has a job: Redis said OK, or replicas have it too. Default: `accept` of client.toml, else local.",
)
deadline_option = click.option(
    "--deadline",
    "deadline_s",
    type=Duration(),
    metavar="DURATION",
    help="How long to wait, such as 2h; default: `deadline_s` of client.toml, else 1h.",
)
DEFAULT_DEADLINE_S: Final = 3600.0


def input_options(command: F) -> F:
    """FILE… | --digest ALG:HEX | --manifest."""
    for decorate in (
        click.option(
            "--manifest",
            type=click.Path(path_type=Path, allow_dash=True),
            metavar="FILE",
            help='JSON lines {"name": …, "digest": "ALG:HEX"}; - reads stdin.',
        ),
        click.option("--digest", "digests", multiple=True, metavar="ALG:HEX", help="May be repeated."),
        click.argument("files", nargs=-1, type=click.Path(path_type=Path)),
    ):
        command = decorate(command)
    return command


def chosen_request_id(given: str | None) -> str | None:
    """The request id, having said on stderr which it is and where it comes from."""
    if given is not None:
        say(f"request id: {given} (from --request-id)")
        return given
    found = request_id_from(os.environ)
    if found is None:
        say("request id: none; a repeat of this run signs anew (give --request-id to get back what is done)")
        return None
    say(f"request id: {found.value} (from {', '.join(found.variables)})")
    return found.value


def chosen_tenants(configuration: Configuration, tenant: str | None) -> list[Tenant]:
    """The one of this name, or all; ``ConfigError`` where there is none."""
    if tenant is None:
        return list(configuration.tenants.values())
    if tenant not in configuration.tenants:
        raise ConfigError(
            str(configuration.service.tenant_file(tenant)), "", "there is no such tenant", "Check its name."
        )
    return [configuration.tenants[tenant]]
