"""``sigmill status``: state of jobs, for their client or an operator, and of the cluster."""

from __future__ import annotations

from pathlib import Path

import click
import msgspec

from queueing.aio.runner import run
from queueing.broker.job_values import JobState, JobStatus
from queueing.client.signing_client import SigningClient
from workers.cli.shell.config_paths import (
    CLIENT_VARIABLE,
    SERVICE_VARIABLE,
    ConfigKind,
    chosen_config,
    kind_of,
)
from workers.cli.shell.options import Duration, JobId, json_option
from workers.cli.shell.output import ErrorObject, Exit, Output, Tally, emit, print_line
from workers.cli.status.text import text_of


class StatusLine(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One job in JSON."""

    job_id: str
    state: JobState
    signed: int | None = None
    failed: int | None = None
    error: ErrorObject | None = None


@click.command()
@click.option(
    "--config",
    type=click.Path(path_type=Path),
    help=f"A client.toml, or the service's sigmill.toml. Default: {CLIENT_VARIABLE}, {SERVICE_VARIABLE}, or /etc/sigmill/sigmill.toml.",
)
@click.option("--tenant", help="Tenant of jobs whose ids do not contain it; for operators.")
@click.option(
    "--since",
    "since_s",
    type=Duration(),
    default="1d",
    show_default=True,
    help="Age up to which this host's write-ahead log is read; for operators.",
)
@click.argument("job_ids", nargs=-1, type=JobId())
@json_option
@click.pass_obj
def status(
    output: Output, /, *, config: Path | None, tenant: str | None, since_s: float, job_ids: tuple[str, ...]
) -> Exit:
    """Show the state of JOB_IDS: queued, running, done, failed or unknown.

    With the service's sigmill.toml it also shows leases, attempts and the jobs' history in this host's write-ahead
    log. Without JOB_IDS it shows the state of the cluster: workers, backlogs, tokens, dead letters.

    Exit code for jobs: 0 if all are done, 75 if some are queued or running, 1 or 77 if any failed or is unknown. For
    the cluster: 75 if no worker is alive, or Redis is unavailable.
    """
    file = chosen_config(config, first=ConfigKind.CLIENT if job_ids else ConfigKind.SERVICE)
    if kind_of(file) is ConfigKind.CLIENT:
        if not job_ids:
            raise click.UsageError(
                f"{file} is a client's file: give job ids, or the service's sigmill.toml for the cluster"
            )
        return run(_status(SigningClient.from_file(file), job_ids, as_json=output.as_json))
    # Imported here: a client on a build host needs none of it.
    if job_ids:
        from workers.cli.status.jobs import show_jobs

        return show_jobs(file, job_ids, tenant=tenant, since_s=since_s, as_json=output.as_json)
    from workers.cli.status.cluster import show_cluster

    return show_cluster(file, as_json=output.as_json)


async def _status(client: SigningClient, job_ids: tuple[str, ...], *, as_json: bool) -> Exit:
    tally = Tally()
    async with client:
        for job_id in job_ids:
            state = await client.status(job_id)
            if as_json:
                emit(_line(state))
            else:
                print_line(f"{state.job_id}  {state.state}  {text_of(state)}")
            tally.add(state.as_error())
    return tally.exit_code()


def _line(state: JobStatus) -> StatusLine:
    ended = state.state is JobState.DONE
    return StatusLine(
        job_id=state.job_id,
        state=state.state,
        signed=state.signed if ended else None,
        failed=state.failed if ended else None,
        error=None if state.error is None else ErrorObject.of(state.error),
    )
