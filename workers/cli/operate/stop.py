"""``sigmill stop``: an operator's order that takes rights away everywhere at once."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path
from typing import Final

import click
import msgspec

from queueing.aio.runner import run
from queueing.coordination import stop_order_feed as order_board
from queueing.errors import ConfigError
from queueing.protocol.client_keys import ClientKey
from queueing.protocol.stop_orders import Scope, StopOrder, sign_order
from queueing.redis.connection import connect
from workers.cli.shell.options import config_option, json_option
from workers.cli.shell.output import Exit, Output, emit, print_message
from workers.config.service_file import ServiceConfiguration, load_service

_WAIT_S: Final = 2.0
"""An order is obeyed within a second; as long again for the word of it to come back."""

_POLL_S: Final = 0.05


class StopLine(msgspec.Struct, frozen=True, kw_only=True):
    """The order, the workers that said in time that they obey it, and how many listen in all."""

    order: str
    scope: Scope
    tenant: str
    name: str
    adopted_by: tuple[str, ...]
    workers: int


@click.command()
@config_option
@click.option("--tenant", required=True, help="The tenant to stop, or whose key or client is to stop.")
@click.option("--key", help="Stop this key only.")
@click.option("--client", help="Stop this client only.")
@click.option("--reason", required=True, help="Why; kept with the order and shown to operators.")
@click.option("--operator", required=True, metavar="NAME", help="The [operators.NAME] who signs.")
@click.option(
    "--operator-key",
    type=click.Path(path_type=Path),
    required=True,
    envvar="SIGMILL_OPERATOR_KEY",
    show_envvar=True,
    help="The operator's private key (PEM, mode 0600).",
)
@json_option
@click.pass_obj
def stop(
    output: Output,
    /,
    *,
    config: Path,
    tenant: str,
    key: str | None,
    client: str | None,
    reason: str,
    operator: str,
    operator_key: Path,
) -> Exit:
    """Stop a tenant, a key or a client on every worker and lane within a second, jobs in the queue included.

    The order outlives restarts. It is lifted by the tenant's file alone: lifted_orders = ["ID"] in a higher
    epoch. Exit code 75 if not every worker has said in time that it obeys.
    """
    if key is not None and client is not None:
        raise click.UsageError("give --key or --client, or neither to stop the whole tenant")
    service = load_service(config)
    signer = ClientKey.from_file(operator_key)
    _check(service, operator, signer)
    scope: Scope = "key" if key is not None else "client" if client is not None else "tenant"
    order = StopOrder(
        audience=service.audience,
        order_id=os.urandom(16),
        issued_at_ms=time.time_ns() // 1_000_000,
        operator=operator,
        scope=scope,
        tenant=tenant,
        name=key or client or "",
        reason=reason[:500],
    )
    adopted, listening = run(_send(service, order, sign_order(order, signer)))
    line = StopLine(
        order=order.hex_id,
        scope=scope,
        tenant=tenant,
        name=order.name,
        adopted_by=tuple(sorted(adopted)),
        workers=listening,
    )
    if output.as_json:
        emit(line)
    else:
        print_message(f"order {line.order}: {scope} {line.name or tenant} is stopped")
        print_message(f"obeyed by {len(adopted)} of {listening} workers: {', '.join(line.adopted_by)}")
        print_message(
            f'to lift it: lifted_orders = ["{line.order}"] in the tenant\'s file, with a higher epoch'
        )
    return Exit.DONE if 0 < listening <= len(adopted) else Exit.RETRY


def _check(service: ServiceConfiguration, operator: str, signer: ClientKey) -> None:
    known = service.operators.get(operator)
    if known is None or known.spki != signer.public_spki:
        raise ConfigError(
            str(service.file),
            f"operators.{operator}",
            "is not there" if known is None else "has another public key than this private key",
            "Only operators that every worker's configuration lists are obeyed.",
        )


async def _send(service: ServiceConfiguration, order: StopOrder, signed: bytes) -> tuple[dict[str, int], int]:
    """Post it, then wait until all who heard of it have said that they obey, or for a while."""
    redis = connect(service.redis)
    try:
        listening = await order_board.publish(redis, {order.order_id: signed})
        adopted: dict[str, int] = {}
        deadline = time.monotonic() + _WAIT_S
        while len(adopted) < max(listening, 1) and time.monotonic() < deadline:
            await asyncio.sleep(_POLL_S)
            adopted = await order_board.acknowledged_by(redis, order.hex_id)
        return adopted, listening
    finally:
        await redis.aclose()
