"""``sigmill tokens drain``: this host's worker takes no more work for a token, until it is resumed."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from queueing.errors import ConfigError
from workers.cli.shell.options import Duration, config_option, json_option
from workers.cli.shell.output import Exit, Output, emit, print_message
from workers.config.service_file import load_service
from workers.monitoring.scrape import PageFigures, fetch_pages
from workers.state.drained_tokens import DrainedTokens

if TYPE_CHECKING:
    from workers.config.service_file import ServiceConfiguration

_POLL_S = 0.2


class Drained(msgspec.Struct, frozen=True, kw_only=True):
    """What became of it. ``lanes`` None: no worker of this host told."""

    token: str
    was_drained: bool
    lanes: int | None


@click.command()
@click.argument("token")
@config_option
@click.option(
    "--wait",
    "wait_s",
    type=Duration(),
    default="20s",
    show_default=True,
    help="How long to wait until no lane holds the token any more.",
)
@json_option
@click.pass_obj
def drain(output: Output, /, *, token: str, config: Path, wait_s: float) -> Exit:
    """Have this host's worker take no more work for TOKEN; what its lanes have is finished, then they log out.

    Other tokens that hold the same keys go on, and so do other hosts; jobs that only this token can sign stay queued.
    It holds over restarts of the worker, until `sigmill tokens resume TOKEN`.

    Exit code 75 if lanes still hold the token after --wait, or no worker of this host answers.
    """
    service = load_service(config)
    if token not in service.tokens:
        raise ConfigError(str(service.file), "tokens", f"no token `{token}`", f"Add [tokens.{token}].")
    try:
        new = DrainedTokens(service.state_dir).drain(token)
    except OSError as error:
        raise ConfigError(
            str(service.file),
            "service.state_dir",
            f"{service.state_dir} cannot be written ({error.strerror})",
            "Run this as the worker's user.",
        ) from error
    lanes = _until_no_lane(service, token, wait_s)
    if output.as_json:
        emit(Drained(token=token, was_drained=not new, lanes=lanes))
    elif lanes is None:
        print_message(f"{token}: marked, but no worker answers at [metrics]: it holds as soon as one starts")
    elif lanes:
        print_message(
            f"{token}: {lanes} lanes still finish what they have; `sigmill top` shows when they are gone"
        )
    else:
        print_message(
            f"{token}: drained; no lane of this host holds it; `sigmill tokens resume {token}` ends it"
        )
    return Exit.DONE if lanes == 0 else Exit.RETRY


def _until_no_lane(service: ServiceConfiguration, token: str, wait_s: float) -> int | None:
    """How many lanes are left in the end; None where no worker has said that it drains."""
    address = f"http://{service.metrics.address}"
    deadline = time.monotonic() + wait_s
    while True:
        pages, _ = fetch_pages([address])
        figures = PageFigures({}, pages)
        drains = figures.values("sigmill_token_drained", "token").get((token,), 0) > 0
        lanes = int(figures.values("sigmill_lanes", "token").get((token,), 0)) if drains else None
        if lanes == 0 or time.monotonic() >= deadline:
            return lanes
        time.sleep(_POLL_S)
