"""``sigmill tokens drain``: stops the use of a token on this host until it is resumed."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from queueing.errors import ConfigError
from queueing.errors.counts import agreed, counted
from workers.cli.shell.options import Duration, config_option, json_option
from workers.cli.shell.output import Exit, Output, emit, print_message
from workers.config.service_file import load_service
from workers.monitoring.scrape import ScrapedMetrics, fetch_pages
from workers.state.drained_tokens import DrainedTokens

if TYPE_CHECKING:
    from workers.config.service_file import ServiceConfiguration

_POLL_S = 0.2


class Drained(msgspec.Struct, frozen=True, kw_only=True):
    """Result of ``drain``. ``lanes``: lanes left at the end; None if no worker of this host answered."""

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
    help="Maximum time to wait until no lane uses the token.",
)
@json_option
@click.pass_obj
def drain(output: Output, /, *, token: str, config: Path, wait_s: float) -> Exit:
    """Stop using TOKEN on this host: its lanes finish the work that they have, then log out.

    Other tokens with the same keys, and other hosts, keep signing; jobs that only this token can sign stay queued.
    The drain survives restarts of the worker and ends with `sigmill tokens resume TOKEN`.

    Exit code 75 if lanes still use the token after --wait, or no worker of this host answers.
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
    lanes = _lanes_after_wait(service, token, wait_s)
    if output.as_json:
        emit(Drained(token=token, was_drained=not new, lanes=lanes))
    elif lanes is None:
        print_message(
            f"{token}: marked as drained, but no worker answers at [metrics]; a worker applies it when it starts"
        )
    elif lanes:
        print_message(
            f"{token}: {counted(lanes, 'lane')} {agreed(lanes, 'is', 'are')} still finishing work; watch with `sigmill top`"
        )
    else:
        print_message(
            f"{token}: drained; no lane of this host uses it; `sigmill tokens resume {token}` resumes it"
        )
    return Exit.DONE if lanes == 0 else Exit.RETRY


def _lanes_after_wait(service: ServiceConfiguration, token: str, wait_s: float) -> int | None:
    """Number of lanes left after the wait; None if no worker's metrics show the drain."""
    address = f"http://{service.metrics.address}"
    deadline = time.monotonic() + wait_s
    while True:
        pages, _ = fetch_pages([address])
        figures = ScrapedMetrics({}, pages)
        drains = figures.values("sigmill_token_drained", "token").get((token,), 0) > 0
        lanes = int(figures.values("sigmill_lanes", "token").get((token,), 0)) if drains else None
        if lanes == 0 or time.monotonic() >= deadline:
            return lanes
        time.sleep(_POLL_S)
