"""``sigmill cancel``: removes queued jobs that no worker has claimed."""

from __future__ import annotations

from pathlib import Path

import click
import msgspec

from queueing.broker.job_values import CancelStatus
from queueing.client.signing_client import SigningClient
from workers.cli.shell.interrupts import run_stoppable
from workers.cli.shell.options import JobId, client_config_option, json_option
from workers.cli.shell.output import Exit, Output, emit, print_line
from workers.cli.signing.request_options import WaitingCommand


class CancelledLine(msgspec.Struct, frozen=True, kw_only=True):
    """Outcome for one job: cancelled, claimed, not-queued or foreign."""

    job_id: str
    outcome: CancelStatus


@click.command()
@client_config_option
@click.argument("job_ids", nargs=-1, required=True, type=JobId(), metavar="JOB…")
@json_option
@click.pass_obj
def cancel(output: Output, /, *, config: Path, job_ids: tuple[str, ...]) -> Exit:
    """Remove this client's queued jobs, so that they are not signed.

    A job that a worker has claimed continues (`claimed`), another client's job stays (`foreign`), and what is done or
    unknown is `not-queued`. A cancelled job may be submitted again. Exit code 1 unless all were cancelled.
    """
    client = SigningClient.from_file(config)
    return run_stoppable(_cancel(client, job_ids, as_json=output.as_json), WaitingCommand(client, config))


async def _cancel(client: SigningClient, job_ids: tuple[str, ...], *, as_json: bool) -> Exit:
    async with client:
        statuses = await client.cancel(job_ids)
    for job_id, status in zip(job_ids, statuses, strict=True):
        if as_json:
            emit(CancelledLine(job_id=job_id, outcome=status))
        else:
            print_line(f"{job_id}  {status}")
    return Exit.DONE if set(statuses) <= {CancelStatus.CANCELLED} else Exit.FAILED
