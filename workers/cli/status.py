"""``sigmill status``: where jobs are."""

from __future__ import annotations

from pathlib import Path

import click
import msgspec

from queueing.client import SigningClient
from queueing.status import JobState, JobStatus
from workers.cli.options import client_config_option, json_option, run
from workers.cli.output import ErrorObject, Exit, Output, Tally, emit

_HELP = {
    JobState.QUEUED: "waits in the queue",
    JobState.RUNNING: "is being signed",
    JobState.UNKNOWN: "neither the job nor its result is there (any more)",
}


class StatusLine(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One job in JSON."""

    job_id: str
    state: JobState
    signed: int | None = None
    failed: int | None = None
    error: ErrorObject | None = None


@click.command()
@client_config_option
@click.argument("job_ids", nargs=-1, required=True)
@json_option
@click.pass_obj
def status(output: Output, *, config: Path, job_ids: tuple[str, ...]) -> Exit:
    """Say where JOB_IDS are: queued, running, done, failed or unknown.

    Exit code: 0 if all are done, 75 if some are under way, 1 or 77 if any failed, or is unknown.
    """
    return run(_status(SigningClient.from_file(config), job_ids, as_json=output.as_json))


async def _status(client: SigningClient, job_ids: tuple[str, ...], *, as_json: bool) -> Exit:
    tally = Tally()
    async with client:
        for job_id in job_ids:
            state = await client.status(job_id)
            if as_json:
                emit(_line(state))
            else:
                click.echo(f"{state.job_id}  {state.state}  {_words(state)}")
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


def _words(state: JobStatus) -> str:
    if state.error is not None:
        return f"{state.error.message} [{state.error.reason}]"
    if state.state is JobState.DONE:
        return f"{state.signed} signed, {state.failed} failed"
    return _HELP.get(state.state, "")
